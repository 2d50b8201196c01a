"""What a decoded token costs as rows, context and model grow.

    python benchmarks/growth.py --out growth.html      # --smoke to see that it runs

Random weights in LLaMA's shape, in bfloat16 and in 4 bits (tables and heads in 8): what a step
takes does not depend on what the numbers are. No peer takes part. The page needs nothing else;
`scripts/picture` draws it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import fresh, resident_after_imports, say
from panels import Panel, page

if TYPE_CHECKING:
    from tutelage.checkpoints.checkpoint import Checkpoint
    from tutelage.models.forward import Model

SIZES = {
    "18M": (6, 256, 4, 2, 1024),
    "38M": (12, 384, 6, 3, 1024),
    "135M": (30, 576, 9, 3, 1536),
    "360M": (32, 960, 15, 5, 2560),
    "1.1B": (22, 2048, 32, 4, 5632),
}
"""Layers, width, heads, heads of keys, hidden; the third and fourth are SmolLM2's."""
PLAIN = "135M"
FORMS = ("bfloat16", "4 bits")
BEFORE = 128
"""Tokens of a row before those decoded, where the context is not what grows."""
Point = dict[str, float]


def main() -> None:
    options = _options()
    asked: dict[str, list[tuple[str, int, int]]] = {
        "rows": [(PLAIN, rows, BEFORE) for rows in options.rows],
        "context": [(PLAIN, 1, context) for context in options.contexts],
        "parameters": [(size, 1, BEFORE) for size in options.sizes],
    }
    found: dict[str, dict[str, list[Point]]] = {}
    for what, settings in asked.items():
        for form in FORMS:
            for setting in settings:
                point = fresh(partial(measure, form, *setting, options))
                found.setdefault(what, {}).setdefault(form, []).append(point)
                say(f"{form}, {setting}: {point}")
    print(json.dumps(found))
    options.out.write_text(page(_panels(found)), encoding="utf-8")


def measure(form: str, size: str, rows: int, context: int, options: argparse.Namespace) -> Point:
    """Median milliseconds of a step of so many rows, and peak bytes above the imports."""
    import statistics
    import time

    from tutelage.generate.engine import Engine
    from tutelage.generate.job import Job
    from tutelage.machine.device import use_threads
    from tutelage.machine.memory import Peak

    use_threads(options.threads)
    before = resident_after_imports()
    prompts = [tuple((row + at) % 250 for at in range(context)) for row in range(rows)]
    jobs = [Job(prompt, options.tokens + 2, frozenset()) for prompt in prompts]
    with Peak() as peak, tempfile.TemporaryDirectory(prefix="growth-") as scratch:
        checkpoint = described(SIZES[size], context + options.tokens + 2)
        model = opened(checkpoint, form, Path(scratch))
        stamps, waiting = [], set(range(rows))
        for token in Engine(model).run(jobs):
            waiting.discard(token.index)
            if not waiting and token.index == rows - 1:
                stamps.append(time.perf_counter())
    steps = [after - start for start, after in itertools.pairwise(stamps)]
    return {
        "rows": rows, "context": context, "parameters": parameters(checkpoint.config),
        "milliseconds": 1000 * statistics.median(steps[1:]), "peak_bytes": peak.bytes - before,
    }  # fmt: skip


def described(size: Sequence[int], context: int) -> Checkpoint:
    from tutelage.checkpoints.preset import random_checkpoint
    from tutelage.models.catalogue import find_preset
    from tutelage.text.byte_level import byte_tokenizer

    layers, width, heads, key_heads, hidden = size
    config = {
        **find_preset("llama-tiny"), "num_hidden_layers": layers, "hidden_size": width,
        "num_attention_heads": heads, "num_key_value_heads": key_heads, "intermediate_size": hidden,
        "head_dim": width // heads, "vocab_size": 49152, "max_position_embeddings": context,
    }  # fmt: skip
    return random_checkpoint("measured", config, byte_tokenizer(None), 0, {})


def parameters(config: Mapping[str, Any]) -> int:
    from tutelage.models.catalogue import layout

    return sum(weight.count for weight in layout(config))


def opened(checkpoint: Checkpoint, form: str, scratch: Path) -> Model:
    """The model in bfloat16, or written in 4 bits and opened from there."""
    from tutelage import store
    from tutelage.backends.built import built
    from tutelage.checkpoints.open import open_checkpoint
    from tutelage.checkpoints.quantized_save import write_quantized
    from tutelage.machine.device import resolve
    from tutelage.nn.form import Form

    if form != FORMS[0]:
        with store.new_folder(scratch / "few") as inside:
            write_quantized(checkpoint, inside, Form(4, minimum=True))
        checkpoint = open_checkpoint(str(scratch / "few"))
    return built(checkpoint, resolve("cpu", "bf16"), None, False)


def _panels(found: Mapping[str, Mapping[str, Sequence[Point]]]) -> list[Panel]:
    """Of rows the cost of a row's token, of all else that of the step, which is one token."""
    titles = {
        "rows": ("ms a token of each row", "rows of a step"),
        "context": ("ms a token, one row", "tokens of context"),
        "parameters": ("ms a token, one row", "parameters"),
    }
    return [
        Panel(y, x, {
            form: [(one[what], one["milliseconds"] / one["rows"]) for one in points]
            for form, points in found[what].items()
        })
        for what, (y, x) in titles.items()
    ]  # fmt: skip


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--rows", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    made.add_argument("--contexts", type=int, nargs="+", default=[128, 512, 2048, 8192])
    made.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    made.add_argument("--tokens", type=int, default=32, help="steps timed, after two that are not")
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--out", type=Path, default=Path("growth.html"))
    made.add_argument("--smoke", action="store_true", help="only see that it runs")
    options = made.parse_args()
    if options.smoke:
        options.rows, options.contexts, options.sizes = [1, 2], [128, 256], ["18M", "38M"]
        options.tokens = 4
    return options


if __name__ == "__main__":
    main()
