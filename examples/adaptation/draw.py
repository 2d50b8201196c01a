"""docs/adaptation_compared.md from the results: every table, and its pictures.

python examples/adaptation/draw.py [--results DIR] [--docs DIR]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import page
from chart import Line, chart
from page import table, value
from studies import Json


def methods(result: Json) -> str:
    """One row a method, in the order they were run."""
    head = [
        result["metric"], "value", "less LoRA's", "trained", "rate", "search, s",
        "peak, GB (predicted)", "on disk, MB", "1,000 answers, s",
    ]  # fmt: skip
    rows = [_row(name, one, result) for name, one in result["methods"].items()]
    told = (
        f"{result['model']}; {result['steps']} updates of {result['batch_tokens']} tokens out of "
        f"{result['rows']['train']} rows, {result['rows']['test']} rows asked. Seconds are "
        "processor seconds of one thread, of the whole search and of answering.\n"
    )
    return f"{told}\n{table(head, rows)}{_forgotten(result)}{_missing(result)}"


def _row(name: str, one: Json, result: Json) -> list[str]:
    answers = f"{one['processor_seconds_per_1000_answers']:.0f}"
    if "rates" not in one:
        return [f"`{name}`", value(one["quality"]), _gap(result, name), *["-"] * 5, answers]
    edge = " (edge)" if one["at_edge"] else ""
    return [
        f"`{name}`", value(one["quality"]), _gap(result, name),
        f"{one['trained_parameters']:,}", f"{one['learning_rate']:.2g}{edge}",
        f"{one['search_processor_seconds']:.0f}", _peak(one),
        f"{one['bytes_on_disk'] / 1e6:.2f}", answers,
    ]  # fmt: skip


def _peak(one: Json) -> str:
    """Of the whole process, which has tuned and answered before: what that left is in both."""
    return f"{one['peak_bytes'] / 1e9:.2f} ({one['predicted_peak_bytes'] / 1e9:.2f})"


def _gap(result: Json, name: str) -> str:
    gap = result["against_lora"].get(name)
    if gap is None:
        return "-"
    return _spread(gap, "difference")


def _forgotten(result: Json) -> str:
    """Of models that write alone."""
    found = {name: one["forgetting"] for name, one in result["methods"].items()}
    rows = [
        [f"`{name}`", value(one["loss"]), *(_kept(one, task) for task in ("all", "instructions"))]
        for name, one in found.items()
        if one
    ]
    if not rows:
        return ""
    head = ["what was lost", "rise of loss, nats a token", "general questions", "instructions"]
    return "\n" + table(head, rows)


def _kept(one: Json, task: str) -> str:
    found = one["general"][task]
    gap = f"{found['difference']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})"
    return f"{found['before']['value']:.2f} to {found['after']['value']:.2f}: {gap}"


def _missing(result: Json) -> str:
    told = [f"`{name}` is refused: {why}." for name, why in result["refused"].items()]
    if result["not_run"]:
        told.append("Not run: " + ", ".join(f"`{name}`" for name in result["not_run"]) + ".")
    return "".join(f"\n{one}\n" for one in told)


def methods_picture(result: Json) -> dict[str, str]:
    """Quality against trained parameters."""
    lines = [
        Line(name, [(one["trained_parameters"], one["quality"]["value"])], marks=True)
        for name, one in result["methods"].items()
        if "rates" in one
    ]
    if len(lines) < 2:
        return {}
    drawn = chart(lines, "trained parameters", result["metric"], logarithmic=True)
    return {result["task"]: drawn}


def sweeps(result: Json) -> str:
    """Tables of the single settings."""
    told = f"{result['model']}, {result['steps']} updates; span F1.\n\n"
    ranks = result["ranks"]
    targets = list(dict.fromkeys(key.partition(":")[0] for key in ranks))
    sizes = list(dict.fromkeys(key.partition(":")[2] for key in ranks))
    rows = [[f"R = {r}", *(_cell(ranks[f"{t}:{r}"]) for t in targets)] for r in sizes]
    parts = [told, table(["LoRA", *targets], rows)]
    for name, title in (
        ("rows", "rows to learn from (LoRA)"), ("sizes", "LoRA's targets and rank at equal size"),
        ("lengths", "virtual tokens (prefix tuning)"), ("starts", "20 of them that begin as"),
        ("layers", "adapted layers (Pfeiffer's adapters)"),
    ):  # fmt: skip
        cells = result[name]
        parts.append("\n" + table([title, *cells], [["span F1", *map(_cell, cells.values())]]))
    return "".join(parts)


def _cell(found: Json | None) -> str:
    if found is None:
        return "not run"
    return "refused" if "refused" in found else value(found["quality"])


def mitigations(result: Json) -> str:
    """One row a way, beside what the task and the rest come to without it."""
    told = (
        f"{result['model']}, {result['steps']} updates, {result['rows']['test']} rows asked; "
        f"before tuning {_before(result)}.\n\n"
    )
    head = [
        "way", result["metric"], "rise of loss, nats a token", "general questions", "instructions",
    ]  # fmt: skip
    return told + table(head, [_way(name, one) for name, one in result["ways"].items()])


def _before(result: Json) -> str:
    return "not run" if result["before"] is None else value(result["before"])


def _way(name: str, one: Json | None) -> list[str]:
    if one is None or "refused" in one:
        return [name, _cell(one), "-", "-", "-"]
    lost = one["forgetting"]
    kept = (_kept(lost, task) for task in ("all", "instructions"))
    return [name, value(one["quality"]), value(lost["loss"]), *kept]


def prompts(result: Json) -> str:
    """The four ways to ask on each task, and what each property of examples brings."""
    ways = {"before": "as it came", "before, shown": "with examples", "tuned": "tuned",
            "tuned, shown": "tuned, with examples"}  # fmt: skip
    done = {name: one for name, one in result["tasks"].items() if one is not None}
    rows = [
        [f"{name}, {one['metric']}", *(value(one["quality"][way]) for way in ways),
         _spread(one["tuned_over_shown"]), _spread(one["shown_once_tuned"])]
        for name, one in done.items()
    ]  # fmt: skip
    head = [f"{result['shots']} examples", *ways.values(), "tuned less with examples",
            "what examples add once tuned"]  # fmt: skip
    told = table(head, rows)
    if result["toxic"] is not None:
        told += _properties(result["toxic"])
    return told


def _properties(found: Json) -> str:
    rows = [
        [name, value(one["accuracy"]), *(["-", "-"] if one["difference"] is None else
         [_spread(one["difference"]), f"{one['p_value']:.2f}"])]
        for name, one in found["conditions"].items()
    ]  # fmt: skip
    head = [f"toxic comments, {found['n']} asked", "accuracy", "less the gold examples'", "p"]
    return "\n" + table(head, rows)


def _spread(gap: Json, key: str = "value") -> str:
    return f"{gap[key]:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})"


def flan(result: Json) -> str:
    """One row a kind that was left out, asked with instructions before and after."""
    kinds = result["left_out"]
    steps = {found[form]["steps"] for found in kinds.values() for form in FORMS}
    told = f"{result['model']}, LoRA, {_range(steps)} updates of 1,024 tokens for each cell.\n\n"
    head = ["left out", "asked", "by chance", "before"]
    head += [text for form in FORMS.values() for text in (form, "gain")]
    return told + table(head, [_left_out(kind, found) for kind, found in kinds.items()])


FORMS = {"instructions": "tuned on instructions", "bare": "on a bare form"}


def _range(numbers: set[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least} to {most}"


def _left_out(kind: str, found: Json) -> list[str]:
    told = [kind, str(found["n"]), f"{found['chance']:.3f}", value(found["before"]["accuracy"])]
    for form in FORMS:
        gain = found[form]["against_before"]
        told.append(value(found[form]["accuracy"]))
        told.append(_spread(gain, "difference"))
    return told


def cost(result: Json) -> str:
    """Of all parts, or where those do not say theirs of the last run."""
    spent = result["training"]
    smoke = " **Of a smoke run: these figures mean nothing.**" if result["smoke"] else ""
    parts = f"{spent['runs']} parts, " if spent["runs"] else ""
    minutes = max(60 * spent["processor_hours"], result["processor_minutes"])
    return f"{parts}{minutes:.1f} processor minutes in all; {result['machine']}.{smoke}"


COMPARED = ("docstrings", "dialogues", "ner", "ner-decoder")
SECTIONS: dict[str, Callable[[Json], str]] = {
    **dict.fromkeys(COMPARED, methods), "sweeps": sweeps, "mitigations": mitigations,
    "prompts": prompts, "flan": flan,
}  # fmt: skip
PICTURES = dict.fromkeys(COMPARED, methods_picture)

if __name__ == "__main__":
    page.main(Path(__file__).parent, "adaptation_compared", SECTIONS, PICTURES, cost)
