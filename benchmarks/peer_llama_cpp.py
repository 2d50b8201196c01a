"""llama.cpp's side of `llama_cpp_agreement.py`, in a process that imports nothing of ours.

stdin    one JSON line {"file", "context", "threads", "tokens"}, then one list of ids a prompt
stdout   one JSON line {"tokens", "vocabulary"} a prompt, then tokens x vocabulary float32 logits
"""

from __future__ import annotations

import json
import sys

import llama_cpp
import numpy as np


def main() -> None:
    said = json.loads(sys.stdin.readline())
    model = llama_cpp.Llama(
        said["file"], n_ctx=said["context"], n_threads=said["threads"],
        n_threads_batch=said["threads"], verbose=False,
    )  # fmt: skip
    vocabulary = model.n_vocab()
    for line in sys.stdin:
        model.reset()
        model.eval(json.loads(line))
        tokens, rows = [], []
        for _ in range(said["tokens"]):
            place = llama_cpp.llama_get_logits_ith(model.ctx, -1)
            rows.append(np.ctypeslib.as_array(place, shape=(vocabulary,)).astype(np.float32))
            tokens.append(int(rows[-1].argmax()))
            model.eval(tokens[-1:])
        sys.stdout.write(json.dumps({"tokens": tokens, "vocabulary": vocabulary}) + "\n")
        sys.stdout.flush()
        sys.stdout.buffer.write(np.stack(rows).tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
