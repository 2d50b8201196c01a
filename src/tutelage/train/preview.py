"""What a model will really be taught, row by row: what it reads, each token it learns, the end.

Made from the ids that training reads, not from the rows they came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tutelage.checkpoints.headed import Task
from tutelage.checkpoints.reading import Virtual
from tutelage.data.pack import Example
from tutelage.heads import HEADS
from tutelage.heads._head import Head
from tutelage.text.tokenizer import Tokenizer

ROWS = 3


@dataclass(frozen=True)
class Preview:
    """One row as tokens' texts; `end` is None where the last token learned is no end token."""

    name: str
    prompt: str
    prompt_tokens: int
    learned: tuple[str, ...]
    end: str | None


def previews(
    examples: Sequence[Example], tokenizer: Tokenizer, virtual: Virtual, task: Task | None = None
) -> list[Preview]:
    """The first row, the shortest and the longest; fewer where there are fewer. `virtual` tokens
    before every row are no part of what is shown. With a task's head what it learns of each."""
    by_length = sorted(examples, key=lambda example: example.inputs)
    chosen = [examples[0], by_length[0], by_length[-1]]
    different = {id(example): example for example in chosen}
    for example in examples:
        if len(different) >= min(ROWS, len(examples)):
            break
        different.setdefault(id(example), example)
    if task is not None:
        return [_taught(example, tokenizer, virtual, task) for example in different.values()]
    return [_preview(example, tokenizer, virtual) for example in different.values()]


def _taught(example: Example, tokenizer: Tokenizer, virtual: Virtual, task: Task) -> Preview:
    head: Head = HEADS.get(task.head)
    read = [
        id
        for row in (example, *example.beside)
        for id in row.memory or row.ids
        if id not in virtual.ids
    ]
    spell = partial(_spelled, tokenizer=tokenizer)
    learned = head.told(example, task.labels, spell)
    return Preview(example.name, "".join(map(spell, read)), len(read), learned, None)


def _preview(example: Example, tokenizer: Tokenizer, virtual: Virtual) -> Preview:
    read = [
        id for id in example.memory or example.ids[: example.at[0] + 1] if id not in virtual.ids
    ]
    learned, end = list(map(int, example.labels)), None
    if learned[-1] in tokenizer.eos_ids:
        end = _spelled(learned.pop(), tokenizer)
    prompt = "".join(_spelled(one, tokenizer) for one in read)
    return Preview(
        example.name, prompt, len(read), tuple(_spelled(one, tokenizer) for one in learned), end
    )


def _spelled(token: int, tokenizer: Tokenizer) -> str:
    """A token's own text; of a control token, or of part of a character, how the vocabulary spells
    it."""
    text = tokenizer.decode([token])
    return text if text and "\ufffd" not in text else tokenizer.token(token) or "?"
