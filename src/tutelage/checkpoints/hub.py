"""`hf:OWNER/NAME[@REVISION]`: a model folder from the Hugging Face Hub.

Only configuration, tokenizer, safetensors and the card are fetched: what could run code is never
downloaded. The Hub's own cache is used, so that what other programs fetched is found.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.folder import folder_checkpoint
from tutelage.checkpoints.source import Source
from tutelage.errors import SourceError

WANTED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    "README.md",
    "modules.json",
    "sentence_*_config.json",
    "config_sentence_transformers.json",
    "[0-9]*_*/config.json",
)


def hub_checkpoint(source: Source, cache: Path | None = None) -> Checkpoint:
    """Open a model of the Hub, fetched if need be; `cache` None is the Hub's own cache folder.

    Raises SourceError, saying what to do, if it cannot be had."""
    folder = hub_folder(source, cache)
    checkpoint = folder_checkpoint(folder)
    return replace(checkpoint, source=f"hf:{source.owner}/{source.name}@{folder.name}")


def hub_folder(source: Source, cache: Path | None) -> Path:
    """The snapshot's folder; its name is the commit."""
    from huggingface_hub import errors, snapshot_download

    name = f"{source.owner}/{source.name}"
    try:
        found = snapshot_download(
            name,
            revision=source.revision,
            cache_dir=None if cache is None else cache / "hub",
            allow_patterns=list(WANTED),
        )
    except errors.GatedRepoError:
        raise _fault(source, "access is granted by its owner", "ask for access, then log in with"
                     " `hf auth login`") from None  # fmt: skip
    except errors.RepositoryNotFoundError:
        raise _fault(source, "the Hub knows no such model", "check OWNER/NAME") from None
    except errors.RevisionNotFoundError:
        raise _fault(source, f"it has no revision {source.revision!r}", None) from None
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, OSError, ValueError) as error:
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise _fault(
            source,
            f"the Hub cannot be reached and no copy is on this machine ({first[0]})",
            f"where there is a network, run `hf download {name} --local-dir DIR`, "
            "copy DIR here and name it as the model",
        ) from None
    return Path(found)


def _fault(source: Source, why: str, hint: str | None) -> SourceError:
    return SourceError(
        f"cannot open {source.text}: {why}", field="model", got=source.text, hint=hint
    )
