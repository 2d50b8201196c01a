"""How a folder of sentence-transformers makes one vector of a text: its own small files.

    modules.json               the chain: Transformer, Pooling, perhaps Normalize
    1_Pooling/config.json      which vectors of the tokens are joined, and how
    sentence_bert_config.json  how long a text may be
    config_sentence_transformers.json   what is written before every text

They are kept as they are (`Checkpoint.sentence`), so that a saved model has them too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from tutelage.errors import SourceError

MODULES = "modules.json"
PROMPTS = "config_sentence_transformers.json"
LENGTHS = re.compile(r"sentence_[\w-]+_config\.json")
"""One is named after the kind of the encoder it was made for."""
PART = re.compile(r"\d+_\w+/config\.json")
"""The file of one module of the chain, in a folder of its own."""

MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Switches of the files up to version 5, in the order in which their vectors are joined, and the
names that stand for them since."""


@dataclass(frozen=True)
class Pooling:
    """How the vectors of a text's tokens become one: those of `modes` one after the other, to
    length 1 with `normalize`. Texts have at most `longest` tokens, None where that is not said, and
    `prompt` stands before each."""

    modes: tuple[str, ...] = ("mean",)
    normalize: bool = False
    longest: int | None = None
    prompt: str = ""


def is_sentence_file(name: str) -> bool:
    """Whether a file of a model folder, named from there, is one of these."""
    return name in (MODULES, PROMPTS) or bool(LENGTHS.fullmatch(name) or PART.fullmatch(name))


def pooling_of(files: Mapping[str, Any], source: str) -> Pooling:
    """What the files say; the mean, where there are none. Raises SourceError for what is not
    computed: another module, another mode, text that is to be lower-cased first."""
    found = Pooling()
    for module in files.get(MODULES, ()):
        kind = str(module.get("type")).rpartition(".")[2]
        config = files.get(f"{PurePosixPath(str(module.get('path')))}/config.json", {})
        if kind == "Pooling":
            found = replace(found, modes=_modes(config, source))
        elif kind == "Normalize":
            found = replace(found, normalize=True)
        elif kind != "Transformer":
            raise _fault(source, MODULES, kind, "Transformer, Pooling, Normalize")
    lengths: Mapping[str, Any] = next(
        (files[name] for name in sorted(files) if LENGTHS.fullmatch(name)), {}
    )
    if lengths.get("do_lower_case"):
        raise _fault(source, "do_lower_case", True, False)
    return replace(found, longest=lengths.get("max_seq_length"), prompt=_prompt(files, source))


def _modes(config: Mapping[str, Any], source: str) -> tuple[str, ...]:
    given = config.get("pooling_mode")
    if given is None:
        modes = tuple(name for switch, name in MODES.items() if config.get(switch)) or ("mean",)
    else:
        modes = (given,) if isinstance(given, str) else tuple(given)
    for mode in modes:
        if mode not in MODES.values():
            raise _fault(source, "pooling_mode", mode, "one of " + ", ".join(MODES.values()))
    if not config.get("include_prompt", True):
        raise _fault(source, "include_prompt", False, True)
    return modes


def _prompt(files: Mapping[str, Any], source: str) -> str:
    settings = files.get(PROMPTS, {})
    name, prompts = settings.get("default_prompt_name"), settings.get("prompts") or {}
    if name is None:
        return ""
    if name not in prompts:
        raise _fault(source, "default_prompt_name", name, "one of " + ", ".join(prompts))
    return str(prompts[name])


def _fault(source: str, field: str, got: object, expected: object) -> SourceError:
    return SourceError(
        f"{source} makes vectors of texts in a way that is not computed here",
        field=field,
        got=got,
        expected=expected,
    )
