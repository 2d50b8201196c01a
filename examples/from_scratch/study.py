"""What the studies of this folder share besides `studies.py`: models that they raise from nothing,
and what of a run's record a table needs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import studies
from studies import DATA, ROOT, SPEED, Json

from tutelage.config import validate
from tutelage.pretrain.config import PretrainConfig
from tutelage.pretrain.run import RECORD, pretrain

__all__ = ["DATA", "ROOT", "SPEED", "Json", "Place", "short", "training"]


class Place(studies.Place):
    """Where a study works, with the models that it raises."""

    def raised(self, name: str, described: Json) -> Json:
        """The record of a pretraining run in a folder of its own."""
        config = validate(PretrainConfig, {"name": name, **described})
        print(f"  {name}", flush=True)
        return pretrain(config, self.work / name, threads=self.threads)

    def model(self, name: str) -> str:
        return str(self.work / name / "model")


def training(work: Path) -> Json:
    """Hours of all pretraining runs of a study, also those made before it was last started."""
    records = [json.loads(file.read_text("utf-8")) for file in sorted(work.glob(f"*/{RECORD}"))]
    return {
        "runs": len(records),
        "hours": sum(one["seconds"] for one in records) / 3600,
        "processor_hours": sum(one["processor_seconds"] for one in records) / 3600,
        "flops": sum(one["flops"] for one in records),
    }


def short(record: Json) -> Json:
    """What a table needs of a run."""
    names = (
        "parameters", "tokens", "flops", "steps", "seconds", "processor_seconds", "bits_per_byte",
        "held_out_loss", "tokens_per_second", "mfu", "gemm_flops", "loss", "objective",
    )  # fmt: skip
    thinned = record["curve"][:: max(1, len(record["curve"]) // 60)]
    return {**{name: record[name] for name in names}, "curve": thinned, "model": record["model"]}
