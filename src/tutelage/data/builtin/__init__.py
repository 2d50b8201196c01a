"""Data sets made from the running Python, so that a fresh machine has real rows: one file each.

An entry is a function without arguments that returns `Built`: records as a file would hold them,
so that templates apply to their fields as well.
"""

from __future__ import annotations

from tutelage.registry import Registry

BUILTIN = Registry(
    "tutelage.data.builtin", "built-in data set", "build", parts=("standard_library",)
)
