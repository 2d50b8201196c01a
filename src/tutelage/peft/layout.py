"""Adapters on disk in PEFT's own layout: either library opens the other's.

    adapter_config.json          what it is and what it is for
    adapter_model.safetensors    base_model.model.<Hugging Face module name>.<part>
    base.json                    which weights it was made on; ours alone, PEFT passes it over

Knows files, names and refusals; what the tensors mean is each method's business. A method that PEFT
has not writes the same files with a `peft_type` of its own, which PEFT refuses.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from tutelage import store
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.safetensors_file import write_tensors
from tutelage.errors import DamagedError, SourceError
from tutelage.models.catalogue import layout, spec_for
from tutelage.models.forward import Model
from tutelage.models.spec import Family
from tutelage.nn.form import Form

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BASE = "base.json"
PREFIX = "base_model.model."
ROWS, ROWS_PART = "trainable_token_indices", "token_adapter.trainable_tokens_delta"
"""How PEFT names rows of the token table that are trained: a setting, and a part of the file."""
SAVED = "modules_to_save"
"""How PEFT names modules that are kept whole: a task's head, put in its place by `_head.py`."""
TASKS: Mapping[Family, str] = {
    "encoder": "FEATURE_EXTRACTION",
    "decoder": "CAUSAL_LM",
    "encoder-decoder": "SEQ_2_SEQ_LM",
}
"""What PEFT calls the use of a family's models."""
EVERYWHERE = frozenset({
    "peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path",
    "revision", "inference_mode", "target_modules", "exclude_modules", "layers_to_transform",
    "layers_pattern", "fan_in_fan_out", "runtime_config",
})  # fmt: skip
"""Settings of every kind that are read, or follow from the weights' names. How files hold the
base's matrices (`fan_in_fan_out`) changes nothing that stands beside them."""


@dataclass(frozen=True)
class Base:
    """The model an adapter is made on: its source with what else decides its weights, their hash
    (`checkpoints/weights_hash`), the hash of the chat template its rows were written by (None where
    there was none, "" where it does not say), and in which few bits the weights were held, if they
    were."""

    source: str
    weights: str
    template: str | None = None
    form: Form | None = None
    rows: bool = False
    """Whether who opens the adapter puts rows of new tokens in their places (`_new_rows.py`), and
    the head of a task (`_head.py`)."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, model: Model) -> Base:
        seed = checkpoint.identity.get("seed")
        named = checkpoint.source if seed is None else f"{checkpoint.source} with --seed {seed}"
        template = checkpoint.tokenizer.template
        written = None if template is None else store.digest(template)
        return cls(named, model.built_from, written, model.form, model.new_rows)

    def as_json(self) -> dict[str, Any]:
        found = {"source": self.source, "weights": self.weights, "template": self.template}
        return found if self.form is None else {**found, "form": self.form.as_json()}

    @property
    def held(self) -> str:
        """In which bits."""
        if self.form is None:
            return "not quantized"
        return f"quantized to {self.form}"

    def __str__(self) -> str:
        return f"{self.source} (weights {self.weights[:12]})"


def write_adapter(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], base: Base
) -> None:
    """Write the files; `tensors` by their whole names (`tensor_name`)."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_tensors(values, folder / WEIGHTS)
    store.write_json(folder / CONFIG, dict(config))
    store.write_json(folder / BASE, base.as_json())


def tensor_name(module: str, part: str) -> str:
    """A tensor's name in the file: the part of what stands beside a module of Hugging Face's."""
    return f"{PREFIX}{module}.{part}"


def common_config(peft_type: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """What every adapter's configuration says."""
    return {
        "peft_type": peft_type,
        "task_type": TASKS[spec_for(checkpoint.config).family],
        "base_model_name_or_path": checkpoint.source,
        "inference_mode": True,
        "modules_to_save": None,
    }


def read_config(folder: Path) -> dict[str, Any]:
    """The adapter's configuration. Raises SourceError if the folder is no adapter, DamagedError if
    it has our manifest and is not what was written."""
    path = folder / CONFIG
    if not path.is_file():
        raise SourceError(f"{folder} is not an adapter", field=str(path), expected="a file")
    if (folder / store.MANIFEST).exists():
        store.verify(folder)
    config: Any = store.read_json(path)
    if not isinstance(config, dict):
        raise SourceError(f"{path} is not an adapter's configuration", field=str(path), got=config)
    return config


def kind_of(folder: Path) -> str:
    """The kind of adapter; PEFT calls DoRA a LoRA that is used otherwise, and does not tell on what
    it was made."""
    config, made_on = read_config(folder), made_on_of(folder)
    kind = str(config.get("peft_type"))
    if kind != "LORA":
        return kind
    if config.get("use_dora"):
        return "DORA"
    return "LORA" if made_on is None or made_on.form is None else "QLORA"


def opened(
    folder: Path,
    base: Base,
    kind: str,
    honoured: Mapping[str, tuple[Any, ...]],
    any_value: Collection[str],
) -> dict[str, Any]:
    """The configuration of an adapter of this kind that was made on this base.

    Raises SourceError for another base, and what `opened_alone` raises."""
    elsewhere = [ROWS, SAVED] if base.rows else []
    config = opened_alone(folder, kind, honoured, {*any_value, *elsewhere})
    refuse_other_base(folder, base)
    return config


def opened_alone(
    folder: Path, kind: str, honoured: Mapping[str, tuple[Any, ...]], any_value: Collection[str]
) -> dict[str, Any]:
    """The configuration of an adapter of this kind, whatever it was made on.

    Raises what `read_config` raises, and SourceError for another kind, or a setting that is
    switched on and not `honoured`, unless it may have any value."""
    config = read_config(folder)
    if config.get("peft_type") != kind:
        raise SourceError(
            "the adapter is of another kind",
            field=f"{folder / CONFIG}: peft_type",
            got=config.get("peft_type"),
            expected=kind,
        )
    refuse(config, honoured, {*EVERYWHERE, *any_value}, folder)
    return config


def refuse_other_base(folder: Path, base: Base) -> None:
    """Raise SourceError if the adapter was made on other weights than these, on rows that another
    chat template wrote, or on these weights held otherwise. One that does not say, as PEFT writes
    it, is taken at its word."""
    made_on = made_on_of(folder)
    if made_on is None:
        return
    path = folder / BASE
    _refuse_other_weights(path, made_on, base)
    _refuse_other_template(path, made_on, base)
    _refuse_other_form(path, made_on, base)


def _refuse_other_weights(path: Path, made_on: Base, base: Base) -> None:
    if made_on.weights != base.weights:
        raise SourceError(
            "the adapter was made on another model, and would give nonsense on this one",
            field=str(path),
            got=base,
            expected=made_on,
            hint=f"name the model it was made on: {made_on.source}; a quantized copy of that is "
            "another model: tune on the copy itself, or merge the adapter where it was made and "
            "quantize the result",
        )


def _refuse_other_template(path: Path, made_on: Base, base: Base) -> None:
    if made_on.template not in ("", base.template):
        raise SourceError(
            "the adapter was trained on rows that another chat template wrote",
            field=str(path),
            got=base.template or "a model without a chat template",
            expected=made_on.template or "a model without a chat template",
            hint=f"give the model the template of {made_on.source}, or tune again",
        )


def _refuse_other_form(path: Path, made_on: Base, base: Base) -> None:
    if made_on.form != base.form:
        raise SourceError(
            "the adapter was made on these weights held otherwise",
            field=str(path),
            got=base.held,
            expected=made_on.held,
            hint="open the adapter on its own base, which is then held as the adapter saw it",
        )


def made_on_of(folder: Path) -> Base | None:
    """What the adapter says it was made on. Raises DamagedError for a note that cannot be read."""
    path = folder / BASE
    if not path.is_file():
        return None
    try:
        said = dict(store.read_json(path))
        form, _, _ = (said.pop(key, None) for key in ("form", "tokens", "head"))
        return Base(**{"template": "", **said}, form=None if form is None else Form(**form))
    except (TypeError, ValueError):
        raise DamagedError(
            f"{path} does not say what the adapter was made on", field=str(path)
        ) from None


def new_tokens(folder: Path) -> tuple[str, ...]:
    """The tokens that the adapter was tuned with and its base lacks. Raises DamagedError."""
    path = folder / BASE
    if not path.is_file():
        return ()
    said: Any = store.read_json(path)
    tokens = said.get("tokens", []) if isinstance(said, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise DamagedError(f"{path} does not say which tokens are new", field=str(path), got=tokens)
    return tuple(tokens)


def refuse(
    config: Mapping[str, Any],
    honoured: Mapping[str, tuple[Any, ...]],
    any_value: Collection[str],
    folder: Path,
) -> None:
    """Raise SourceError at the first setting that is switched on and not known to be honoured.

    A setting of a later version is refused too: ignoring it could change the answers.
    """
    for key, value in config.items():
        if value and key not in any_value and value not in honoured.get(key, ()):
            raise SourceError(
                "the adapter uses a setting that is not honoured",
                field=f"{folder / CONFIG}: {key}",
                got=value,
                expected=" or ".join(map(str, honoured.get(key, ("nothing",)))),
            )


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The values by name, but for rows of new tokens and modules kept whole. Raises DamagedError,
    or SourceError for none at all."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise SourceError(f"{folder} lacks its weights", field=str(path), expected="a file")
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except Exception as error:  # safetensors raises its own kind and OSError
        raise DamagedError(f"{path} cannot be read: {error}", field=str(path)) from None
    kept = tuple(f".{name}." for name in read_config(folder).get(SAVED) or ())
    own = {
        name: value
        for name, value in tensors.items()
        if not name.endswith(ROWS_PART) and not any(part in name for part in kept)
    }
    if not own:
        raise SourceError("the adapter holds no weights", field=str(path), got="no tensors")
    return own


def by_module(
    tensors: Mapping[str, Tensor],
    parts: tuple[str, ...],
    folder: Path,
    optional: tuple[str, ...] = (),
) -> dict[str, dict[str, Tensor]]:
    """Hugging Face module name -> part -> values, every module with all of `parts`.

    Raises SourceError for weights of another kind or incomplete ones."""
    path = folder / WEIGHTS
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part = next((part for part in (*parts, *optional) if name.endswith(f".{part}")), None)
        if part is None or not name.startswith(PREFIX):
            raise SourceError("not a weight of this kind of adapter", field=str(path), got=name)
        stem = name.removeprefix(PREFIX).removesuffix(f".{part}")
        found.setdefault(stem, {})[part] = tensor
    for stem, have in found.items():
        if not set(parts) <= set(have):
            raise SourceError(
                "the adapter is incomplete",
                field=f"{path}: {stem}",
                got=", ".join(have),
                expected=", ".join(parts),
            )
    return found


def other_shape(folder: Path, stem: str, got: str, expected: str) -> SourceError:
    """The error for tensors that do not fit the module they are for."""
    return SourceError(
        "the adapter was made for a model of another shape",
        field=f"{folder / WEIGHTS}: {stem}",
        got=got,
        expected=expected,
    )


def no_such_module(folder: Path, stem: str) -> SourceError:
    """The error for tensors of a module that the model lacks."""
    return SourceError(
        "the adapter tunes a module this model does not have",
        field=str(folder / WEIGHTS),
        got=stem,
    )


def endings(chosen: Collection[str], known: Collection[str]) -> list[str]:
    """The shortest endings of dotted names by which PEFT finds exactly the `chosen` among those
    `known`: `q_proj`, or `SelfAttention.q` where there is an `EncDecAttention.q` that is not."""
    others = [f".{name}" for name in known if name not in chosen]
    found: set[str] = set()
    for length in range(1, 1 + max(name.count(".") + 1 for name in chosen)):
        found = {".".join(name.split(".")[-length:]) for name in chosen}
        if not any(other.endswith(f".{ending}") for other in others for ending in found):
            break
    return sorted(found)


def targets_config(
    paths: Sequence[str], checkpoint: Checkpoint, layers: Sequence[int] | None = None
) -> dict[str, Any]:
    """By which names PEFT finds the modules at our `paths` and no other, and how files hold their
    matrices. PEFT's `layers_to_transform` counts one stack and leaves out what is in none: of an
    encoder-decoder, or with a table among them, names alone tell."""
    weights = {w.path.removesuffix(".weight"): w for w in layout(checkpoint.config)}
    names = module_names(checkpoint)
    pair = spec_for(checkpoint.config).family == "encoder-decoder"
    whole = pair or not layers or any(weights[path].layer is None for path in paths)
    among = {name for path, name in names.items() if whole or weights[path].layer in (layers or ())}
    return {
        "target_modules": endings({names[path] for path in paths}, among),
        "layers_to_transform": None if whole else list(layers or ()),
        "fan_in_fan_out": all(weights[path].transposed for path in paths),
    }


def module_names(checkpoint: Checkpoint) -> dict[str, str]:
    """Our module path -> Hugging Face's module name."""
    return {
        weight.path.removesuffix(".weight"): weight.hf_name.removesuffix(".weight")
        for weight in layout(checkpoint.config)
        if weight.path.endswith(".weight")
    }
