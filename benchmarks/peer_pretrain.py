"""The peers pretrain GPT-2's shape: transformers' model, and a plain one as nanoGPT has it.

float32 weights with autocast to bfloat16, or all in bfloat16; PyTorch's fused AdamW, gradients
clipped at 1; scaled-dot-product attention; eager or through `torch.compile`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from typing import Any

from measure import Measurement
from peer import start

VOCABULARY = 50257


@dataclass(frozen=True)
class Shape:
    width: int
    layers: int
    context: int

    def __str__(self) -> str:
        return f"GPT-2, {self.layers} layers of {self.width}, context {self.context}"

    def config(self) -> dict[str, int]:
        """In Hugging Face's field names."""
        return {
            "n_embd": self.width, "n_layer": self.layers, "n_head": max(1, self.width // 64),
            "n_positions": self.context, "vocab_size": VOCABULARY,
        }  # fmt: skip


@dataclass(frozen=True)
class Setting:
    model: str
    compiled: bool
    batch: int
    dtype: str = "autocast"

    def __str__(self) -> str:
        how = "compiled" if self.compiled else "eager"
        return f"{self.model}, {how}, batches of {self.batch}, {self.dtype}"


def settings(batches: list[int]) -> list[Setting]:
    made = [Setting(*one) for one in product(("plain", "transformers"), (False, True), batches)]
    return [*made, Setting("plain", True, max(batches), "bf16")]


def train(shape: Shape, setting: Setting, steps: int, threads: int) -> Measurement:
    """Tokens a second over `steps`, after one that is not counted."""
    import torch

    before, peak = start(threads)
    torch.manual_seed(0)
    with peak:
        model, loss_of = _made(shape, setting)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
        )
        begun = 0.0
        for number in range(steps + 1):
            if number == 1:
                begun = time.perf_counter()
            ids = torch.randint(VOCABULARY, (setting.batch, shape.context + 1))
            with torch.autocast("cpu", torch.bfloat16, enabled=setting.dtype == "autocast"):
                loss = loss_of(ids[:, :-1], ids[:, 1:])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - begun
    tokens = steps * setting.batch * shape.context
    detail = {"setting": str(setting), "seconds": seconds, "loss": float(loss.detach())}
    return Measurement(tokens / seconds, peak.bytes - before, "bf16", detail)


def _made(shape: Shape, setting: Setting) -> tuple[Any, Any]:
    """The model, and the function from tokens and labels to its loss."""
    import torch
    from torch import nn

    if setting.model == "transformers":
        from transformers import GPT2Config, GPT2LMHeadModel

        off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        model: nn.Module = GPT2LMHeadModel(GPT2Config(**shape.config(), **off))
        run = torch.compile(model) if setting.compiled else model

        def loss_of(ids: Any, labels: Any) -> Any:
            logits = run(ids, use_cache=False).logits
            return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    else:
        model = _plain(shape)
        run = torch.compile(model) if setting.compiled else model

        def loss_of(ids: Any, labels: Any) -> Any:
            return nn.functional.cross_entropy(run(ids).flatten(0, 1), labels.flatten())

    if setting.dtype == "bf16":
        model.to(torch.bfloat16)
    return model.train(), loss_of


def _plain(shape: Shape) -> Any:
    """GPT-2 in the few lines it takes: fused projection, PyTorch's attention, tied head."""
    import torch
    from torch import nn

    heads = shape.config()["n_head"]

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
            self.qkv = nn.Linear(shape.width, 3 * shape.width)
            self.out = nn.Linear(shape.width, shape.width)
            self.up = nn.Linear(shape.width, 4 * shape.width)
            self.down = nn.Linear(4 * shape.width, shape.width)

        def forward(self, x: Any) -> Any:
            parts = self.qkv(self.first(x)).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
            mixed = nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).flatten(2))
            hidden = nn.functional.gelu(self.up(self.second(x)), approximate="tanh")
            return x + self.down(hidden)

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(VOCABULARY, shape.width)
            self.places = nn.Embedding(shape.context, shape.width)
            self.blocks = nn.ModuleList(Block() for _ in range(shape.layers))
            self.norm = nn.LayerNorm(shape.width)

        def forward(self, ids: Any) -> Any:
            x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
            for block in self.blocks:
                x = block(x)
            return nn.functional.linear(self.norm(x), self.tokens.weight)

    return Plain()
