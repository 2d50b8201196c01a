"""Published models: parameters and tokens they were trained on, as their papers say.

Order, ratios and 'over- or under-trained' follow from these two numbers and a law of `scaling.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tutelage.plan.scaling import law, scaled


@dataclass(frozen=True)
class Known:
    """A model as published; `tokens` None where counts compare nothing (masked words, pairs)."""

    name: str
    params: float
    tokens: float | None
    source: str


KNOWN = (
    Known("PaLM 540B", 540.35e9, 780e9, "arXiv:2204.02311"),
    Known("Llama 3.1 405B", 405e9, 15.6e12, "arXiv:2407.21783"),
    Known("Gopher 280B", 280e9, 300e9, "arXiv:2112.11446"),
    Known("BLOOM 176B", 176.25e9, 366e9, "arXiv:2211.05100"),
    Known("GPT-3 175B", 174.6e9, 300e9, "arXiv:2005.14165, table D.1"),
    Known("OPT 175B", 175e9, 180e9, "arXiv:2205.01068, the size of its corpus"),
    Known("Chinchilla 70B", 70e9, 1.4e12, "arXiv:2203.15556"),
    Known("LLaMA 65B", 65.2e9, 1.4e12, "arXiv:2302.13971"),
    Known("FLAN-T5 11B", 11.3e9, None, "arXiv:2210.11416"),
    Known("LLaMA 7B", 6.7e9, 1.0e12, "arXiv:2302.13971"),
    Known("SmolLM2 135M", 134.5e6, 2e12, "arXiv:2502.02737"),
    Known("BERT large 0.34B", 0.335e9, None, "arXiv:1810.04805"),
)

NEAR = 2.0
"""Within this factor of a law's tokens a model counts as trained as the law says."""


def judged(name: str) -> list[Mapping[str, Any]]:
    """Every known model, largest first, beside what a law would have trained it on."""
    law(name)
    rows: list[Mapping[str, Any]] = []
    for one in sorted(KNOWN, key=lambda known: -known.params):
        wanted = scaled(name, one.params, None, None).tokens
        row: dict[str, Any] = {
            "model": one.name, "params": one.params, "tokens": one.tokens, "wanted": wanted,
            "ratio": None, "verdict": "not comparable", "source": one.source,
        }  # fmt: skip
        if one.tokens is not None:
            row["ratio"] = one.tokens / one.params
            share = one.tokens / wanted
            row["verdict"] = (
                "under-trained" if share < 1 / NEAR
                else "over-trained" if share > NEAR else "as the law says"
            )  # fmt: skip
        rows.append(row)
    return rows
