"""docs/from_scratch.md from the results: every table, and every picture in docs/from_scratch/.

    python examples/from_scratch/draw.py [--results DIR] [--docs DIR]

A table stands between `<!-- results: STUDY -->` and `<!-- end -->`; what is around it is prose. A
study without results says so in its place.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import page
from chart import Line, chart
from page import table, value
from studies import Json


def _cost(result: Json) -> str:
    spent = result["training"]
    smoke = " **Of a smoke run: these figures mean nothing.**" if result["smoke"] else ""
    return (
        f"{spent['runs']} training runs, {spent['processor_hours']:.2f} processor hours "
        f"({spent['hours']:.2f} by the clock, on a machine that may have been shared), "
        f"{spent['flops']:.2g} FLOPs; {result['machine']}; texts: {result['text']}.{smoke}"
    )


def prose(result: Json) -> str:
    texts = list(result["baselines"])
    rows = [
        [
            f"{name}, {_size(result[name])}",
            *(value(result[name]["bits_per_byte"][t]) for t in texts),
        ]
        for name in ("decoder", "lstm")
    ]
    for name in result["baselines"][texts[0]]:
        rows.append([name, *(value(result["baselines"][text][name]) for text in texts)])
    for size, found in result["n_grams"].items():
        rows.append([f"5-grams of {size} tokens", *(value(found[text]) for text in texts)])
    best = {t: min(one["value"] for one in result["baselines"][t].values()) for t in texts}
    gains = [
        f"{name} {100 * (1 - result[name]['bits_per_byte'][t]['value'] / best[t]):+.1f}% on {t}"
        for name in ("decoder", "lstm")
        for t in texts
    ]
    told = "Below the best of gzip, xz and the 5-grams of the same tokens (the goal: 10%): "
    return table(["bits per byte", *texts], rows) + f"\n{told}{'; '.join(gains)}.\n"


def _size(record: Json) -> str:
    return f"{record['parameters'] / 1e6:.2f}M parameters, {record['tokens'] / 1e6:.1f}M tokens"


def prose_picture(result: Json) -> Json:
    """By processor time, of which every step of a run takes the same: minutes by the clock say what
    else the machine did."""
    lines = []
    for name in ("decoder", "lstm"):
        found = result[name]
        each = found["processor_seconds"] / 60 / found["steps"]
        points = [(one["step"] * each, one["loss"] / math.log(2)) for one in found["curve"][2:]]
        lines.append(Line(name, points))
    return {"prose": chart(lines, "processor minutes", "bits a token in training")}


def domain(result: Json) -> str:
    texts = list(result["base"]["bits_per_byte"])
    rows = [["books alone", *(value(result["base"]["bits_per_byte"][text]) for text in texts)]]
    rows += [
        [name, *(value(mix["bits_per_byte"][text]) for text in texts)]
        for name, mix in result["mixes"].items()
    ]
    return table(["bits per byte", *texts], rows)


def encoders(result: Json) -> str:
    rows = []
    for name, one in result["models"].items():
        gap = one["difference"]
        span = f"{gap['difference']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})"
        starts = [value(one[start]["accuracy"]) for start in ("pretrained", "random")]
        rows.append(
            [f"{name}, {_size(one['pretraining'])}", *starts, span, f"{gap['p_value']:.4f}"]
        )
    head = ["tuned from", "pretrained", "random", "difference", "p"]
    chance = f"{result['task']['classes']} books, chance {result['task']['chance']:.3f}"
    return table(head, rows) + f"\nAccuracy on {result['task']['rows']['test']} rows; {chance}.\n"


def families(result: Json) -> str:
    rows = [
        [f"{name}, {_size(one['pretraining'])}", value(one["accuracy"])]
        for name, one in result["models"].items()
    ]
    gaps = [[f"{gap['a']} less {gap['b']}", difference(gap)] for gap in result["differences"]]
    return table([result["task"], "share right"], [*rows, *gaps])


def difference(gap: Json) -> str:
    span = f"{gap['difference']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})"
    return f"{span}, p {gap['p_adjusted']:.4f}"


def scaling(result: Json) -> str:
    law, told, larger = result["law"], result["predicted"], result["larger"]
    formula = (
        f"L = {law['e']:.3f} + {law['a']:.3g} / N^{law['alpha']:.3f} "
        f"+ {law['b']:.3g} / D^{law['beta']:.3f}"
    )
    rows = [
        [name, f"{one['params']:.3g}", f"{one['ratio']:.3g}"]
        for name, one in result["optima"].items()
    ]
    return (
        f"{formula} bits a byte, from {len(result['runs'])} runs.\n\n"
        + table([f"best at {told['flops']:.2g} FLOPs", "N", "tokens a parameter"], rows)
        + f"\nThe larger run: {larger['parameters']:,} parameters, {larger['tokens']:,} tokens, "
        f"{larger['loss_held_out']:.3f} bits a byte, where the law says "
        f"{(1 + result['error']) * larger['loss_held_out']:.3f} ({100 * result['error']:+.1f}%).\n"
    )


def scaling_picture(result: Json) -> Json:
    budgets: dict[str, list[tuple[float, float]]] = {}
    for run in result["runs"]:
        point = (run["parameters"], run["loss_held_out"])
        budgets.setdefault(f"{run['flops']:.1e} FLOPs", []).append(point)
    lines = [Line(name, sorted(points)) for name, points in budgets.items()]
    larger = (result["larger"]["parameters"], result["larger"]["loss_held_out"])
    lines.append(Line("larger run", [larger], marks=True))
    lines.append(Line("as foretold", [(larger[0], larger[1] * (1 + result["error"]))], marks=True))
    return {"scaling": chart(lines, "parameters", "held-out bits a byte", logarithmic=True)}


SECTIONS = {
    "prose": prose,
    "domain": domain,
    "encoders": encoders,
    "families": families,
    "scaling": scaling,
}
PICTURES = {"prose": prose_picture, "scaling": scaling_picture}

if __name__ == "__main__":
    page.main(Path(__file__).parent, "from_scratch", SECTIONS, PICTURES, _cost)
