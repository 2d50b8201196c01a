"""Tokens a second, memory and MFU of pretraining GPT-2's shape, against PyTorch and transformers.

    python benchmarks/pretrain.py                   # --smoke to see that it runs

Random tokens; every setting trains the same shape on rows of the full context with AdamW, float32
weights and bfloat16 arithmetic. First every setting of the peers is tried: transformers' GPT-2 and
a plain loop as nanoGPT's, eager and compiled, at several batch sizes. Then the fastest and ours
alternate. The share of the limit is the MFU: 6 N + 6 L T C operations a token, N with the head.

A peer that holds its weights in bfloat16 alone is a comparison of its own: it is faster and
smaller, and drops every update below 1/256 of a weight, which late in training is most of them.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import ours
import peer_pretrain
from measure import Measurement, Tried, Work, best, in_turn, sweep
from options import finish, parsed, parser, result

from tutelage.models.catalogue import find_preset, layout, shape
from tutelage.pretrain.compute import flops_per_token

GOALS = {"speed": 1.3, "memory": 1.0}


def main() -> None:
    options = _options()
    run = peer_pretrain.Shape(options.width, options.layers, options.context)
    sides = {
        str(one): partial(peer_pretrain.train, run, one, options.steps, options.threads)
        for one in peer_pretrain.settings(options.batches)[: options.tried]
    }
    tried = sweep(sides)
    compared = {}
    for name, dtype in (("float32 weights", "autocast"), ("bfloat16 weights alone", "bf16")):
        alike = [one for one in tried if one.setting.endswith(dtype)]
        if alike:
            compared[f"pretraining, peer with {name}"] = _beside(options, run, alike)
    options.model = str(run)
    finish(options, "pretrain", compared)


def _beside(
    options: argparse.Namespace, run: peer_pretrain.Shape, tried: list[Tried]
) -> dict[str, Any]:
    """Ours and the fastest of these settings in turn."""
    chosen = best(tried)
    operations = _operations(run)

    def per_unit(_: Measurement) -> float:
        return operations

    mine = partial(ours.pretrain, run, max(options.batches), options.steps, options.threads)
    found = in_turn(
        mine, chosen.side, pairs=options.pairs, threads=options.threads,
        work=Work("multiplying", per_unit), goals=GOALS,
    )  # fmt: skip
    notes = {
        "waiting_for_data": f"{found['ours']['runs'][0]['waiting_share']:.2%} of a step",
        "operations_a_token": f"{operations:.3g}",
    }
    return result("tokens/s", tried, chosen, found, **notes)


def _operations(run: peer_pretrain.Shape) -> int:
    config = {**find_preset("gpt2"), **run.config()}
    return flops_per_token(layout(config), shape(config), run.context)


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--width", type=int, default=768)
    made.add_argument("--layers", type=int, default=12)
    made.add_argument("--context", type=int, default=1024)
    made.add_argument("--steps", type=int, default=4, help="steps timed, after one that is not")
    made.add_argument("--batches", type=int, nargs="+", default=[2, 4], help="rows of a step")
    smoke = {"width": 64, "layers": 2, "context": 128, "steps": 2, "batches": [2], "tried": 2}
    return parsed(made, smoke)


if __name__ == "__main__":
    main()
