"""builtin:stdlib-docstrings: a function without its docstring -> the docstring's first line.

The docstring is cut out at its exact position, so that everything else of the source stands as it
was written, comments too; only the indentation common to the whole function is taken off. A row's
source is its module. What is left out and why stands in the notes, with counts.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tutelage.data.builtin.standard_library import Built, Module, modules, pretraining_note
from tutelage.data.near_duplicates import first_likes, plain

INSTRUCTION = "Write the one-line docstring of this Python function."
MOST_LINES = 60
MOST_CHARACTERS = 1400
FEWEST_WORDS, MOST_WORDS = 3, 25
WORDS_TO_STAND_VERBATIM = 5

Function = ast.FunctionDef | ast.AsyncFunctionDef
_TRIVIAL = re.compile(
    r"deprecated|obsolete|internal|private|undocumented|see |same as |like |alias |xxx|todo|fixme"
    r"|this (method|function) (is|was) (deprecated|obsolete)|not implemented",
    re.IGNORECASE,
)
_NO_PROSE = re.compile(r"->|>>>|::|^\W|\w\(.*\)\s*$|^\w+\([^)]*\)\s*[-:=]")


@dataclass(frozen=True)
class Documented:
    """A function's source without its docstring, and the docstring's first line."""

    name: str
    module: str
    code: str
    summary: str


def build() -> Built:
    left_out: Counter[str] = Counter()
    found: dict[str, Documented] = {}
    for module in modules():
        for name, function in _functions(module):
            candidate = _documented(name, function, module)
            why = "not reducible to source and line" if candidate is None else fault(candidate)
            if candidate is not None and why is None and candidate.name not in found:
                found[candidate.name] = candidate
            else:
                left_out[why or "defined twice"] += 1
    kept = _without_near_duplicates(list(found.values()), left_out)
    return Built([_record(one) for one in kept], _notes(len(kept), left_out))


def fault(candidate: Documented) -> str | None:
    """Why a function makes no good row, or None."""
    summary, code = candidate.summary, candidate.code
    if not FEWEST_WORDS <= len(summary.split()) <= MOST_WORDS:
        return f"summary not of {FEWEST_WORDS} to {MOST_WORDS} words"
    if not (_printable(summary) and _printable(code)):
        return "not printable ASCII"
    if _TRIVIAL.match(summary) or _NO_PROSE.search(summary):
        return "summary that describes nothing"
    if code.count("\n") + 1 > MOST_LINES or len(code) > MOST_CHARACTERS:
        return f"more than {MOST_LINES} lines or {MOST_CHARACTERS} characters"
    if stands_verbatim(summary, code):
        return "summary stands in the source"
    return None


def stands_verbatim(summary: str, code: str) -> bool:
    """Whether a summary of five words or more stands in the source, case and punctuation aside."""
    target = plain(summary)
    if target.count(" ") + 1 < WORDS_TO_STAND_VERBATIM:
        return False
    return f" {target} " in f" {plain(code)} "


def without_docstring(function: Function, lines: list[str]) -> str | None:
    """The function's source with the docstring cut out, dedented; None where that is not clean.

    `lines` are the module's; positions of `ast` count UTF-8 bytes, so only ASCII lines are cut.
    """
    first = min([function.lineno, *(d.lineno for d in function.decorator_list)])
    last = function.end_lineno or function.lineno
    docstring = function.body[0]
    start, end = docstring.lineno, docstring.end_lineno or docstring.lineno
    before = lines[start - 1].encode()[: docstring.col_offset]
    after = lines[end - 1].encode()[docstring.end_col_offset :].decode(errors="replace").strip()
    if before.strip() or (after and not after.startswith("#")):
        return None
    comment = [before.decode() + after] if after else []
    rest = [*lines[first - 1 : start - 1], *comment, *lines[end:last]]
    indent = " " * function.col_offset
    if lines[first - 1][: function.col_offset] != indent:
        return None
    return "\n".join(line.removeprefix(indent) for line in rest).rstrip()


def _functions(module: Module) -> Iterator[tuple[str, Function]]:
    """Functions and methods with docstrings, by qualified name; none inside functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # escapes that a later Python will refuse
        tree = ast.parse(module.text)

    def walk(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Function]]:
        for node in body:
            if isinstance(node, Function):
                if ast.get_docstring(node, clean=False):
                    yield f"{prefix}.{node.name}", node
            elif isinstance(node, ast.ClassDef):
                yield from walk(node.body, f"{prefix}.{node.name}")
            elif isinstance(node, ast.If | ast.Try):
                yield from walk([*node.body, *node.orelse], prefix)

    yield from walk(tree.body, module.name)


def _documented(name: str, function: Function, module: Module) -> Documented | None:
    """None where nothing remains of the body, or the first line is not a whole sentence."""
    if not any(_works(statement) for statement in function.body[1:]):
        return None
    first, *more = (ast.get_docstring(function) or "").strip().split("\n")
    if more and more[0].strip() and not first.rstrip().endswith((".", "!", "?")):
        return None
    code = without_docstring(function, module.text.split("\n"))
    return None if code is None else Documented(name, module.name, code, first.strip())


def _works(statement: ast.stmt) -> bool:
    """Whether a statement does something that a docstring could describe."""
    if isinstance(statement, ast.Pass | ast.Import | ast.ImportFrom):
        return False
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return False
    return not (isinstance(statement, ast.Raise) and "NotImplemented" in ast.unparse(statement))


def _without_near_duplicates(found: list[Documented], left_out: Counter[str]) -> list[Documented]:
    """Without those whose source or whose summary nearly repeats an earlier one's."""
    kept = found
    for what in ("code", "summary"):
        likes = first_likes([getattr(one, what) for one in kept])
        left_out[f"{what} nearly the same as another's"] += sum(x is not None for x in likes)
        kept = [one for one, like in zip(kept, likes, strict=True) if like is None]
    return kept


def _record(one: Documented) -> dict[str, Any]:
    return {
        "id": one.name,
        "source": one.module,
        "prompt": f"{INSTRUCTION}\n\n```python\n{one.code}\n```",
        "completion": one.summary,
        "code": one.code,
        "name": one.name,
    }


def _notes(kept: int, left_out: Counter[str]) -> tuple[str, ...]:
    counts = "; ".join(f"{count} {why}" for why, count in left_out.most_common() if count)
    total = kept + left_out.total()
    return (
        pretraining_note("functions of the standard library"),
        f"Of {total} functions with a docstring {kept} became rows; left out: {counts}.",
    )


def _printable(text: str) -> bool:
    return text.isascii() and text.replace("\n", "").isprintable()
