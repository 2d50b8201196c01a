"""A folder in Hugging Face's layout as a checkpoint.

Only safetensors and JSON are read, never pickle, and never a file outside the folder, whatever a
shard index or a symbolic link says (the Hub's cache, whose snapshots link to its blobs, excepted).
A folder that Tutelage wrote carries a manifest, which is checked. Knows no architecture.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.checkpoints.checkpoint import Checkpoint, WeightReader
from tutelage.checkpoints.quantized_file import KEY, is_quantized, quantized_weights
from tutelage.checkpoints.safetensors_file import SafetensorsWeight, safetensors_weights
from tutelage.checkpoints.sentence import MODULES, PART, is_sentence_file
from tutelage.errors import SourceError
from tutelage.text.tokenizer import SpecialTokens, Tokenizer

INDEX = "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.msgpack", "*.h5")
LARGEST_JSON = 256_000_000
"""Bytes; the largest published tokenizer.json is below 40 MB."""

_LICENCE = re.compile(r"^licen[sc]e:\s*[\"']?([^\s\"'#][^\n\"'#]*?)[\"']?\s*$", re.MULTILINE)


def folder_checkpoint(path: Path, source: str | None = None) -> Checkpoint:
    """Open a model folder. Raises SourceError naming the file, DamagedError for one of ours that
    was changed after it was written."""
    folder = ModelFolder(path)
    if (path / store.MANIFEST).is_file():
        store.verify(path)
    config = folder.config()
    generation = folder.json("generation_config.json")
    files = folder.weight_files()
    found: dict[str, SafetensorsWeight] = {}
    for file in files:
        found.update(safetensors_weights(file, few_bits=is_quantized(config)))
    weights: Mapping[str, WeightReader] = found
    if is_quantized(config):
        weights = quantized_weights(config, found, str(path))
    return Checkpoint(
        source=source or str(path),
        config=config,
        weights=weights,
        tokenizer=folder.tokenizer(config, generation),
        generation_config=generation,
        licence=folder.licence(),
        bytes=sum(file.stat().st_size for file in files),
        files=tuple(files),
        sentence=folder.sentence(),
    )


class ModelFolder:
    """The files of one folder, confined to it."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise SourceError(f"no such folder: {path}", field="model", got=str(path))
        self.path = path
        self.roots = [path.resolve()]
        if path.resolve().parent.name == "snapshots":  # the Hub's cache links snapshots to blobs
            self.roots.append(path.resolve().parent.parent / "blobs")

    def file(self, name: str) -> Path | None:
        """The file of that name, None if absent. Raises SourceError if it lies elsewhere."""
        flat = Path(name).name == name and "\\" not in name
        if not name or not (flat or PART.fullmatch(name)):
            raise self.fault(name, "a path", "files of a model lie in its folder itself")
        file = self.path / name
        if not file.exists():
            return None
        if not any(file.resolve().is_relative_to(root) for root in self.roots):
            raise self.fault(name, f"a link to {file.resolve()}", "copy the file into the folder")
        return file

    def text(self, name: str) -> str | None:
        file = self.file(name)
        if file is None:
            return None
        if file.stat().st_size > LARGEST_JSON:
            raise self.fault(name, f"{file.stat().st_size} bytes", None)
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise self.fault(name, f"unreadable: {error}", None) from None

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object; {} if the file is absent."""
        text = self.text(name)
        value = {} if text is None else self._parsed(name, text)
        if not isinstance(value, dict):
            raise self.fault(name, f"a JSON {type(value).__name__}", None)
        return value

    def _parsed(self, name: str, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.fault(name, f"no readable JSON: {error}", None) from None

    def config(self) -> dict[str, Any]:
        """config.json, of a model whose weights can be read."""
        config = self.json("config.json")
        if not config:
            there = (self.path / "config.json").is_file()
            got = "an empty object" if there else "nothing"
            raise self.fault("config.json", got, _hint(self.path))
        if KEY in config and not is_quantized(config):
            method = config[KEY]
            named = method.get("quant_method") if isinstance(method, dict) else method
            got = f"quantized weights ({named})"
            raise self.fault("config.json", got, "name the model unquantized")
        return config

    def weight_files(self) -> list[Path]:
        """model.safetensors, or the shards of the index in order."""
        index = self.json(INDEX)
        if index:
            mapping = index.get("weight_map")
            if not isinstance(mapping, dict) or not mapping:
                raise self.fault(INDEX, "no weight_map", None)
            names = sorted({str(name) for name in mapping.values()})
        else:
            names = ["model.safetensors"]
        files = []
        for name in names:
            file = self.file(name)
            if file is None:
                raise self.fault(name, "nothing", _hint(self.path))
            files.append(file)
        return files

    def tokenizer(self, config: Mapping[str, Any], generation: Mapping[str, Any]) -> Tokenizer:
        text = self.text("tokenizer.json")
        if text is None:
            raise self.fault(
                "tokenizer.json",
                "nothing",
                "save the tokenizer again with a current version of transformers, "
                "which writes tokenizer.json",
            )
        settings = {**self.json("special_tokens_map.json"), **self.json("tokenizer_config.json")}
        context = config.get("max_position_embeddings")
        tokenizer = Tokenizer(
            text,
            SpecialTokens.from_files(settings),
            end_ids=_end_ids(generation) or _end_ids(config),
            template=self.text("chat_template.jinja") or _template(settings),
            context=context if isinstance(context, int) else None,
            where=str(self.path / "tokenizer.json"),
        )
        rows = config.get("vocab_size")
        if isinstance(rows, int) and tokenizer.vocabulary > rows:
            raise self.fault(
                "tokenizer.json",
                f"{tokenizer.vocabulary} tokens",
                f"the model knows {rows} tokens: one of the two files is of another model",
            )
        return tokenizer

    def sentence(self) -> dict[str, Any]:
        """The files of sentence-transformers, where modules.json says that there are some."""
        text = self.text(MODULES)
        if text is None:
            return {}
        modules = self._parsed(MODULES, text)
        if not isinstance(modules, list) or not all(isinstance(one, dict) for one in modules):
            raise self.fault(MODULES, "no list of modules", None)
        found = [*self.path.glob("*.json"), *self.path.glob("*/config.json")]
        names = sorted(file.relative_to(self.path).as_posix() for file in found)
        others = [name for name in names if is_sentence_file(name) and name != MODULES]
        return {MODULES: modules, **{name: self.json(name) for name in others}}

    def licence(self) -> str | None:
        """`license:` of the model card's front matter."""
        text = self.text("README.md") or ""
        if not text.startswith("---"):
            return None
        match = _LICENCE.search(text[3:].partition("\n---")[0])
        return match[1] if match else None

    def fault(self, name: str, got: str, hint: str | None) -> SourceError:
        return SourceError(
            f"{self.path} cannot be opened as a model: {name}",
            field=str(self.path / name) if name else str(self.path),
            got=got,
            hint=hint,
        )


def _hint(path: Path) -> str:
    """What the folder seems to be instead."""
    if (path / "adapter_config.json").is_file():
        return "this is an adapter: name its base model, and the adapter with --adapter"
    pickles = sorted(file.name for pattern in PICKLES for file in path.glob(pattern))
    if pickles:
        return (
            f"{pickles[0]} is no safetensors file; opening such a file can run code hidden in it: "
            "convert it with the program that wrote it"
        )
    ggufs = sorted(path.glob("*.gguf"))
    if ggufs:
        return f"name the file: {ggufs[0]}"
    return "a model folder holds config.json, model.safetensors and tokenizer.json"


def _template(settings: Mapping[str, Any]) -> str | None:
    """The chat template of tokenizer_config.json; of several, the one named default."""
    value = settings.get("chat_template")
    if isinstance(value, list):
        named = {entry.get("name"): entry.get("template") for entry in value}
        value = named.get("default")
    return value if isinstance(value, str) else None


def _end_ids(settings: Mapping[str, Any]) -> list[int]:
    value = settings.get("eos_token_id")
    values = value if isinstance(value, list) else [value]
    return [id for id in values if isinstance(id, int) and not isinstance(id, bool)]
