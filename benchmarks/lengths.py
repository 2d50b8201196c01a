"""Time and memory of one training pass against the length of a row, for each kind of attention.

    python benchmarks/lengths.py --out lengths.html      # --smoke to see that it runs

One decoder of four layers for each; forward and backward of one row, in float32. No peer takes
part: what is shown is how each grows. The page needs nothing else; `scripts/picture` draws it.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from measure import fresh, resident_after_imports, say
from panels import Panel, page

KINDS = {
    "full (GPT-2)": ("gpt2-tiny", {}),
    "window 128": ("window-tiny", {"reach": 128}),
    "strided 128": ("strided-tiny", {"reach": 128}),
    "blocks of 64": ("blocks-tiny", {"reach": 64}),
    "segments of 128 (Transformer-XL)": ("transformer-xl-tiny", {"segment": 128}),
    "linear": ("linear-tiny", {}),
    "clusters of 64 (LSH)": ("reformer-tiny", {"most": 64, "num_buckets": 32}),
    "LSTM": ("lstm-tiny", {}),
}
WIDTH = {
    "hidden_size": 256, "n_embd": 256, "num_hidden_layers": 4, "n_layer": 4,
    "num_attention_heads": 4, "n_head": 4,
}  # fmt: skip


def main() -> None:
    options = _options()
    found: dict[str, list[dict[str, Any]]] = {}
    for name in KINDS:
        for length in options.lengths:
            found.setdefault(name, []).append(fresh(partial(measure, name, length, options)))
            last = found[name][-1]
            seconds, peak = last["seconds"], last["peak_bytes"] / 1e6
            say(f"{name}, {length} tokens: {seconds:.2f} s, {peak:.0f} MB")
    print(json.dumps(found))
    options.out.write_text(page(_panels(found)), encoding="utf-8")


def measure(name: str, length: int, options: argparse.Namespace) -> dict[str, Any]:
    """Median seconds and peak bytes of forward and backward of one row."""
    import statistics

    import torch

    from tutelage.checkpoints.build import build
    from tutelage.checkpoints.preset import random_checkpoint
    from tutelage.data.pack import Example, pack
    from tutelage.machine.device import use_threads
    from tutelage.machine.memory import Peak
    from tutelage.models.catalogue import find_preset
    from tutelage.models.forward import forward
    from tutelage.text.byte_level import byte_tokenizer

    use_threads(options.threads)
    preset, changes = KINDS[name]
    config = dict(find_preset(preset))
    config |= {key: value for key, value in WIDTH.items() if key in config} | changes
    config |= {key: length for key in ("max_position_embeddings", "n_positions") if key in config}
    model = build(random_checkpoint("measured", config, byte_tokenizer(None), 0, {}))
    model.requires_grad_(True)
    ids = tuple(torch.randint(256, (length,)).tolist())
    plan = pack([Example(ids, tuple(range(length)), ids)])
    before = resident_after_imports()
    seconds = []
    with Peak() as peak:
        for _ in range(options.repeats + 1):
            begun = time.perf_counter()
            model.vectors(forward(model, plan)).square().mean().backward()
            seconds.append(time.perf_counter() - begun)
    return {
        "length": length,
        "seconds": statistics.median(seconds[1:]),
        "peak_bytes": peak.bytes - before,
    }


def _panels(found: dict[str, list[dict[str, Any]]]) -> list[Panel]:
    """Seconds, and megabytes."""
    units = {"seconds": ("seconds", 1.0), "peak_bytes": ("megabytes above the start", 1e6)}
    return [
        Panel(y, "tokens of the row", {
            name: [(point["length"], point[key] / unit) for point in points]
            for name, points in found.items()
        })
        for key, (y, unit) in units.items()
    ]  # fmt: skip


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192])
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--out", type=Path, default=Path("lengths.html"))
    made.add_argument("--smoke", action="store_true", help="only see that it runs")
    options = made.parse_args()
    if options.smoke:
        options.lengths, options.repeats = [256, 512], 1
    return options


if __name__ == "__main__":
    main()
