"""An evaluation as a file that people keep and `compare` reads: numbers, and every item."""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.run import Evaluation


def as_file(evaluation: Evaluation, model: str, task: str, shots: int) -> dict[str, Any]:
    """The contract's `eval` object, its items in full."""
    items = [
        {
            "id": item.id,
            "source": item.source,
            "prompt": item.prompt
            if isinstance(item.prompt, str)
            else [{"role": turn.role, "content": turn.content} for turn in item.prompt],
            "reference": item.reference,
            "answer": answer.text,
            "finish_reason": answer.finish_reason,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "statistics": {
                name: rows[place].tolist() for name, rows in evaluation.statistics.items()
            },
        }
        for place, (item, answer) in enumerate(
            zip(evaluation.items, evaluation.answers, strict=True)
        )
    ]
    return {
        "task": task,
        "model": model,
        "shots": shots,
        "metrics": dict(evaluation.measured),
        "n": len(items),
        "truncated": evaluation.truncated,
        "refused": evaluation.refused,
        "cut_off": evaluation.cut_off,
        "extraction_rate": evaluation.extraction_rate,
        "valid": evaluation.valid,
        "collapse": None if (one := evaluation.collapse) is None else one.as_json(),
        "seconds": evaluation.seconds,
        "prompt_sha256": evaluation.prompt_sha256,
        "items": items,
    }
