"""One stream at 4 bits, 32 streams, a prompt: llama.cpp, transformers; prompt lookup and without.

    python benchmarks/engine.py --llama BUILD/bin       # --smoke to see that it runs

Each is compared with the fastest of all that is tried: llama.cpp in every type (for one stream in
those of 4 bits), transformers in float32 and bfloat16. `peer_llama.py` says how llama.cpp is built.
Our side at 4 bits is what `quantize --bits 4 --table-bits 4` writes, nearer to float32 than their
Q4_0 (docs/quantizing.md), else the model as it is opened. Prompt lookup
has our own plain decoding beside it, both in `--exact`, one row after the other on the same rows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ours
import peer_generate
import peer_llama
from material import DATA, Material, prepare
from measure import Json, Measurement, Side, Work, best, in_turn, sweep
from options import finish, parsed, parser, result
from peer import DTYPES, Setting

PARTS = ("stream", "streams", "few-bits", "prompt", "lookup")
GOALS = {
    "stream": {"speed": 1.5},
    "streams": {"speed": 2.5},
    "few-bits": {"speed": 2.5},
    "prompt": {"speed": 1.2},
    "lookup": {"speed": 1.5},
}
FOUR_BITS = ("q4_0", "q4_0_pure", "q4_1")


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        material = prepare(options.model, DATA, 64, options.seed, Path(scratch))
        made = {
            "stream": _stream, "streams": _streams, "few-bits": _few_bits, "prompt": _prompt,
            "lookup": _lookup,
        }  # fmt: skip
        found = {}
        for part in options.parts:
            what, measured = made[part](options, material, Path(scratch))
            found[what] = measured
    finish(options, "engine", found)


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--llama", type=Path, help="llama.cpp's programs; without, it is left out")
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    made.add_argument("--prompt", type=int, default=1024, help="tokens of the prompt to read")
    made.add_argument("--context", type=int, default=128, help="tokens before those decoded")
    made.add_argument("--tokens", type=int, default=128, help="tokens to decode")
    made.add_argument("--asked", type=int, default=16, help="rows answered with prompt lookup")
    made.add_argument("--batch", type=int, default=32, help="streams at once")
    made.add_argument("--table-bits", type=int, default=4, choices=(4, 8), help="of ours at 4 bits")
    made.add_argument("--repeats", type=int, default=5, help="in each process, after one more")
    smoke = {
        "prompt": 64,
        "context": 16,
        "tokens": 4,
        "batch": 2,
        "asked": 2,
        "repeats": 1,
        "tried": 1,
    }
    return parsed(made, smoke)


def _stream(options: argparse.Namespace, material: Material, scratch: Path) -> tuple[str, Json]:
    """Only peers with 4 bits a weight, and ours with as many."""
    if options.llama is None:
        raise SystemExit("--parts stream: --llama DIR is needed, the peer with 4 bits a weight")
    sides: dict[str, Side] = {
        f"llama.cpp, {kind}": partial(
            peer_llama.decode, options.llama, _file(options, scratch, kind), options.context,
            options.tokens, options.repeats, options.threads,
        )
        for kind in FOUR_BITS[: options.tried]
    }  # fmt: skip
    mine = partial(
        ours.decode, _quantized(options, scratch), _ids(material, options.context),
        options.tokens, options.repeats, options.threads,
    )  # fmt: skip
    what = f"one stream at 4 bits, {options.tokens} tokens"
    return what, _compared(options, mine, sides, "stream", Work("reading", _weights))


def _streams(options: argparse.Namespace, material: Material, scratch: Path) -> tuple[str, Json]:
    what = f"{options.batch} streams, {options.tokens} tokens each"
    return what, _together(options, material, scratch, options.model, "streams")


def _few_bits(options: argparse.Namespace, material: Material, scratch: Path) -> tuple[str, Json]:
    """Against the same peers, in whatever type each is fastest."""
    what = f"{options.batch} streams at 4 bits, {options.tokens} tokens each"
    return what, _together(options, material, scratch, _quantized(options, scratch), "few-bits")


def _quantized(options: argparse.Namespace, scratch: Path) -> str:
    few = scratch / "four-bits"
    if not few.exists():
        command = [sys.executable, "-m", "tutelage", "quantize", options.model, "--bits", "4"]
        asked = ["--table-bits", str(options.table_bits), "--texts", "2", "--out", str(few)]
        subprocess.run([*command, *asked], check=True, stdout=2)
    return str(few)


def _together(
    options: argparse.Namespace, material: Material, scratch: Path, source: str, part: str
) -> Json:
    prompts = [_ids(material, options.context, at) for at in range(options.batch)]
    theirs = partial(peer_generate.streams, material.folder, prompts, options.tokens)
    llama = partial(
        peer_llama.streams, options.llama, context=options.context, tokens=options.tokens,
        count=options.batch,
    )  # fmt: skip
    sides = _all_types(options, scratch, theirs, llama)
    body = material.size.body + material.size.head
    mine = partial(ours.streams, source, prompts, options.tokens, options.threads)
    work = Work("multiplying", lambda _: 2 * body)
    return _compared(options, mine, sides, part, work)


def _prompt(options: argparse.Namespace, material: Material, scratch: Path) -> tuple[str, Json]:
    ids = _ids(material, options.prompt)
    theirs = partial(peer_generate.prefill, material.folder, ids, repeats=options.repeats)
    llama = partial(
        peer_llama.prefill, options.llama, prompt=options.prompt, repeats=options.repeats
    )
    sides = _all_types(options, scratch, theirs, llama)
    body = material.size.body
    mine = partial(ours.prefill, options.model, ids, options.repeats, options.threads)
    work = Work("multiplying", lambda _: 2 * body)
    return f"prompt of {options.prompt} tokens", _compared(options, mine, sides, "prompt", work)


def _lookup(options: argparse.Namespace, material: Material, _: Path) -> tuple[str, Json]:
    """Against ourselves; raises SystemExit where an answer differs."""
    prompts = [row.messages for row in material.rows[: options.asked]]
    sides = [
        partial(ours.answers, options.model, prompts, options.tokens, lookup, options.threads)
        for lookup in (True, False)
    ]
    tried = sweep({"plain decoding": sides[1]})
    found = in_turn(
        sides[0], sides[1], pairs=options.pairs, threads=options.threads,
        work=Work("reading", _weights), goals=GOALS["lookup"],
    )  # fmt: skip
    answers = [one["answers"] for side in ("ours", "peer") for one in found[side]["runs"]]
    if any(one != answers[0] for one in answers):
        raise SystemExit("--parts lookup: prompt lookup changed an answer")
    what = f"prompt lookup on {len(prompts)} rows, up to {options.tokens} tokens, --exact"
    return what, result("tokens/s", tried, tried[0], found, answers="the same on both sides")


def _all_types(
    options: argparse.Namespace, scratch: Path, theirs: Callable[..., Measurement],
    llama: Callable[..., Measurement],
) -> dict[str, Side]:  # fmt: skip
    """Transformers and, where it was named, llama.cpp, in every type of theirs."""
    sides: dict[str, Side] = {
        f"transformers, {dtype}": partial(theirs, setting=Setting(dtype), threads=options.threads)
        for dtype in DTYPES[: options.tried]
    }
    for kind in peer_llama.TYPES[: options.tried] if options.llama else ():
        file = _file(options, scratch, kind)
        sides[f"llama.cpp, {kind}"] = partial(llama, file=file, threads=options.threads)
    return sides


def _compared(
    options: argparse.Namespace, mine: Side, sides: dict[str, Side], part: str, work: Work
) -> Json:
    tried = sweep(sides)
    chosen = best(tried)
    found = in_turn(
        mine, chosen.side, pairs=options.pairs, threads=options.threads, work=work,
        goals=GOALS[part],
    )  # fmt: skip
    return result("tokens/s", tried, chosen, found)


def _file(options: argparse.Namespace, scratch: Path, kind: str) -> Path:
    return peer_llama.export(options.model, kind, scratch / f"model-{kind}.gguf")


def _ids(material: Material, length: int, at: int = 0) -> tuple[int, ...]:
    """Real rows one after the other, from the `at`-th on, cut at `length` tokens."""
    rows = [*material.examples[at:], *material.examples[:at]]
    ids = [token for one in rows for token in one.ids]
    if len(ids) < length:
        raise SystemExit(f"--prompt: {length} tokens asked, the rows have {len(ids)}")
    return tuple(ids[:length])


def _weights(found: Measurement) -> float:
    return float(found.detail["weight_bytes"])


if __name__ == "__main__":
    main()
