"""Chain of thought: asking for the steps before the answer, and finding the answer behind them.

Wei et al. 2022, arXiv:2201.11903; without examples of steps, Kojima et al. 2022, arXiv:2205.11916.
Knows text and messages alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from tutelage.lm import Message
from tutelage.prompts.few_shot import Example

INSTRUCTION = 'Think step by step, then end with "The answer is" and the answer alone.'
_MARK = re.compile(r"(?:answer\s+is|answer\s*:|####)\s*:?\s*", re.IGNORECASE)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACES = {"{": 1, "}": -1}


def step_by_step(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The question with the instruction after its last turn."""
    *before, last = messages
    return (*before, Message(last.role, f"{last.content}\n\n{INSTRUCTION}"))


def solved(example: Example, steps: str = "") -> Example:
    """An example as the question will be put: asked for steps too, and its answer, behind them
    where they are known, named as the instruction says."""
    told = steps.strip() or example.completion.strip()
    if final_answer(told) is None:
        told = f"{steps.strip()}\nThe answer is {example.completion.strip()}.".strip()
    return replace(example, messages=step_by_step(example.messages), completion=told)


def boxed(text: str) -> str | None:
    """What stands in the last \\boxed{}, braces within it balanced; None without a whole one."""
    for found in reversed(list(_BOX.finditer(text))):
        depth = 1
        for place in range(found.end(), len(text)):
            depth += _BRACES.get(text[place], 0)
            if depth == 0:
                return text[found.end() : place].strip() or None
    return None


def final_answer(text: str) -> str | None:
    """What stands behind the last 'the answer is', 'Answer:', '####' or in the last \\boxed{}, to
    the end of its line, without what closes the sentence. None where the text names no answer."""
    marks = list(_MARK.finditer(text))
    if not marks:
        return boxed(text)
    rest = text[marks[-1].end() :].strip().partition("\n")[0]
    return rest.strip().strip("*").rstrip(".").strip() or None
