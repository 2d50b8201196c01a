"""The peer answers: left padding and greedy `generate`; forward passes alone for one stream."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import Measurement
from peer import DTYPES, Setting, open_model, start

if TYPE_CHECKING:
    from tutelage.lm import Message

Once = Callable[[Any], tuple[float, list[int]]]
"""A model to a speed and the tokens it answered."""


def settings(batches: Sequence[int]) -> list[Setting]:
    """float32 and bfloat16 x batch sizes, always sorted by length."""
    return [Setting(*one) for one in product(DTYPES, batches)]


def answer(
    folder: Path, prompts: Sequence[Sequence[Message]], setting: Setting, max_new_tokens: int,
    threads: int,
) -> Measurement:  # fmt: skip
    """Rows a second: template, tokens, left padding, greedy `generate`, text. No scoring."""
    before, peak = start(threads)
    from transformers import AutoTokenizer

    with peak:
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        model = open_model(folder, setting).eval()
        chats = [[{"role": turn.role, "content": turn.content} for turn in p] for p in prompts]
        _answer_batch(tokenizer, model, chats[: setting.batch], 4)
        begun = time.perf_counter()
        lengths = [len(tokenizer(chat[-1]["content"])["input_ids"]) for chat in chats]
        order = sorted(range(len(chats)), key=lambda place: lengths[place])
        texts, counts = [""] * len(chats), []
        for first in range(0, len(order), setting.batch):
            part = order[first : first + setting.batch]
            found, count = _answer_batch(tokenizer, model, [chats[i] for i in part], max_new_tokens)
            counts.append(count)
            for place, text in zip(part, found, strict=True):
                texts[place] = text
        seconds = time.perf_counter() - begun
    detail = {
        "setting": str(setting),
        "seconds": seconds,
        "prompt_tokens": sum(count[0] for count in counts),
        "answer_tokens": sum(count[1] for count in counts),
        "texts": texts,
    }
    return Measurement(len(chats) / seconds, peak.bytes - before, setting.dtype, detail)


def _answer_batch(
    tokenizer: Any, model: Any, chats: list[Any], limit: int
) -> tuple[list[str], tuple[int, int]]:
    """The answers, and how many tokens were read and made (end tokens not counted)."""
    inputs = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt"
    )
    made = model.generate(**inputs, max_new_tokens=limit, do_sample=False)
    new = made[:, inputs["input_ids"].shape[1] :]
    counts = int(inputs["attention_mask"].sum()), int((new != tokenizer.pad_token_id).sum())
    return tokenizer.batch_decode(new, skip_special_tokens=True), counts


def prefill(
    folder: Path, prompt: tuple[int, ...], setting: Setting, repeats: int, threads: int
) -> Measurement:
    """Prompt tokens a second of a forward pass that fills the cache, with logits at its end alone:
    median of `repeats`, after one that is not counted."""
    import torch

    def once(model: Any) -> tuple[float, list[int]]:
        begun = time.perf_counter()
        logits = model(torch.tensor([prompt]), use_cache=True, logits_to_keep=1).logits
        token = int(logits[0, -1].argmax())
        return len(prompt) / (time.perf_counter() - begun), [token]

    return _repeated(folder, setting, once, repeats, threads)


def decode(
    folder: Path, prompt: tuple[int, ...], tokens: int, setting: Setting, bare: bool, repeats: int,
    threads: int,
) -> Measurement:  # fmt: skip
    """Tokens a second of one stream between the first answer token and `tokens` later.

    `bare` is one forward pass and an argmax a token, nothing else; otherwise `generate` runs.
    """
    steps = _bare if bare else _generated

    def once(model: Any) -> tuple[float, list[int]]:
        arrived = steps(model, prompt, tokens + 1)
        return tokens / (arrived[-1][0] - arrived[0][0]), [token for _, token in arrived]

    return _repeated(folder, setting, once, repeats, threads)


def streams(
    folder: Path, prompts: Sequence[tuple[int, ...]], tokens: int, setting: Setting, threads: int
) -> Measurement:
    """Tokens a second of prompts of one length together: a forward pass and an argmax a token."""
    import torch

    before, peak = start(threads)
    with peak, torch.inference_mode():
        model = open_model(folder, setting).eval()
        for count in (2, tokens):
            ids, cache, begun = torch.tensor(prompts), None, 0.0
            for step in range(count + 1):
                out = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
                cache, ids = out.past_key_values, out.logits[:, -1].argmax(-1, keepdim=True)
                begun = begun or (0.0 if step else time.perf_counter())
            seconds = time.perf_counter() - begun
    speed = len(prompts) * tokens / seconds
    return Measurement(speed, peak.bytes - before, setting.dtype, {"setting": str(setting)})


def _bare(model: Any, prompt: tuple[int, ...], count: int) -> list[tuple[float, int]]:
    """Greedy tokens, each with the time at which it was known."""
    import torch

    ids, cache = torch.tensor([prompt]), None
    arrived = []
    for _ in range(count):
        out = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache, ids = out.past_key_values, out.logits[:, -1].argmax(-1, keepdim=True)
        arrived.append((time.perf_counter(), int(ids)))
    return arrived


def _generated(model: Any, prompt: tuple[int, ...], count: int) -> list[tuple[float, int]]:
    """The same from `generate`, through its streamer."""
    import torch

    arrived: list[tuple[float, int]] = []

    class Streamer:
        def put(self, value: Any) -> None:
            if value.numel() == 1:  # the prompt comes first, as a whole
                arrived.append((time.perf_counter(), int(value)))

        def end(self) -> None:
            pass

    ids = torch.tensor([prompt])
    model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count,
        do_sample=False, streamer=Streamer(),
    )  # fmt: skip
    return arrived


def _repeated(
    folder: Path, setting: Setting, once: Once, repeats: int, threads: int
) -> Measurement:
    import torch

    before, peak = start(threads)
    with peak, torch.inference_mode():
        model = open_model(folder, setting).eval()
        found = [once(model) for _ in range(repeats + 1)]
    speeds = [speed for speed, _ in found[1:]]
    stored = sum(p.numel() * p.element_size() for p in model.parameters())
    detail = {
        "setting": str(setting),
        "speeds": speeds,
        "answer": found[-1][1],
        "weight_bytes": stored,
    }
    return Measurement(statistics.median(speeds), peak.bytes - before, setting.dtype, detail)
