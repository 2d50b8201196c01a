"""64 clients read streams at once: our server beside llama.cpp's, by what its clients see.

    python benchmarks/streams.py --llama BUILD/bin      # --smoke to see that it runs
    python benchmarks/streams.py --llama BUILD/bin --temperature 0.7 --top-p 0.9

Each side is a server process of its own, asked over HTTP by the same client with the same texts;
no answer may end early. The speed is of all streams together, from the first request to the last
token, with reading the prompts. Beside it stand, over all streams of all pairs, the time to the
first token and the time between two tokens, median and 99th percentile.
llama.cpp is tried in every type, with a slot for each stream, and the fastest is compared.
With a temperature both sides draw their tokens, each stream with a seed of its own (`--seed` and
its number); llama.cpp then draws by these settings alone (its top-k and min-p off).
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import peer_llama
import server
from material import DATA, Material, prepare
from measure import Json, Side, Work, best, in_turn, sweep
from options import finish, parsed, parser, result

GOALS = {"speed": 1.0}
PERCENTILES = (50, 99)


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        material = prepare(options.model, DATA, options.streams, options.seed, Path(scratch))
        what = f"{options.streams} open streams, {options.tokens} tokens each"
        if options.temperature:
            what += f", temperature {options.temperature:g}, top-p {options.top_p:g}"
        found = {what: _compared(options, material, Path(scratch))}
    finish(options, "streams", found)


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--llama", type=Path, required=True, help="folder of llama-server")
    made.add_argument("--streams", type=int, default=64, help="clients at once")
    made.add_argument("--context", type=int, default=128, help="tokens of each prompt")
    made.add_argument("--tokens", type=int, default=128, help="tokens of each answer")
    made.add_argument("--temperature", type=float, default=0.0, help="0: the likeliest token")
    made.add_argument("--top-p", type=float, default=1.0, help="beside a temperature")
    options = parsed(made, {"streams": 4, "context": 16, "tokens": 8, "tried": 1})
    if options.temperature < 0 or not 0 < options.top_p <= 1:
        made.error("--temperature is 0 or more, --top-p above 0 and at most 1")
    if options.top_p < 1 and not options.temperature:
        made.error("--top-p needs a --temperature above 0: the likeliest token is not drawn")
    return options


def _compared(options: argparse.Namespace, material: Material, scratch: Path) -> Json:
    prompts = _prompts(material, options.context)
    asked = server.Asked(prompts, options.context, options.tokens, _sampled(options))
    tried = sweep(
        {f"llama.cpp, {kind}": _peer(options, scratch, kind, asked)
         for kind in peer_llama.TYPES[: options.tried]}
    )  # fmt: skip
    chosen = best(tried)
    mine = partial(server.ours, options.model, options.threads, asked)
    each = material.size.body + material.size.head
    read = options.context / options.tokens * material.size.body
    found = in_turn(
        mine, chosen.side, pairs=options.pairs, threads=options.threads,
        work=Work("multiplying", lambda _: 2 * (each + read)), goals=GOALS,
    )  # fmt: skip
    notes = {f"{name}, {kind}": _told(found[name]["runs"], kind)
             for kind in ("first", "between") for name in ("ours", "peer")}  # fmt: skip
    for name in ("ours", "peer"):
        for one in found[name]["runs"]:
            del one["first"], one["between"]
    return result("tokens/s", tried, chosen, found, **notes)


def _sampled(options: argparse.Namespace) -> dict[str, float]:
    if not options.temperature:
        return {}
    drawn = {"temperature": options.temperature, "seed": options.seed}
    return drawn | ({"top_p": options.top_p} if options.top_p < 1 else {})


def _peer(options: argparse.Namespace, scratch: Path, kind: str, asked: server.Asked) -> Side:
    file = peer_llama.export(options.model, kind, scratch / f"model-{kind}.gguf")
    return partial(server.llama, options.llama, file, options.threads, asked)


def _prompts(material: Material, length: int) -> list[str]:
    """Beginnings of different real rows, the shorter ones filled up with what follows."""
    rows, tokenizer = material.examples, material.checkpoint.tokenizer
    found = []
    for at in range(len(rows)):
        ids = [token for one in [*rows[at:], *rows[:at]] for token in one.ids]
        found.append(tokenizer.decode(ids[:length]))
    return found


def _told(runs: list[Json], kind: str) -> str:
    """Percentiles over all streams of all runs, in milliseconds."""
    import numpy as np

    times = [seconds for one in runs for seconds in one[kind]]
    values = zip(PERCENTILES, np.percentile(times, PERCENTILES), strict=True)
    return ", ".join(f"p{at} {value * 1000:,.0f} ms" for at, value in values)


if __name__ == "__main__":
    main()
