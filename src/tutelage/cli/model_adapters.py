"""`tutelage model merge`, `unmerge`, `combine`, `extract`: adapters into weights, out of them, and
sums of them."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tutelage.cli.shared import Shared, progress
from tutelage.errors import ConfigError, GuardError, SourceError

if TYPE_CHECKING:
    from tutelage.checkpoints.checkpoint import Checkpoint
    from tutelage.models.forward import Model
    from tutelage.peft.merged import Term

MERGED = "merged.json"
"""What a merged folder says of where it came from."""
TEXTS = 12
FARTHEST = 0.01
"""Nats a token that a merged model may be away from its base with the adapter beside it."""
Json = dict[str, Any]
Adapters = Annotated[tuple[str, ...], Parameter(name="--adapter", consume_multiple=False)]
Roles = Annotated[tuple[str, ...], Parameter(consume_multiple=False, show_default=False)]


def merge(model: str, *, adapter: Adapters = (), out: Path, shared: Shared | None = None) -> Json:
    """Write a model with adapters folded into its weights, as a Hugging Face folder.

    The base is taken as the adapters saw it, quantized if it was. How far the merged scores are
    from those of the base with the adapters beside it is measured and shown.

    Parameters
    ----------
    model
        The base: folder, FILE.gguf, pypi:, hf:, preset:; or a run that recommends an adapter.
    adapter
        DIR, or DIR=WEIGHT by how much it counts, as -1 to subtract it. Several times for a sum.
    out
        The folder to write; it must not exist yet, or be an earlier one of ours.
    """
    from tutelage import store
    from tutelage.checkpoints.build import hf_state
    from tutelage.checkpoints.save import check_free, write_model
    from tutelage.peft.merged import attached, fold, mergeable

    shared = shared or Shared()
    check_free(out)
    source, terms = _named(model, adapter)
    base = _open(source, shared.seed)
    checkpoint = _with_tokens(base, terms)
    method, kind = mergeable(terms[0].folder), stored_as(checkpoint, shared.dtype)
    beside, merged = attached(checkpoint, terms), attached(checkpoint, terms, short(kind))
    form = None if merged.form is None else merged.form.as_json()
    fold(merged, method)
    found = _agreement(beside, _computing_exactly(merged), checkpoint)
    if found["kl"] > FARTHEST:
        raise GuardError(
            "the merged model does not answer as the base with its adapter does", field="kl",
            got=f"{found['kl']:.4f} nats a token", expected=f"at most {FARTHEST}",
            hint="store it with --dtype fp32, or keep the adapter beside its base",
        )  # fmt: skip
    about = {
        "base": {
            "source": source, "seed": shared.seed or 0, "fingerprint": base.fingerprint,
        },
        "adapters": [{"folder": str(term.folder), "weight": term.weight} for term in terms],
        "method": method.name,
        "quantized": form,
        "dtype": kind,
        "agreement": found,
    }  # fmt: skip
    with store.new_folder(out) as inside:
        write_model(hf_state(merged, checkpoint), checkpoint, inside, dtype=kind)
        store.write_json(inside / MERGED, about)
    return {"out": str(out), **_written(out), **about}


def unmerge(folder: Path, *, out: Path, shared: Shared | None = None) -> Json:
    """Write the base that a merged folder was made of, bit for bit.

    Subtracting what was added would leave rounding behind: the base is taken from its own source,
    and where the adapters are still there, that they make the folder out of it is checked.

    Parameters
    ----------
    folder
        A folder that `model merge` wrote.
    out
        The folder to write; it must not exist yet, or be an earlier one of ours.
    """
    from tutelage import store
    from tutelage.checkpoints.program import expect
    from tutelage.checkpoints.save import save_folder
    from tutelage.peft.merged import Term

    if not (folder / MERGED).is_file():
        raise SourceError(
            f"{folder} was not written by `model merge`", field=str(folder / MERGED),
            expected="a file that names base and adapters",
        )  # fmt: skip
    store.verify(folder)
    about = store.read_json(folder / MERGED)
    base = about["base"]
    checkpoint = _open(base["source"], base["seed"])
    expect(base["source"], checkpoint.fingerprint, base["fingerprint"])
    terms = [Term(Path(one["folder"]), one["weight"]) for one in about["adapters"]]
    same = _same(folder, checkpoint, terms, about["dtype"])
    if same is False:
        raise GuardError(
            "base and adapters do not make this folder", field=str(folder),
            got="other weights", hint="the adapters have changed since it was merged",
        )  # fmt: skip
    saved = save_folder(None, checkpoint, out)
    return {
        "out": str(saved.out), "bytes": saved.bytes, "sha256": saved.sha256, "base": base,
        "checked": same, "reason": None if same else "the adapters are no longer where they were",
    }  # fmt: skip


def combine(*, adapter: Adapters = (), out: Path, shared: Shared | None = None) -> Json:
    """Write the weighted sum of LoRA adapters of one base as an adapter. Exact: its rank is the sum
    of theirs.

    Parameters
    ----------
    adapter
        DIR, or DIR=WEIGHT: 1 adds, -1 subtracts, 0.5 counts half. Several times.
    out
        The folder to write, which must not exist yet.
    """
    from tutelage.peft.arithmetic import combine as combined

    terms = _terms(adapter)
    _refuse_taken(out)
    combined([(term.folder, term.weight) for term in terms], out)
    each = [{"folder": str(term.folder), "weight": term.weight} for term in terms]
    return {"out": str(out), **_written(out), "adapters": each}


def extract(
    base: str,
    tuned: str,
    *,
    rank: int = 16,
    role: Roles = (),
    out: Path,
    shared: Shared | None = None,
) -> Json:
    """Write a LoRA adapter that does to a base what tuning did, as near as its rank allows.

    Parameters
    ----------
    base
        The model before: folder, FILE.gguf, pypi:, hf:, preset:.
    tuned
        The model after.
    rank
        The adapter's rank.
    role
        Linear maps it may change, as attn.q; all inside the blocks if none is named.
    out
        The folder to write, which must not exist yet.
    """
    from tutelage.config import validate
    from tutelage.peft.extract import extract as extracted
    from tutelage.peft.lora import Settings
    from tutelage.peft.merged import Term, attached

    shared = shared or Shared()
    _refuse_taken(out)
    before, after = _open(base, shared.seed), _open(tuned, shared.seed)
    settings = validate(Settings, {"rank": rank, "roles": role or None}, where="extract")
    found = extracted(before, after, settings, out, progress(shared))
    near = _agreement(_built(after), attached(before, [Term(out)]), after)
    return {"out": str(out), **_written(out), **asdict(found), "agreement": near}


def show_merge(result: Json) -> None:
    near = result["agreement"]
    print(f"{result['out']}: {result['bytes'] / 1e9:.3f} GB, {result['dtype']}")
    print(_apart(near, "the base with the adapter beside it"))


def show_unmerge(result: Json) -> None:
    print(f"{result['out']}: {result['base']['source']} as it was")
    print("checked: base and adapters make the folder" if result["checked"] else result["reason"])


def show_combine(result: Json) -> None:
    terms = " + ".join(f"{one['weight']:g} x {one['folder']}" for one in result["adapters"])
    print(f"{result['out']} = {terms}")


def show_extract(result: Json) -> None:
    print(f"{result['out']}: rank {result['rank']}, {result['parameters']:,} parameters")
    print(f"{result['kept']:.1%} of the squared change of the linear maps")
    if result["left_out"]:
        print(f"{len(result['left_out'])} other weights changed and are left out")
    print(_apart(result["agreement"], "the tuned model"))


def _apart(near: Json, what: str) -> str:
    return (
        f"from {what}: {near['kl']:.2g} nats a token, logits at most "
        f"{near['max_logit_difference']:.2g}, the same likeliest token in "
        f"{near['top1_agreement']:.1%} of {near['n']:,}"
    )


def _named(model: str, adapter: tuple[str, ...]) -> tuple[str, list[Term]]:
    """The base's source and the adapters: those given, or the one that a run recommends."""
    from tutelage.checkpoints.program import program_of
    from tutelage.peft.merged import Term

    program = program_of(model)
    if program.adapter is None:
        return model, _terms(adapter)
    if adapter:
        raise ConfigError(
            f"{model} recommends an adapter of its own", field="--adapter", got=", ".join(adapter),
            expected="none", hint=f"name the base, {program.base}",
        )  # fmt: skip
    return program.base, [Term(program.adapter)]


def _terms(adapter: tuple[str, ...]) -> list[Term]:
    """Raises ConfigError for a weight that is no number, a folder that is none, and none at all."""
    from tutelage.peft.merged import Term

    if not adapter:
        raise ConfigError("no adapter was named", field="--adapter", expected="DIR or DIR=WEIGHT")
    found = []
    for text in adapter:
        folder, equals, weight = text.rpartition("=")
        if not equals or Path(text).is_dir():
            folder, weight = text, "1"
        if not Path(folder).is_dir() or not _number(weight):
            raise ConfigError(
                f"cannot read --adapter {text!r}", field="--adapter", got=text,
                expected="DIR or DIR=WEIGHT, with a folder that is there and a number",
            )  # fmt: skip
        found.append(Term(Path(folder), float(weight)))
    return found


def _number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _refuse_taken(out: Path) -> None:
    if out.exists():
        raise ConfigError(f"{out} exists", field="--out", got=str(out), hint="name a new folder")


def _open(source: str, seed: int | None) -> Checkpoint:
    from tutelage.checkpoints.open import open_checkpoint

    return open_checkpoint(source, seed=seed or 0)


def _with_tokens(checkpoint: Checkpoint, terms: list[Term]) -> Checkpoint:
    """With the tokens and the task's head that an adapter brings; of several adapters none may."""
    from tutelage.checkpoints.headed import with_head
    from tutelage.peft._head import task_in
    from tutelage.peft.layout import new_tokens
    from tutelage.tokenizers.added import with_tokens

    brought = [(new_tokens(term.folder), task_in(term.folder)) for term in terms]
    if len(terms) > 1 and any(tokens or task for tokens, task in brought):
        raise ConfigError(
            "adapters that bring new tokens or a task's head are not added up", field="--adapter",
            got=", ".join(str(t.folder) for t, new in zip(terms, brought, strict=True) if any(new)),
            expected="one alone, or adapters without",
        )  # fmt: skip
    tokens, task = brought[0]
    checkpoint = with_tokens(checkpoint, tokens)
    return checkpoint if task is None else with_head(checkpoint, task)


def _built(checkpoint: Checkpoint) -> Model:
    from tutelage.checkpoints.build import build

    model: Model = build(checkpoint)
    return model


def stored_as(checkpoint: Checkpoint, asked: str) -> str:
    """Torch's name of the type to store numbers in: as asked, or as the configuration says."""
    from tutelage.machine.device import DTYPES

    if asked != "auto":
        return str(DTYPES[asked]).removeprefix("torch.")
    config = checkpoint.config
    return str(config.get("torch_dtype") or config.get("dtype") or "float32")


def short(kind: str) -> str:
    """Our name of a type by torch's; float32 for one that is not computed in."""
    from tutelage.machine.device import DTYPES

    return {str(one): name for name, one in DTYPES.items()}.get(f"torch.{kind}", "fp32")


def _computing_exactly(model: Model) -> Model:
    """The same weights in float32, so that only their own rounding is seen."""
    import torch

    model.compute = torch.float32
    return model.float()


def _agreement(first: Model, second: Model, checkpoint: Checkpoint) -> Json:
    """On prose that no task is made of, as much of it as the context holds."""
    from tutelage.checkpoints.reading import Reading
    from tutelage.data.retention import retention
    from tutelage.generate.agreement import agreement

    reading, tokenizer = Reading.of(checkpoint), checkpoint.tokenizer
    longest = reading.context or 256
    rows = [tokenizer.encode_row(text)[:longest] for text in retention().texts[:TEXTS]]
    examples = [reading.scored(ids[:8], ids[8:]) for ids in rows]
    return asdict(agreement(first, second, examples))


def _same(folder: Path, checkpoint: Checkpoint, terms: list[Term], kind: str) -> bool | None:
    """Whether base and adapters make the folder's weights, bit for bit; None without adapters."""
    import torch

    from tutelage.checkpoints.build import hf_state
    from tutelage.peft.merged import attached, fold, mergeable

    if not all(term.folder.is_dir() for term in terms):
        return None
    checkpoint = _with_tokens(checkpoint, terms)
    model = attached(checkpoint, terms, short(kind))
    _computing_exactly(fold(model, mergeable(terms[0].folder)))
    stored = hf_state(_built(_open(str(folder), 0)), checkpoint)
    return all(
        torch.equal(value, stored[name]) for name, value in hf_state(model, checkpoint).items()
    )


def _written(folder: Path) -> Json:
    from tutelage import store

    files = store.read_json(folder / store.MANIFEST)["files"]
    total = sum(entry["bytes"] for entry in files.values())
    return {"bytes": total, "sha256": store.sha256(folder / store.MANIFEST)}
