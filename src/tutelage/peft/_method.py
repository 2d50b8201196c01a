"""What a way of tuning must offer: one METHOD in one file of this folder, and nothing elsewhere.

`lora.py` is an adapter that merges, `full.py` no adapter at all. Nobody tests a method's name: what
others ask is here, as facts (`adapter`, `theirs`) or as functions. A METHOD is plain data and
arithmetic of shapes; its `Actions`, which need PyTorch, stand in `actions/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.config import Frozen, validate
from tutelage.errors import ConfigError, did_you_mean
from tutelage.models.spec import Shape, Weight
from tutelage.nn.form import Form
from tutelage.peft._pace import Pace
from tutelage.plan.memory import Tuning

_FLAGS = {"roles": "--role", "layers": "--layer"}
"""Flags that are given several times, once for each of many."""


def _none_virtual(settings: Any) -> int:
    return 0


def _without_words(settings: Any, encode: Callable[[str], list[int]]) -> Any:
    return settings


def _wide(settings: Any) -> Form | None:
    return None


def _none_own(settings: Any, weights: Sequence[Weight]) -> list[Weight]:
    return []


def _alike(settings: Any, weights: Sequence[Weight]) -> dict[str, Pace]:
    return {}


@dataclass(frozen=True)
class Actions:
    """What a method does to a model.

    `attach` makes exactly its parameters trainable, as float32, deterministically in the seed;
    `write` puts what was trained into a folder. Of adapters, `read` puts such a folder on a frozen
    model of the base (SourceError, DamagedError); `merge` folds what is attached into the weights,
    None where that cannot be; `detach` gives the model back bit for bit as it was.
    """

    attach: Callable[[Any, Sequence[Weight], Any, int], None]
    write: Callable[[Any, Any, Any, Path], None]
    read: Callable[[Any, Any, Path], None] | None = None
    merge: Callable[[Any], None] | None = None
    detach: Callable[[Any], None] | None = None


@dataclass(frozen=True)
class Method:
    """One way of tuning. The functions are given the method's own `settings`, resolved.

    `resolve` fills in defaults and refuses what does not fit the model (ConfigError, UnknownName);
    `count` is the number of trained parameters, from the layout alone, and `cost` what memory and
    time follow from. A plan asks no more; `actions` are what is done to a model, importing PyTorch
    only then.
    """

    name: str
    settings: type[Frozen]
    learning_rate: float
    """The peak of the schedule, if the user names none."""
    resolve: Callable[[Any, Sequence[Weight], Shape], Any]
    count: Callable[[Sequence[Weight], Any], int]
    cost: Callable[[Sequence[Weight], Any], Tuning]
    actions: Callable[[], Actions]
    peft_type: str | None = None
    """The kind that the adapter's configuration names; None writes a whole model instead."""
    theirs: bool = True
    """Whether what is written opens in the field's own libraries; else the layout is ours."""
    virtual: Callable[[Any], int] = _none_virtual
    """How many virtual tokens stand before every row, by the settings."""
    deep: bool = False
    """Whether these are keys and values, which an encoder-decoder has in its decoder; else they are
    vectors, before what its encoder reads."""
    worded: Callable[[Any, Callable[[str], list[int]]], Any] = _without_words
    """The settings with the tokens of any text in them, by the model's tokenizer."""
    labels_rate: float | None = None
    """The peak instead, where a task's head is trained; None for the same."""
    form: Callable[[Any], Form | None] = _wide
    """In which few bits the base is held that is attached to, if it is."""
    own: Callable[[Any, Sequence[Weight]], list[Weight]] = _none_own
    """Those of the model's own weights that are trained, by the settings."""
    on_a_line: tuple[str, ...] = ()
    """Endings of the names of those parameters in which the change of the weights is linear where
    the others stay as they are: all of a method that trains the weights, B of B A. None where what
    is trained is no change of weights."""
    paces: Callable[[Any, Sequence[Weight]], dict[str, Pace]] = _alike
    """The pace of each trained parameter by its path; of one that is not there the usual."""

    def rate(self, headed: bool) -> float:
        """The peak of the schedule that is taken where the user names none."""
        return self.labels_rate or self.learning_rate if headed else self.learning_rate

    @property
    def adapter(self) -> bool:
        """Whether what is written needs its base."""
        return self.peft_type is not None

    @property
    def attach(self) -> Callable[[Any, Sequence[Weight], Any, int], None]:
        return self.actions().attach

    @property
    def write(self) -> Callable[[Any, Any, Any, Path], None]:
        return self.actions().write

    @property
    def read(self) -> Callable[[Any, Any, Path], None] | None:
        return self.actions().read

    @property
    def merge(self) -> Callable[[Any], None] | None:
        return self.actions().merge

    @property
    def detach(self) -> Callable[[Any], None] | None:
        return self.actions().detach


def flag(setting: str) -> str:
    """The flag of the command line for a setting."""
    return _FLAGS.get(setting, "--" + setting.replace("_", "-"))


def settings_of(method: Method, given: Mapping[str, Any]) -> Any:
    """The method's settings from plain values. Raises ConfigError naming the flag of the first that
    the method does not know or that is no value."""
    known = list(method.settings.model_fields)
    for name, value in given.items():
        if name not in known:
            raise ConfigError(
                f"{method.name} has no {flag(name)}",
                field=flag(name),
                got=value,
                expected="one of " + ", ".join(map(flag, known)) if known else "no such flag",
                hint=did_you_mean(name, known),
            )
    try:
        return validate(method.settings, given)
    except ConfigError as error:
        name = (error.field or "").partition(".")[0]
        raise ConfigError(
            error.message, field=flag(name), got=error.got, expected=error.expected
        ) from None
