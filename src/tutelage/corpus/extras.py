"""Libraries that an extra installs: imported where needed, asked for by name where absent."""

from __future__ import annotations

import importlib
from typing import Any

from tutelage.errors import ConfigError


def needed(module: str, extra: str, what: str) -> Any:
    """The module. Raises ConfigError that says what to install and what for."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConfigError(
            f"{what} needs {module.partition('.')[0]}, which is not installed",
            field=what,
            hint=f"pip install 'tutelage[{extra}]'",
        ) from None
