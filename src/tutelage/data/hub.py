"""Data sets of the Hugging Face hub as folders of files: hf:OWNER/NAME[@REVISION][/FOLDER].

A revision may be a branch of the hub's own, as refs/convert/parquet. Only files of known formats
are downloaded, never code, and none beyond a limit of bytes. Knows nothing of rows; credentials are
the hub library's own concern.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tutelage.errors import DataError

MAX_BYTES = 5 * 10**9
FORM = "hf:OWNER/NAME[@REVISION][/FOLDER]"
SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".json", ".csv", ".csv.gz", ".tsv", ".txt")
_SOURCE = re.compile(
    r"hf:([\w-][\w.-]*/[\w-][\w.-]*)(?:@(refs/\w+/[\w.-]+|[\w.-]+))?((?:/[\w-][\w.-]*)*)/?"
)


def downloaded(source: str) -> tuple[Path, str]:
    """The folder with a data set's files, from the cache where the network is off, and a note.

    Raises DataError: a malformed name, no such set, no network and nothing cached, too large.
    """
    found = _SOURCE.fullmatch(source)
    if found is None:
        raise DataError(f"{source} is not a data set of the hub", field=source, expected=FORM)
    owner_name, revision, below = found.groups()
    wanted = [f"{below[1:]}/*{suffix}" if below else f"*{suffix}" for suffix in SUFFIXES]
    import httpx2
    import huggingface_hub
    from huggingface_hub import constants

    try:
        if not constants.HF_HUB_OFFLINE:
            _refuse_large(huggingface_hub.HfApi(), source, owner_name, revision, wanted)
        snapshot = huggingface_hub.snapshot_download(
            owner_name, repo_type="dataset", revision=revision, allow_patterns=wanted
        )
    except (OSError, ValueError, httpx2.HTTPError) as error:
        raise _unreachable(source, error) from None
    folder = Path(snapshot) / below[1:]
    if not folder.is_dir():
        raise DataError(
            f"{source} holds no data there", field=source, got=below[1:],
            expected=f"a folder with {' '.join(SUFFIXES)}",
        )  # fmt: skip
    note = f"{source} was read at revision {Path(snapshot).name}, all its files together"
    return folder, note


def _refuse_large(
    api: Any, source: str, owner_name: str, revision: str | None, patterns: list[str]
) -> None:
    import httpx2
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.utils import filter_repo_objects

    try:
        info = api.dataset_info(owner_name, revision=revision, files_metadata=True)
    except RepositoryNotFoundError:
        raise
    except (OSError, httpx2.HTTPError):
        return  # no network: what is cached was once within the limit
    sizes = {file.rfilename: file.size or 0 for file in info.siblings}
    wanted = filter_repo_objects(sizes, allow_patterns=patterns)
    total = sum(sizes[name] for name in wanted)
    if total > MAX_BYTES:
        raise DataError(
            f"{source} is too large to be downloaded whole",
            field=source,
            got=f"{total / 1e9:.1f} GB",
            expected=f"at most {MAX_BYTES / 1e9:.0f} GB",
            hint="download the part you need and give its file",
        )


def _unreachable(source: str, error: Exception) -> DataError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return DataError(
        f"cannot get {source}: {lines[0]}",
        field=source,
        hint="check the name and the network; without a network, download it elsewhere with "
        f"`hf download --repo-type dataset {_name(source)}` "
        "and give the folder",
    )


def _name(source: str) -> str:
    """OWNER/NAME alone."""
    return "/".join(source.removeprefix("hf:").partition("@")[0].split("/")[:2])
