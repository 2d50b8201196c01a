"""The built-in sets, made from the standard library of the Python that runs the tests."""

from __future__ import annotations

import ast
import json
import os
import platform
import re
import subprocess
import sys
import textwrap

import pytest

from tutelage.data.builtin import BUILTIN
from tutelage.data.builtin.standard_library import modules
from tutelage.data.builtin.stdlib_docstrings import (
    INSTRUCTION,
    Documented,
    fault,
    stands_verbatim,
    without_docstring,
)
from tutelage.data.load import load
from tutelage.data.near_duplicates import first_likes
from tutelage.data.rows import Loaded, Row

FENCED = re.compile(re.escape(INSTRUCTION) + r"\n\n```python\n(.*)\n```", re.DOTALL)


def code(row: Row) -> str:
    found = FENCED.fullmatch(row.messages[0].content)
    assert found is not None
    return found.group(1)


def test_the_names_of_the_registry_are_the_files() -> None:
    assert BUILTIN.names() == ["stdlib-docs", "stdlib-docstrings", "stdlib-source"]


def test_enough_rows_of_enough_modules(docstrings: Loaded) -> None:
    assert len(docstrings.rows) >= 2000
    assert docstrings.set_aside == ()
    assert len({row.source for row in docstrings.rows}) >= 200
    assert len({row.id for row in docstrings.rows}) == len(docstrings.rows)


def test_every_prompt_is_python_without_the_docstring(docstrings: Loaded) -> None:
    for row in docstrings.rows:
        (function,) = ast.parse(code(row)).body
        assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        assert ast.get_docstring(function) is None, row.id
        assert row.id == f"{row.source}.{row.id.removeprefix(f'{row.source}.')}"
        assert row.id.rsplit(".", 1)[1] == function.name


def test_the_completion_is_the_first_line_of_the_real_docstring(docstrings: Loaded) -> None:
    """Looked up again on another way: by walking the whole tree of ten modules."""
    seen = 0
    for module in modules():
        if module.name not in (
            "textwrap",
            "heapq",
            "json.encoder",
            "pathlib",
            "shutil",
            "calendar",
        ):
            continue
        lines: dict[str, list[str]] = {}
        for node in ast.walk(ast.parse(module.text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines.setdefault(node.name, []).append((ast.get_docstring(node) or "").strip())
        for row in docstrings.rows:
            if row.source == module.name:
                firsts = [text.split("\n")[0].strip() for text in lines[row.id.rsplit(".", 1)[1]]]
                assert row.completion in firsts
                seen += 1
    assert seen >= 50


def test_no_target_of_five_words_or_more_stands_in_its_prompt(docstrings: Loaded) -> None:
    """Checked with its own normalisation: letters and digits alone, without any space."""
    for row in docstrings.rows:
        target = row.completion or ""
        assert 3 <= len(target.split()) <= 25
        assert target not in row.messages[0].content or len(target.split()) < 5
        squeezed = re.sub(r"[\W_]+", " ", target.lower()).split()
        prompt = re.sub(r"[\W_]+", " ", row.messages[0].content.lower()).split()
        if len(re.findall(r"\w+", target)) >= 5:
            assert f" {' '.join(squeezed)} " not in f" {' '.join(prompt)} ", row.id


def test_rows_are_short_printable_and_not_near_duplicates(docstrings: Loaded) -> None:
    for row in docstrings.rows:
        assert code(row).count("\n") < 60
        assert len(code(row)) <= 1400
        assert (code(row) + (row.completion or "")).isascii()
        assert "deprecated" not in (row.completion or "").lower()[:11]
    assert not any(first_likes([row.completion or "" for row in docstrings.rows]))
    assert not any(first_likes([code(row) for row in docstrings.rows]))


def test_neither_tests_nor_packages_nor_applications_are_in_it(docstrings: Loaded) -> None:
    for row in docstrings.rows:
        parts = set((row.source or "").split("."))
        assert not parts & {"test", "tests", "idlelib", "turtledemo", "pip", "pytest", "numpy"}


def test_the_notes_name_the_version_and_the_pretraining(docstrings: Loaded) -> None:
    honest, counts = docstrings.notes
    assert platform.python_version() in honest and "surely in the model's pretraining" in honest
    total, kept = map(int, re.findall(r"Of (\d+) functions .* (\d+) became rows", counts)[0])
    left_out = [int(n) for n in re.findall(r"[:;] (\d+) ", counts)]
    assert kept == len(docstrings.rows)
    assert total == kept + sum(left_out)


def test_another_process_with_another_hash_seed_makes_the_same_rows(docstrings: Loaded) -> None:
    script = (
        "import json; from tutelage.data.builtin.stdlib_docstrings import build; "
        "print(json.dumps([[r['id'], r['prompt'], r['completion']] for r in build().records]))"
    )
    environment = dict(os.environ, PYTHONHASHSEED="4711")
    process = [sys.executable, "-c", script]
    output = subprocess.run(process, env=environment, capture_output=True, check=True).stdout
    assert json.loads(output) == [
        [row.id, row.messages[0].content, row.completion] for row in docstrings.rows
    ]


def cut(source: str) -> str | None:
    source = textwrap.dedent(source).strip("\n")
    function = next(
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return without_docstring(function, source.split("\n"))


def test_only_the_docstring_is_cut_out() -> None:
    found = cut('''
        class A:
            # before
            @property
            def f(self,
                  x=1):  # about
                # first
                """Return é.

                More.
                """  # kept
                # second
                text = """a
            b"""

                return "Return it."

            def g(self): ...
        ''')
    assert found == textwrap.dedent('''\
        @property
        def f(self,
              x=1):  # about
            # first
            # kept
            # second
            text = """a
        b"""

            return "Return it."''')


@pytest.mark.parametrize(
    "source",
    [
        'def f(): "Doc."; return 1',
        'def f():\n    "Doc."; return 1',
        'if 1:\n\tdef f():\n\t\t"Doc."\n\t\treturn 1',
    ],
)
def test_what_cannot_be_cut_cleanly_is_left_out(source: str) -> None:
    assert cut(source) is None


@pytest.mark.parametrize(
    ("summary", "source", "expected"),
    [
        ("Return the sum of two numbers.", "# return the  sum of Two_numbers", False),
        ("Return the sum of two numbers.", "# RETURN the\n# sum of two (numbers)", True),
        ("Return the sum of two numbers.", "'return the sum of two numbersets'", False),
        ("Return the sum.", "# return the sum", False),
    ],
)
def test_standing_verbatim_ignores_case_space_and_punctuation(
    summary: str, source: str, expected: bool
) -> None:
    assert stands_verbatim(summary, source) is expected


@pytest.mark.parametrize(
    ("summary", "source", "why"),
    [
        ("Return the sum of x and y.", "def f(): pass", None),
        ("Return it.", "def f(): pass", "words"),
        ("word " * 26, "def f(): pass", "words"),
        ("Return the naïve sum.", "def f(): pass", "printable"),
        ("Return the sum.", "def f(): 'é'", "printable"),
        ("Return the sum.", "def f(): '\t'", "printable"),
        ("Deprecated since version 3.8.", "def f(): pass", "describes nothing"),
        ("See the base class for this.", "def f(): pass", "describes nothing"),
        ("f(x, y) -> int of things", "def f(): pass", "describes nothing"),
        ("Return the sum.", "x\n" * 60, "lines"),
        ("Return the sum.", "x" * 1401, "lines"),
        ("Return the sum of x.", "# Return the sum of x.", "stands in"),
    ],
)
def test_faults_of_candidates(summary: str, source: str, why: str | None) -> None:
    found = fault(Documented("m.f", "m", source, summary))
    assert found is None if why is None else found is not None and why in found


def test_docs_and_source_are_plain_text_with_sources() -> None:
    docs = load("builtin:stdlib-docs")
    assert len(docs.rows) >= 60 and all(row.text and row.source == row.id for row in docs.rows)
    source = load("builtin:stdlib-source")
    texts = {row.source: row.text for row in source.rows}
    assert "json" in texts and "import json" in (texts["json"] or "")
    assert len(texts) >= 400
    assert "idlelib.run" not in texts
    assert "pretraining" in docs.notes[0] and "pretraining" in source.notes[0]


def test_templates_reach_the_fields_of_built_in_rows() -> None:
    found = load("builtin:stdlib-docs", prompt="Name the topic: {text}", completion="{id}").rows[0]
    assert found.messages[0].content.startswith("Name the topic: ")
    assert found.completion == found.source == found.id
