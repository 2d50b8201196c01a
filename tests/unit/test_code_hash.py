"""What a hash of code covers: everything that is imported, however, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tutelage.code_hash import PACKAGE, code_hash, parts
from tutelage.lifecycle import answering, forgetting, tuning

FILES = {
    "__init__.py": "",
    "ground.py": "",
    "registry.py": "",
    "low/__init__.py": "",
    "low/sum.py": "from package import ground",
    "low/sum.cpp": "int sum;",
    "low/sum.h": "int one;",
    "low/deep/table.py": "",
    "entries/__init__.py": "",
    "entries/first.py": "",
    "above/__init__.py": "",
    "above/eager.py": "import package.low.sum",
    "above/other.py": "",
    "lazy/__init__.py": "",
    "lazy/inside.py": "def f():\n    from package.low import sum",
    "named/__init__.py": "from package.registry import Registry\nR = Registry('package.entries')",
    "lifecycle/__init__.py": "",
    "lifecycle/stage.py": "from package.lifecycle import rows\nfrom package.above.eager import x",
    "lifecycle/rows.py": "",
    "lifecycle/page.py": "from package.lifecycle.pages import formats",
    "lifecycle/pages/__init__.py": "",
    "lifecycle/pages/formats.py": "",
    "lifecycle/pages/page.html": "<p>",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "package"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def hashed(package: Path, *modules: str) -> str:
    code_hash.cache_clear()
    return code_hash(*modules, package=package)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("package.ground", ["ground.py"]),
        ("package.low.sum", ["ground.py", "low"]),
        ("package.above.eager", ["above", "ground.py", "low"]),
        ("package.lazy.inside", ["ground.py", "lazy", "low"]),
        ("package.named", ["entries", "named", "registry.py"]),
        ("package.lifecycle.page", ["lifecycle/page.py", "lifecycle/pages"]),
        (
            "package.lifecycle.stage",
            ["above", "ground.py", "lifecycle/rows.py", "lifecycle/stage.py", "low"],
        ),
    ],
)
def test_parts_are_the_closure_of_imports(package: Path, module: str, expected: list[str]) -> None:
    assert parts(module, package=package) == expected


@pytest.mark.parametrize("file", ["low/sum.cpp", "low/sum.h", "low/deep/table.py", "ground.py"])
def test_every_file_of_a_part_counts(package: Path, file: str) -> None:
    before = hashed(package, "package.above.eager")
    (package / file).write_text("# changed")
    assert hashed(package, "package.above.eager") != before


@pytest.mark.parametrize("file", ["lifecycle/page.py", "lifecycle/pages/page.html", "lazy/new.py"])
def test_what_is_not_imported_does_not_count(package: Path, file: str) -> None:
    before = hashed(package, "package.lifecycle.stage")
    (package / file).write_text("# changed")
    assert hashed(package, "package.lifecycle.stage") == before


def test_a_new_file_and_a_new_name_count(package: Path) -> None:
    first = hashed(package, "package.low.sum")
    (package / "low" / "built.so").write_bytes(b"\0")
    second = hashed(package, "package.low.sum")
    (package / "low" / "built.so").rename(package / "low" / "again.so")
    assert len({first, second, hashed(package, "package.low.sum")}) == 3


@pytest.mark.parametrize("module", ["package.nothing", "numpy.linalg", "package"])
def test_what_is_no_module_is_refused(package: Path, module: str) -> None:
    with pytest.raises(ValueError, match=f"{module} is no module of package"):
        parts(module, package=package)


ANSWERS = """
from tutelage.backends.open import open_lm
from tutelage.evaluate.run import Item, evaluate
from tutelage.lm import Message
lm = open_lm("preset:llama-tiny", dtype="fp32", threads=1)
lm.score([("one two", " three")])
evaluate(lm, [Item("a", (Message("user", "one"),), "two")], ["rougeL", "bleu"], max_new_tokens=2)
"""
TUNES = """
import tempfile
from pathlib import Path
from tutelage.data.load import load
from tutelage.train.config import TuneConfig
from tutelage.train.tune import tune
with tempfile.TemporaryDirectory() as folder:
    data = Path(folder, "rows.jsonl")
    data.write_text('{"prompt": "one", "completion": "two"}')
    rows = load(str(data)).rows
    for method in ("lora", "full"):
        config = TuneConfig(method=method, steps=1)
        tune("preset:llama-tiny", rows, config, Path(folder, method), dtype="fp32", threads=1)
"""


@pytest.mark.parametrize(
    ("work", "code"),
    [(ANSWERS, answering.CODE), (ANSWERS, forgetting.CODE), (TUNES, tuning.CODE)],
    ids=["answering", "forgetting", "tuning"],
)
def test_a_stage_names_all_the_code_it_runs(work: str, code: tuple[str, ...]) -> None:
    """Whatever is loaded once the work is done must be among the parts that decide its key."""
    listed = "import sys; print(*sorted(n for n in sys.modules if n.startswith('tutelage.')))"
    done = subprocess.run(
        [sys.executable, "-c", work + listed], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert "tutelage.kernels.library" in loaded
    known = set(parts(*code))
    for module in loaded:
        assert set(parts(module)) <= known, module


def test_the_kernels_and_the_ground_decide_answers_and_tunings() -> None:
    for code in (answering.CODE, tuning.CODE):
        assert {"kernels", "peft", "machine", "lm.py", "nn"} <= set(parts(*code))
    assert "train" not in parts(*answering.CODE) and "evaluate" not in parts(*tuning.CODE)
    assert (PACKAGE / "kernels" / "decode.cpp").is_file()
