"""The lifecycle's cheat sheet: what each way of getting a better model takes, in general and here.

Duration, customization, objective and expertise are the rows of the table that courses show; the
numbers beside them are for one model and one set of rows, from the other files of this folder:
FLOPs are 6 N a trained token (2 N read, and 2 N for gradients of what follows where nothing below
is trained: 4 N for adapters), bytes those of `memory.py`'s rule of 16 a trained parameter.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tutelage.plan.scaling import TOKENS_A_PARAMETER


@dataclass(frozen=True)
class Way:
    """One row of the sheet, as it is taught."""

    name: str
    duration: str
    customization: str
    objective: str
    expertise: str


WAYS = (
    Way(
        "pretraining", "days to months", "architecture, size, tokenizer, context, data",
        "predict the next token", "high",
    ),
    Way("prompting", "none", "no weights change; prompt and examples", "better answers", "low"),
    Way(
        "tuning (LoRA)", "minutes to hours", "adapters beside frozen weights; task or domain",
        "better answers on a task", "medium",
    ),
    Way(
        "tuning (full)", "hours to days", "all weights; task or domain",
        "better answers on a task", "medium",
    ),
    Way(
        "alignment", "minutes to days, and collecting preferences", "a reward model, or pairs",
        "answers as people want them", "medium to high",
    ),
    Way(
        "compression", "minutes to hours", "quantization, pruning, distillation",
        "a smaller model, quicker answers", "medium",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A model of `params` weights, `adapter` of them trained by LoRA, and `tokens` to train on."""

    params: float
    adapter: float
    tokens: float
    epochs: int = 1


def sheet(case: Case) -> list[dict[str, Any]]:
    """The sheet with `trained_parameters`, `flops`, `bytes` and formula, a row a way."""
    n, seen = case.params, case.tokens * case.epochs
    corpus = TOKENS_A_PARAMETER * n
    numbers: dict[str, tuple[float, float, float, str]] = {
        "pretraining": (n, 6 * n * corpus, 16 * n, f"6 N D, D = 20 N = {corpus:g} tokens; 16 N"),
        "prompting": (0, 0, 2 * n, "nothing is trained; 2 N to hold it"),
        "tuning (LoRA)": (
            case.adapter, 4 * n * seen, 2 * n + 16 * case.adapter,
            f"4 N D, D = {seen:g} tokens; 2 N + 16 x {case.adapter:g}",
        ),
        "tuning (full)": (n, 6 * n * seen, 16 * n, f"6 N D, D = {seen:g} tokens; 16 N"),
        "alignment": (
            n, 8 * n * seen, 18 * n,
            "pairs (DPO): 6 N D, and 2 N D of the reference; 16 N + 2 N",
        ),
        "compression": (0, 2 * n * min(seen, 1e6), 0.5 * n, "2 N a token of calibration; 4 bits"),
    }  # fmt: skip
    keys = ("trained_parameters", "flops", "bytes", "formula")
    return [asdict(way) | dict(zip(keys, numbers[way.name], strict=True)) for way in WAYS]
