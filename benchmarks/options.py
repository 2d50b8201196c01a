"""The options that all benchmarks have, and how a result is printed: Markdown, or JSON."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from typing import Any

from material import DATA, MODEL
from measure import Json, Tried, environment, say


def parser(description: str | None, rows: int | None = None) -> argparse.ArgumentParser:
    """A parser with the shared options; `rows` None for a benchmark of single streams."""
    made = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    made.add_argument("--model", default=MODEL, help="a model source with weights")
    if rows is not None:
        made.add_argument("--data", default=DATA, help="rows with prompts and answers")
        made.add_argument("--rows", type=int, default=rows, help="rows that both sides work on")
    made.add_argument("--pairs", type=int, default=3, help="measurements of each side, in turn")
    made.add_argument("--tried", type=int, help="try the peer's first settings only; default: all")
    made.add_argument("--threads", type=int, default=0, help="default: all cores")
    made.add_argument("--seed", type=int, default=0, help="which rows are drawn")
    made.add_argument("--json", action="store_true", help="print one JSON object")
    made.add_argument("--smoke", action="store_true", help="only see that it runs: a minute or two")
    return made


def parsed(made: argparse.ArgumentParser, smoke: dict[str, Any]) -> argparse.Namespace:
    """The options, `smoke`'s values in their places if asked for. Nothing is looked up on the Hub:
    children inherit that."""
    options = made.parse_args()
    if options.smoke:
        vars(options).update(smoke, pairs=1)
    options.threads = options.threads or environment(0)["cores"]
    os.environ["HF_HUB_OFFLINE"] = "1"
    return options


def finish(options: argparse.Namespace, name: str, results: dict[str, Json]) -> None:
    """Print everything that was measured. `results` maps what was measured to `result(...)`."""
    about = {
        "benchmark": name,
        "command": _command(options, name),
        "smoke": options.smoke,
        "model": options.model,
        **environment(options.threads),
    }
    if options.json:
        print(json.dumps({**about, "results": results}, allow_nan=False))
    else:
        print("\n".join(_markdown(about, results)))
    if options.smoke:
        say("This was a smoke run: its figures say that the script runs, and nothing else.")


def result(unit: str, tried: Sequence[Tried], chosen: Tried, found: Json, **notes: Any) -> Json:
    """One comparison: what speeds count, the peer's settings, and what `measure.in_turn` found."""
    return {
        "unit": unit,
        "peer_setting": chosen.setting,
        "tried": [one.to_json() for one in tried],
        **found,
        "notes": notes,
    }


def _command(options: argparse.Namespace, name: str) -> str:
    script, _, method = name.partition(" ")
    parts = [f"python benchmarks/{script}.py", f"--method {method}" if method else ""]
    for key, value in vars(options).items():
        if key not in ("method", "json", "smoke") and value is not None and value is not False:
            words = value if isinstance(value, list) else [] if value is True else [value]
            parts.append(" ".join([f"--{key.replace('_', '-')}", *map(str, words)]))
    return " ".join(part for part in parts if part)


def _markdown(about: Json, results: dict[str, Json]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        f"### {about['benchmark']}",
        "",
        f"`{about['command']}`, commit {str(about['commit'])[:12]}, {about['date']}; "
        f"{about['processor']}, {about['threads']} threads of {about['cores']} cores, "
        f"{about['memory_bytes'] / 1e9:.0f} GB; {versions}.",
    ]
    for what, one in results.items():
        lines += ["", *_comparison(what, one)]
    return lines


def _comparison(what: str, one: Json) -> list[str]:
    limits, gemm = one["limits"], one["limits"]["gemm_flops"]
    lines = [
        f"| {what} | {one['unit']} | of the limit | peak memory | dtype |",
        "|---|---:|---:|---:|---|",
    ]
    for name in ("ours", "peer"):
        side = one[name]
        lines.append(
            f"| {name} | {side['speed']:,.1f} | {side['share_of_limit']:.0%} "
            f"| {side['peak_bytes'] / 1e9:.2f} GB | {side['dtype']} |"
        )
    lines.append("")
    for name, ratio in one["ratio"].items():
        verdict = "reached" if ratio["reached"] else "missed"
        lines.append(
            f"- {name}: **{ratio['median']:.2f}x** the peer's "
            f"({ratio['low']:.2f} to {ratio['high']:.2f} within pairs); "
            f"goal {ratio['goal']}x, {verdict}"
        )
    lines.append(
        f"- limits measured beside the pairs: {gemm['bf16'] / 1e12:.2f} TFLOP/s bf16, "
        f"{gemm['fp32'] / 1e12:.2f} fp32, {limits['bandwidth'] / 1e9:.1f} GB/s; "
        f"the share is of {one['limited_by']}"
    )
    lines += [f"- {key.replace('_', ' ')}: {_said(value)}" for key, value in one["notes"].items()]
    lines += ["", "| peer's setting | speed | peak memory |", "|---|---:|---:|"]
    for tried in one["tried"]:
        mark = " (chosen)" if tried["setting"] == one["peer_setting"] else ""
        found = tried["measured"]
        reached = (
            f"{found['speed']:,.1f} | {found['peak_bytes'] / 1e9:.2f} GB"
            if found
            else f"{tried['failure']} | -"
        )
        lines.append(f"| {tried['setting']}{mark} | {reached} |")
    return lines


def _said(value: Any) -> str:
    return f"{value:,.3g}" if isinstance(value, float) else str(value)
