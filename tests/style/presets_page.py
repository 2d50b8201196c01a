"""The tables of docs/architectures.md, computed from the presets: `scripts/presets` writes them.

A table stands between `<!-- presets: FAMILY -->` and `<!-- end -->`; what is around it is prose.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator

from tests.style.sources import ROOT
from tutelage.models.catalogue import ARCHITECTURES
from tutelage.models.spec import Spec
from tutelage.plan.parameters import total

PAGE = ROOT / "docs" / "architectures.md"
TABLE = re.compile(r"(<!-- presets: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
COLUMNS = ("preset", "class", "layers", "width", "heads", "context", "parameters")
HEAD = "| " + " | ".join(COLUMNS) + " |\n|---|---|--:|--:|--:|--:|--:|\n"


def current() -> str:
    return PAGE.read_text(encoding="utf-8")


def rewritten(page: str) -> str:
    """The page with its tables made anew."""
    return TABLE.sub(lambda found: f"{found[1]}{tables(found[2])}{found[3]}", page)


def families(page: str) -> list[str]:
    return [found[2] for found in TABLE.finditer(page)]


def tables(family: str) -> str:
    """What each architecture of a family is, in its own file's words, and its presets."""
    specs = [ARCHITECTURES.get(name) for name in ARCHITECTURES.names()]
    chosen = [spec for spec in specs if spec.family == family]
    lines = "".join(f"- `{_file(spec)}.py`. {_summary(spec)}\n" for spec in chosen)
    rows = "".join(row for spec in chosen for row in _rows(spec))
    return f"{lines}\n{HEAD}{rows}"


def _file(spec: Spec) -> str:
    return spec.name.replace("-", "_")


def _summary(spec: Spec) -> str:
    """The first line of the file's docstring."""
    text = importlib.import_module(f"tutelage.models.architectures.{_file(spec)}").__doc__ or ""
    return " ".join(text.partition("\n\n")[0].split())


def _rows(spec: Spec) -> Iterator[str]:
    for name, given in spec.presets.items():
        config = spec.read(given)
        shape = spec.shape(config)
        layers = (
            f"{shape.encoder_layers} + {shape.layers}" if shape.encoder_layers else shape.layers
        )
        heads = shape.heads
        if shape.kv_heads not in (0, heads):
            heads = f"{heads} / {shape.kv_heads}"
        context = "none" if shape.context is None else f"{shape.context:,}"
        cells = [
            f"`{name}`", given["architectures"][0], layers, f"{shape.width:,}", heads, context,
            f"{total(spec.layout(config)):,}",
        ]  # fmt: skip
        yield "| " + " | ".join(map(str, cells)) + " |\n"


if __name__ == "__main__":
    PAGE.write_text(rewritten(current()), encoding="utf-8")
