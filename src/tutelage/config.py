"""The one way a schema is written and read: pydantic, frozen, unknown keys forbidden.

Every schema stands beside the thing it configures and derives from `Frozen`. A wrong file or flag
raises ConfigError naming the key, what was got, what is expected, and the nearest known key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from tutelage.errors import ConfigError, did_you_mean

PLAIN: Mapping[Any, str] = {
    str: "a text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path",
}  # fmt: skip
"""What values are called, for people who write them."""


class Frozen(BaseModel):
    """Base of all schemas: immutable, strict about keys, attribute docstrings as descriptions."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=()
    )


Schema = TypeVar("Schema", bound=BaseModel)


def validate(schema: type[Schema], values: Mapping[str, Any], where: str = "") -> Schema:
    """Build `schema` from plain values. Raises ConfigError at the first fault."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise _explain(schema, error, where) from None


def load_toml(schema: type[Schema], path: Path) -> Schema:
    """Read one TOML file into `schema`. Raises ConfigError naming file and key."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"no such file: {path}", field=str(path), expected="a TOML file"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"cannot read {path}: {error}", field=str(path), expected="a TOML file"
        ) from None
    return validate(schema, values, where=str(path))


def _explain(schema: type[BaseModel], error: ValidationError, where: str) -> ConfigError:
    # A mistyped key explains a missing one, not the other way round.
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"])
    field = f"{where}: {key}" if where else key
    if first["type"] == "extra_forbidden":
        known = _keys_at(schema, first["loc"][:-1])
        return ConfigError(
            f"unknown key {key!r}",
            field=field,
            got=first["loc"][-1],
            expected="one of " + ", ".join(sorted(known)) if known else None,
            hint=did_you_mean(str(first["loc"][-1]), known),
        )
    if first["type"] == "missing":
        missing = _field_at(schema, first["loc"])
        return ConfigError(
            f"missing key {key!r}",
            field=field,
            got="nothing",
            expected="a value" if missing is None else kind_of(missing.annotation),
            hint=None if missing is None else missing.description,
        )
    message = first["msg"].removeprefix("Value error, ")
    return ConfigError(f"{key}: {message}", field=field, got=repr(first["input"]), expected=message)


def kind_of(annotation: Any) -> str:
    """What a value of this type is called in a file."""
    if annotation in PLAIN:
        return PLAIN[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind_of(inner[0])
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin in (Union, UnionType):
        return " or ".join(kind_of(one) for one in inner if one is not NoneType)
    if hasattr(annotation, "model_fields"):
        needed = [name for name, field in annotation.model_fields.items() if field.is_required()]
        return "a table" + (f" with {', '.join(needed)}" if needed else "")
    if origin in (tuple, list, Sequence):
        return "a list"
    return "a table" if origin in (dict, Mapping) else "a value"


def _field_at(schema: type[BaseModel], path: tuple[str | int, ...]) -> FieldInfo | None:
    """The field at a path, where tables alone lead to it."""
    parent = _model_at(schema, path[:-1])
    return None if parent is None else parent.model_fields.get(str(path[-1]))


def _keys_at(schema: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys a schema knows at a path."""
    return list(getattr(_model_at(schema, path), "model_fields", {}))


def _model_at(schema: type[BaseModel], path: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The schema at a path, following nested models, optional ones, and those of lists and tables
    of them."""
    current: Any = schema
    for part in path:
        fields = getattr(current, "model_fields", {})
        if part not in fields:
            continue
        annotation = fields[part].annotation
        models = [a for a in (annotation, *get_args(annotation)) if hasattr(a, "model_fields")]
        if not models:
            return None
        current = models[0]
    return current if hasattr(current, "model_fields") else None
