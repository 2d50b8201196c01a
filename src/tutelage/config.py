"""The one way a schema is written and read: pydantic, frozen, unknown keys forbidden.

Every schema stands beside the thing it configures and derives from `Frozen`. A wrong file or flag
raises ConfigError naming the key, what was got, what is expected, and the nearest known key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from tutelage.errors import ConfigError, did_you_mean


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
        return ConfigError(f"missing key {key!r}", field=field, expected=first["msg"])
    message = first["msg"].removeprefix("Value error, ")
    return ConfigError(f"{key}: {message}", field=field, got=repr(first["input"]), expected=message)


def _keys_at(schema: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys a schema knows at a path, following nested models and optional ones."""
    current: Any = schema
    for part in path:
        fields = getattr(current, "model_fields", {})
        if part not in fields:
            continue
        annotation = fields[part].annotation
        models = [a for a in (annotation, *get_args(annotation)) if hasattr(a, "model_fields")]
        if not models:
            return []
        current = models[0]
    return list(getattr(current, "model_fields", {}))
