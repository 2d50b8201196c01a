"""builtin:stdlib-source: the standard library's source, one row a module."""

from __future__ import annotations

from tutelage.data.builtin.standard_library import Built, modules, pretraining_note


def build() -> Built:
    records = [
        {"id": module.name, "source": module.name, "text": module.text}
        for module in modules()
        if module.text.strip()
    ]
    return Built(records, (pretraining_note("the standard library's source files"),))
