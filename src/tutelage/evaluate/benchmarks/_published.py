"""Scores that models' authors publish, with the setting they hold for.

Numbers of different settings are not comparable, which is why the setting stands beside each.
"""

from __future__ import annotations

from typing import Any

GEMINI = "Gemini report, arXiv:2312.11805, table 2"
SMOLLM2 = "SmolLM2's model card, by lighteval"
LLAMA2 = "Touvron et al. 2023, arXiv:2307.09288"
SCORES: tuple[tuple[str, str, float, str, str], ...] = (
    ("mmlu", "GPT-4", 0.864, "5-shot", GEMINI),
    ("mmlu", "Gemini Ultra", 0.900, "CoT@32", GEMINI),
    ("mmlu", "Gemini Ultra", 0.837, "5-shot", GEMINI),
    ("mmlu", "Chinchilla 70B", 0.676, "5-shot", "Hoffmann et al. 2022, arXiv:2203.15556"),
    ("mmlu", "Llama 2 7B", 0.453, "5-shot", LLAMA2),
    ("mmlu", "GPT-3 175B", 0.439, "5-shot", "Hendrycks et al. 2021, arXiv:2009.03300"),
    ("mmlu", "SmolLM2 135M", 0.315, "choices' texts, not letters", SMOLLM2),
    ("gsm8k", "GPT-4", 0.920, "5-shot CoT, tuned on such tasks", GEMINI),
    ("gsm8k", "Gemini Ultra", 0.944, "Maj1@32", GEMINI),
    ("gsm8k", "Llama 2 7B", 0.146, "8-shot", LLAMA2),
    ("gsm8k", "SmolLM2 135M", 0.014, "5-shot", SMOLLM2),
    ("bbh", "GPT-4", 0.831, "3-shot", GEMINI),
    ("bbh", "Gemini Ultra", 0.836, "3-shot", GEMINI),
    ("openbookqa", "SmolLM2 135M", 0.346, "0-shot, per character", SMOLLM2),
    ("winogrande", "SmolLM2 135M", 0.513, "0-shot", SMOLLM2),
)
"""Task, model, score, setting, source."""


def published(task: str) -> list[dict[str, Any]]:
    """What is published for a task, best first."""
    rows = sorted((row for row in SCORES if row[0] == task), key=lambda row: -row[2])
    keys = ("task", "model", "score", "setting", "source")
    return [dict(zip(keys, row, strict=True)) for row in rows]
