"""The peer llama.cpp: its own measuring programs, on files that our export wrote.

Build it from the source distribution of `llama-cpp-python` on PyPI (folder vendor/llama.cpp),
targets `llama-bench` and `llama-batched-bench`. Its native build may contain instructions that a
virtual machine refuses; then turn GGML_NATIVE off and name those that /proc/cpuinfo lists.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from measure import Measurement

TYPES = ("q4_0", "q4_0_pure", "q4_1", "q8_0", "f16")
"""Of files; `pure` ones have token table and head in 4 bits too."""


def export(source: str, kind: str, file: Path) -> Path:
    """The same weights as a GGUF file of this type, once."""
    if not file.exists():
        command = [sys.executable, "-m", "tutelage", "model", "export", source]
        asked = ["--to", "gguf", "--type", kind.removesuffix("_pure"), "--out", str(file)]
        asked += ["--pure"] if kind.endswith("_pure") else []
        subprocess.run([*command, *asked], check=True, stdout=2)
    return file


def prefill(programs: Path, file: Path, prompt: int, repeats: int, threads: int) -> Measurement:
    """Tokens a second of a prompt: median of `repeats`, after a warm-up of its own."""
    return _bench(programs, file, ["-p", str(prompt), "-n", "0"], repeats, threads)


def decode(
    programs: Path, file: Path, context: int, tokens: int, repeats: int, threads: int
) -> Measurement:
    """Tokens a second of one stream, `context` tokens after its beginning."""
    asked = ["-p", "0", "-n", str(tokens), "-d", str(context)]
    return _bench(programs, file, asked, repeats, threads)


def streams(
    programs: Path, file: Path, context: int, tokens: int, count: int, threads: int
) -> Measurement:
    """Tokens a second of `count` streams in one batch, their prompts read before."""
    room = str(count * (context + tokens + 8))
    asked = [
        "-npp",
        str(context),
        "-ntg",
        str(tokens),
        "-npl",
        str(count),
        "-c",
        room,
        "-b",
        "2048",
    ]
    found = _run([programs / "llama-batched-bench", "-m", file, *asked, "--output-format", "jsonl",
                  "-t", str(threads)])  # fmt: skip
    lines = [json.loads(line) for line in found.splitlines() if line.startswith("{")]
    return _measured(lines[-1]["speed_tg"], file)


def _bench(programs: Path, file: Path, asked: list[str], repeats: int, threads: int) -> Measurement:
    found = json.loads(_run([
        programs / "llama-bench", "-m", file, "-t", str(threads), "-r", str(repeats), "-o", "json",
        *asked,
    ]))  # fmt: skip
    return _measured(statistics.median(found[0]["samples_ts"]), file)


def _run(command: list[Any]) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        raise RuntimeError(f"{Path(command[0]).name}: {last[0]}")
    return done.stdout


def _measured(speed: float, file: Path) -> Measurement:
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    kind = file.stem.rpartition("-")[2]
    return Measurement(speed, peak, kind, {"weight_bytes": file.stat().st_size})
