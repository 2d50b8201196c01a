"""Reading a prompt of 1,024 tokens, and decoding one stream, against transformers' best.

    python benchmarks/decode.py                     # --smoke to see that it runs

The prompt is real text. Both sides decode greedily and never stop early; the clock of decoding runs
from the first answer token to the last, so that reading the prompt is no part of it.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import ours
import peer_generate
from material import DATA, Material, prepare
from measure import Json, Measurement, Work, best, in_turn, sweep
from options import finish, parsed, parser, result
from peer import DTYPES, Setting

GOALS = {"prefill": {"speed": 1.1}, "decode": {"speed": 1.5}}
SETTINGS = [Setting(dtype, attention=kind) for dtype in DTYPES for kind in ("sdpa", "eager")]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        material = prepare(options.model, DATA, 64, options.seed, Path(scratch))
        found = {
            f"prefill of {options.prompt} tokens": _prefill(options, material),
            f"decoding {options.tokens} tokens": _decode(options, material),
        }
    finish(options, "decode", found)


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--prompt", type=int, default=1024, help="tokens of the prompt to read")
    made.add_argument("--context", type=int, default=128, help="tokens before those decoded")
    made.add_argument("--tokens", type=int, default=128, help="tokens to decode")
    made.add_argument("--repeats", type=int, default=5, help="in each process, after one more")
    return parsed(made, {"prompt": 256, "tokens": 8, "repeats": 1, "tried": 1})


def _prompt(material: Material, length: int) -> tuple[int, ...]:
    """Real rows one after the other, cut at `length` tokens."""
    ids = [token for one in material.examples for token in one.ids]
    if len(ids) < length:
        raise SystemExit(f"--prompt: {length} tokens asked, the rows have {len(ids)}")
    return tuple(ids[:length])


def _prefill(options: argparse.Namespace, material: Material) -> Json:
    prompt = _prompt(material, options.prompt)
    sides = {
        str(setting): partial(
            peer_generate.prefill, material.folder, prompt, setting, options.repeats,
            options.threads,
        )
        for setting in SETTINGS[: options.tried]
    }  # fmt: skip
    tried = sweep(sides)
    chosen = best(tried)
    body = material.size.body

    def per_unit(_: Measurement) -> float:
        return 2 * body

    found = in_turn(
        partial(ours.prefill, options.model, prompt, options.repeats, options.threads),
        chosen.side,
        pairs=options.pairs,
        threads=options.threads,
        work=Work("multiplying", per_unit),
        goals=GOALS["prefill"],
    )
    return result("prompt tokens/s", tried, chosen, found, same_next_token=_agree(found))


def _decode(options: argparse.Namespace, material: Material) -> Json:
    prompt = _prompt(material, options.context)
    sides = {
        f"{setting}, {'bare loop' if bare else 'generate'}": partial(
            peer_generate.decode, material.folder, prompt, options.tokens, setting, bare,
            options.repeats, options.threads,
        )
        for setting in SETTINGS[: options.tried]
        for bare in (False, True)
    }  # fmt: skip
    tried = sweep(sides)
    chosen = best(tried)

    def per_unit(found: Measurement) -> float:
        return float(found.detail["weight_bytes"])

    found = in_turn(
        partial(
            ours.decode, options.model, prompt, options.tokens, options.repeats, options.threads
        ),
        chosen.side,
        pairs=options.pairs,
        threads=options.threads,
        work=Work("reading", per_unit),
        goals=GOALS["decode"],
    )
    return result("tokens/s", tried, chosen, found, same_tokens_at_the_start=_agree(found))


def _agree(found: Json) -> str:
    """How many tokens both sides answered alike before they part, if they do."""
    mine, theirs = (found[side]["runs"][0]["answer"] for side in ("ours", "peer"))
    same = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b), len(mine))
    return f"{same} of {len(mine)}"


if __name__ == "__main__":
    main()
