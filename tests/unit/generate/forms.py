"""Forms for answers: ordinary JSON schemas as people write them, and hostile ones of every kind."""

from __future__ import annotations

import json
import random
from typing import Any

from tutelage.decoding import Guided

NAMES = ("name", "age", "city", "tags", "score", "active", "items", "kind", "note", "id")


def schema(drawn: random.Random, depth: int = 2) -> dict[str, Any]:
    """A schema of an object with two to four properties, nested at most `depth` deep."""
    names = drawn.sample(NAMES, drawn.randrange(2, 5))
    properties = {name: _value(drawn, depth - 1) for name in names}
    required = [name for name in names if drawn.random() < 0.8]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _value(drawn: random.Random, depth: int) -> dict[str, Any]:
    kinds: list[dict[str, Any]] = [
        {"type": "string", "maxLength": drawn.randrange(1, 12)},
        {"type": "string", "enum": ["red", "green", "blue"][: drawn.randrange(1, 4)]},
        {"type": "string", "pattern": "^[a-z]{1,5}$"},
        {"type": "string", "format": "date"},
        {"type": "integer", "minimum": 0, "maximum": drawn.randrange(1, 150)},
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "boolean"},
        {"type": ["string", "null"], "maxLength": 5},
        {"const": "fixed"},
        {"anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 0, "maximum": 9}]},
    ]
    if depth > 0:
        kinds.append(schema(drawn, depth))
        item = _value(drawn, depth - 1)
        kinds.append({"type": "array", "items": item, "minItems": 1, "maxItems": 3})
    return drawn.choice(kinds)


def fulfils(value: Any, form: dict[str, Any]) -> bool:
    """Whether a value is what `schema` asks for: the few words that it uses, each read plainly."""
    if "anyOf" in form:
        return any(fulfils(value, one) for one in form["anyOf"])
    if "const" in form or "enum" in form:
        return value in form.get("enum", [form.get("const")])
    kinds = form["type"] if isinstance(form["type"], list) else [form["type"]]
    return any(_is(value, kind, form) for kind in kinds)


def _is(value: Any, kind: str, form: dict[str, Any]) -> bool:
    if kind == "object":
        known = form["properties"]
        return (
            isinstance(value, dict)
            and set(form["required"]) <= set(value) <= set(known)
            and all(fulfils(one, known[name]) for name, one in value.items())
        )
    if kind == "array":
        right = isinstance(value, list) and form["minItems"] <= len(value) <= form["maxItems"]
        return right and all(fulfils(one, form["items"]) for one in value)
    if kind in ("integer", "number"):
        right = isinstance(value, int if kind == "integer" else int | float)
        return right and form["minimum"] <= value <= form["maximum"] and value is not True
    if kind == "string":
        return isinstance(value, str) and len(value) <= form.get("maxLength", 99)
    return value is None if kind == "null" else isinstance(value, bool)


def hostile(count: int) -> list[Guided]:
    """Forms made to take long, to grow or to break a reader; the first are the worst of a kind."""
    forms: list[Guided] = []
    for size in range(1, 1 + -(-count // 10)):
        big, huge = 50 * size, 4000 * size
        deep: dict[str, Any] = {"type": "string"}
        for _ in range(min(big, 400)):
            deep = {"type": "object", "properties": {"a": deep}, "required": ["a"]}
        wide = {f"key{i}": {"type": "string", "pattern": "^(a|b)*c$"} for i in range(big)}
        forms += [
            Guided("regex", f"(a?){{{huge}}}a{{{huge}}}"),
            Guided("regex", "(" * big + "a" + ")*" * big),
            Guided("regex", f"(.*a){{{big}}}"),
            Guided("regex", "(x+x+)+y" * big),
            Guided("json_schema", json.dumps(deep)),
            Guided("json_schema", json.dumps({"type": "object", "properties": wide})),
            Guided("json_schema", json.dumps({"$ref": "#"})),
            Guided("json_schema", json.dumps({"type": "array", "minItems": huge * 1000})),
            Guided(
                "grammar", "start: a\n" + "\n".join(f"a{i}: a{i + 1} a{i + 1}" for i in range(big))
            ),
            Guided("grammar", 'start: start start | start | "a"' + ' | "a"' * big),
        ]
    return forms[:count]
