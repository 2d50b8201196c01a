"""How one object of a file becomes a row: the contract's shapes, and the templates for all others.

A shape is recognised by its keys, the first of SHAPES whose keys are all there; templates come
before shapes. Knows nothing of files: a `Record` says where it came from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tutelage.data import template
from tutelage.data.rows import Row, SetAside
from tutelage.lm import Message
from tutelage.text import task_text

ANSWERS = ("completion", "label")


@dataclass(frozen=True)
class Record:
    """One object as read, before anything is known about it. `id` serves where it has none."""

    where: str
    id: str
    value: Any


class Fault(Exception):
    """Why an object cannot be a row: one of `rows.REASONS`, and the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Templates:
    """Templates for prompt and completion; either alone leaves the other to the row's own key."""

    prompt: template.Template | None = None
    completion: template.Template | None = None

    @property
    def used(self) -> tuple[template.Template, ...]:
        return tuple(one for one in (self.prompt, self.completion) if one is not None)


def row_from(record: Record, templates: Templates = Templates()) -> Row | SetAside:
    """The row that a record holds, or why it holds none."""
    try:
        fields = _object(record.value)
        parts = _templated(fields, templates) if templates.used else _shaped(fields)
        return Row(
            id=_name(fields, "id") or record.id,
            where=record.where,
            source=_name(fields, "source"),
            weight=_weight(fields),
            **parts,
        )
    except Fault as fault:
        return SetAside(record.where, fault.reason, fault.detail)


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Fault("wrong-type", f"the row is {_kind(value)}, not an object")
    _check_characters(value, "")
    return value


def _check_characters(value: Any, path: str) -> None:
    """Refuse NUL and lone surrogates anywhere: tokenizers and files lose or reject them."""
    if isinstance(value, str):
        if "\0" in value:
            raise Fault("nul-or-surrogate", f"{path or 'a key'} holds a NUL character")
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise Fault("nul-or-surrogate", f"{path or 'a key'} holds half of a surrogate pair")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_characters(key, "")
            _check_characters(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for inner in value:
            _check_characters(inner, path)


def _templated(fields: Mapping[str, Any], templates: Templates) -> dict[str, Any]:
    prompt = _filled(fields, templates.prompt, ("prompt", "text"))
    completion = _filled(fields, templates.completion, ("completion", "label"))
    return _answered(prompt, completion)


def _filled(
    fields: Mapping[str, Any], one: template.Template | None, fallback: tuple[str, ...]
) -> str:
    if one is None:
        for key in fallback:
            if key in fields:
                return _answer(fields, key) if key in ANSWERS else _text(fields, key)
        raise Fault("missing-key", f"no template for it, and no {' or '.join(map(repr, fallback))}")
    try:
        return one.fill(fields)
    except template.MissingField as missing:
        raise Fault("missing-key", f"{missing.args[0]!r}, for the {one.key} template") from None
    except template.UnprintableField as wrong:
        name, kind = wrong.args
        raise Fault("wrong-type", f"{name!r} is {kind}, for the {one.key} template") from None


def _shaped(fields: Mapping[str, Any]) -> dict[str, Any]:
    present = {key for key, value in fields.items() if value is not None}
    for keys, read in SHAPES:
        if present.issuperset(keys):
            return read(fields)
    near = [keys for keys, _ in SHAPES if len(present & set(keys)) > len(keys) // 3]
    if near:
        missing = [key for key in near[0] if key not in present]
        raise Fault("missing-key", " and ".join(map(repr, missing)))
    names = ", ".join(sorted(present)) or "none"
    raise Fault("unknown-shape", f"its fields are {names}; name them in a prompt template")


def _prompt_completion(fields: Mapping[str, Any]) -> dict[str, Any]:
    return _answered(_text(fields, "prompt"), _answer(fields, "completion"))


def _answered(prompt: str, completion: str) -> dict[str, Any]:
    return {"messages": _asked(prompt), "completion": _filled_text(completion, "completion")}


def _messages(fields: Mapping[str, Any]) -> dict[str, Any]:
    turns = [_turn(item, n) for n, item in enumerate(_list(fields, "messages"))]
    if not turns or turns[-1].role != "assistant":
        last = repr(turns[-1].role) if turns else "missing"
        raise Fault("empty-completion", f"the last turn is {last}, not 'assistant'")
    weights = _weights(fields["messages"])
    *before, answer = turns
    if not any(turn.role == "user" and turn.content.strip() for turn in before):
        raise Fault("empty-prompt", "no user turn with text before the answer")
    return {
        "messages": tuple(before),
        "completion": _filled_text(answer.content, "completion"),
        **({"extra": {"turn_weights": weights}} if weights else {}),
    }


def _weights(turns: list[dict[str, Any]]) -> list[float]:
    """Of every turn where one says whether it is learned, 0 or 1; [] where none does."""
    found = [turn.get("weight", 1) for turn in turns]
    for place, weight in enumerate(found):
        if isinstance(weight, bool) or weight not in (0, 1):
            raise Fault("wrong-type", f"messages[{place}].weight is {weight!r}, not 0 or 1")
    return found if 0 in found else []


def _turn(item: Any, number: int) -> Message:
    if not isinstance(item, dict):
        raise Fault("wrong-type", f"messages[{number}] is {_kind(item)}, not an object")
    for key in ("role", "content"):
        if key not in item:
            raise Fault("missing-key", f"'messages[{number}].{key}'")
        if not isinstance(item[key], str):
            raise Fault("wrong-type", f"messages[{number}].{key} is {_kind(item[key])}, not a text")
    if item["role"] not in ("system", "user", "assistant"):
        raise Fault("wrong-type", f"messages[{number}].role is {item['role']!r}")
    if item.get("tool_calls"):
        raise Fault("wrong-type", f"messages[{number}] calls tools, which is not supported")
    return Message(item["role"], item["content"])


def _labelled(fields: Mapping[str, Any]) -> dict[str, Any]:
    label = _filled_text(_answer(fields, "label"), "completion")
    return {"messages": _asked(_text(fields, "text")), "completion": label, "label": label}


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": _filled_text(_text(fields, "text"), "text")}


def _tagged(fields: Mapping[str, Any]) -> dict[str, Any]:
    tokens, tags = _texts(fields, "tokens"), _texts(fields, "tags")
    if len(tokens) != len(tags):
        raise Fault("wrong-type", f"{len(tokens)} tokens but {len(tags)} tags")
    if not tokens:
        raise Fault("empty-text", "no tokens")
    for key, words in (("tokens", tokens), ("tags", tags)):
        if any(len(word.split()) != 1 for word in words):
            raise Fault("wrong-type", f"{key} hold one that is no single word")
    extra = {"tokens": tokens, "tags": tags}
    return {"messages": _asked(" ".join(tokens)), "completion": " ".join(tags), "extra": extra}


def _choosing(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`answer` is the place of the right one of `choices` from 0, or its words."""
    question = _filled_text(_text(fields, "prompt"), "prompt")
    choices = [_filled_text(t, "completion") for t in _texts(fields, "choices")]
    answer = fields["answer"]
    if not 2 <= len(choices) <= len(task_text.LETTERS):
        raise Fault("no-choices", f"{len(choices)} choices, 2 to {len(task_text.LETTERS)} are read")
    if answer in choices:
        answer = choices.index(answer)
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise Fault("unknown-label", f"answer {answer!r} is none of {len(choices)} choices")
    return {
        "messages": _asked(task_text.with_choices(question, choices)),
        "completion": " ".join(choices[answer].split()),
        "extra": {"prompt": question, "choices": choices, "answer": answer},
    }


def _about(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`answers` are texts of the passage with the places of their first characters, as SQuAD has
    them; none where the passage holds no answer."""
    question, context = (_filled_text(_text(fields, k), "prompt") for k in ("question", "context"))
    said = fields["answers"]
    if not isinstance(said, dict) or "text" not in said:
        raise Fault("wrong-type", f"'answers' is {_kind(said)}, not an object with 'text'")
    texts = _texts(said, "text")
    starts = said.get("answer_start")
    start = None
    if texts and starts:
        if not isinstance(starts, list) or type(starts[0]) is not int:
            raise Fault("wrong-type", "'answers.answer_start' is no list of whole numbers")
        start = starts[0]
        if start < 0 or context[start : start + len(texts[0])] != texts[0]:
            raise Fault("outside-text", f"{texts[0]!r} does not stand at character {start}")
    extra = {"question": question, "context": context, "answers": dict(said)}
    return {
        "messages": _asked(task_text.about(question, context)),
        "completion": texts[0] if texts else "",
        "extra": extra if start is None else {**extra, "start": start},
    }


def _preferred(fields: Mapping[str, Any]) -> dict[str, Any]:
    extra = {key: _filled_text(_text(fields, key), "completion") for key in ("chosen", "rejected")}
    return {"messages": _asked(_text(fields, "prompt")), "extra": extra}


def _ranked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`ranking` lists the indices of `completions` from the best to the worst."""
    completions = [_filled_text(t, "completion") for t in _texts(fields, "completions")]
    ranking = _list(fields, "ranking")
    if any(type(place) is not int for place in ranking) or sorted(ranking) != list(
        range(len(completions))
    ):
        raise Fault("wrong-type", f"ranking {ranking} does not order {len(completions)} answers")
    if len(completions) < 2:
        raise Fault("wrong-type", f"{len(completions)} completions, a ranking needs two")
    return {
        "messages": _asked(_text(fields, "prompt")),
        "extra": {"completions": completions, "ranking": ranking},
    }


SHAPES: tuple[tuple[tuple[str, ...], Callable[[Mapping[str, Any]], dict[str, Any]]], ...] = (
    (("prompt", "completion"), _prompt_completion),
    (("messages",), _messages),
    (("prompt", "chosen", "rejected"), _preferred),
    (("prompt", "completions", "ranking"), _ranked),
    (("prompt", "choices", "answer"), _choosing),
    (("question", "context", "answers"), _about),
    (("tokens", "tags"), _tagged),
    (("text", "label"), _labelled),
    (("text",), _plain),
)
"""Keys and reader of each shape, in the order in which they are tried."""


def _asked(prompt: str) -> tuple[Message, ...]:
    return (Message("user", _filled_text(prompt, "prompt")),)


def _filled_text(text: str, what: str) -> str:
    if not text.strip():
        raise Fault(f"empty-{what}", "nothing but white space" if text else "no character")
    return text


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields[key]
    if not isinstance(value, str):
        raise Fault("wrong-type", f"{key!r} is {_kind(value)}, not a text")
    return value


def _answer(fields: Mapping[str, Any], key: str) -> str:
    """Answers may be texts, numbers (which regression learns) or true and false."""
    value = fields[key]
    if not isinstance(value, str | int | float):
        raise Fault("wrong-type", f"{key!r} is {_kind(value)}, not a text or a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise Fault("wrong-type", f"{key!r} is {value}, not a finite number")
    return template.printed(value, key)


def _list(fields: Mapping[str, Any], key: str) -> list[Any]:
    value = fields[key]
    if not isinstance(value, list):
        raise Fault("wrong-type", f"{key!r} is {_kind(value)}, not a list")
    return value


def _texts(fields: Mapping[str, Any], key: str) -> list[str]:
    value = _list(fields, key)
    for number, item in enumerate(value):
        if not isinstance(item, str):
            raise Fault("wrong-type", f"{key}[{number}] is {_kind(item)}, not a text")
    return value


def _name(fields: Mapping[str, Any], key: str) -> str | None:
    """An optional id or source: a text or a whole number."""
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise Fault("wrong-type", f"{key!r} is {_kind(value)}, not a text or a whole number")
    return str(value)


def _weight(fields: Mapping[str, Any]) -> float:
    value = fields.get("weight")
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Fault("wrong-type", f"'weight' is {_kind(value)}, not a number")
    if not math.isfinite(value) or value <= 0:
        raise Fault("wrong-type", f"'weight' is {value}, not a positive number")
    return float(value)


def _kind(value: Any) -> str:
    """A value's type in the words of JSON."""
    if value == "":
        return "an empty text"
    names = {type(None): "null", bool: "a truth value", int: "a number", float: "a number"}
    names |= {str: "a text", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
