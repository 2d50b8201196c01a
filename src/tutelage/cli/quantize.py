"""`tutelage quantize`: a model's weights in few bits, and what it costs."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tutelage.cli.shared import Shared, progress
from tutelage.errors import ConfigError, RequestError, WorkError

if TYPE_CHECKING:
    from tutelage.checkpoints.checkpoint import Checkpoint
    from tutelage.data.pack import Example
    from tutelage.generate.agreement import Apart
    from tutelage.nn.form import Form

ABOUT = "quantization.json"
"""What a folder in few bits says of where it came from and what was lost."""
TEXTS = 32
FIRST = 8
"""Tokens of a text that are read and not scored."""
Json = dict[str, Any]


def quantize(
    model: str,
    *,
    bits: Literal[8, 4],
    out: Path,
    group: int = 32,
    symmetric: bool = False,
    table_bits: Literal[8, 4] = 8,
    data: Path | None = None,
    texts: int = TEXTS,
    shared: Shared | None = None,
) -> Json:
    """Write a model with its weights in 8 or 4 bits, and measure what was lost.

    Each number becomes the nearest of its group's 256 or 16; nothing is trained. What is measured,
    against the model in float32: divergence, loss, the likeliest token.

    Parameters
    ----------
    model
        The model: folder, run, FILE.gguf, pypi:, hf:, preset:.
    bits
        Of a weight, its share of the scales not counted.
    out
        The folder to write; it must not exist yet, or be an earlier one of ours. Every verb opens
        it as a model.
    group
        Numbers in a row that share a scale, an even number.
    symmetric
        4 bits spread evenly around zero, 4.5 bits a weight in groups of 32, instead of from the
        group's least number to its greatest, 5 bits a weight.
    table_bits
        Of token tables and heads, by which every token is chosen. 4 only beside `--bits 4`: smaller
        and faster, at a loss that is measured with the rest.
    data
        Texts to measure on, as JSON lines, CSV or plain text; Python's language reference without.
    texts
        How many of them.
    """
    from tutelage import store
    from tutelage.checkpoints.quantized_save import write_quantized
    from tutelage.checkpoints.save import check_free
    from tutelage.cli.model import whole_model

    shared, began = shared or Shared(), time.monotonic()
    form, tables = _forms(bits, group, symmetric, table_bits)
    check_free(out)
    whole = whole_model(model, shared)
    _refuse_quantized(whole.checkpoint)
    examples, measured_on = _examples(whole.checkpoint, data, texts)
    about: Json = {"source": whole.checkpoint.source, "form": form.as_json()}
    about["tables"] = tables.as_json()
    with store.new_folder(out) as inside:
        write_quantized(whole.checkpoint, inside, form, tables)
        size = (inside / "model.safetensors").stat().st_size
        about["bits_per_weight"] = 8 * size / _count(whole.checkpoint)
        about |= _lost(whole.checkpoint, inside, examples, measured_on, shared)
        store.write_json(inside / ABOUT, about)
    files = store.read_json(out / store.MANIFEST)["files"]
    return {
        "out": str(out),
        "bytes": sum(entry["bytes"] for entry in files.values()),
        "sha256": store.sha256(out / store.MANIFEST),
        **about,
        "left_out": whole.left_out,
        "seconds": time.monotonic() - began,
    }


def show(result: Json) -> None:
    """What was written, and what was lost."""
    size, bits = result["bytes"] / 1e9, result["bits_per_weight"]
    print(f"{result['out']}: {size:.3f} GB, {bits:.2f} bits a weight")
    if result["kl"] is None:
        print(f"not measured: {result['reason']}")
        return
    kl, rise, ppl = result["kl"], result["loss_rise"], result["perplexity"]
    print(f"from the model in float32, on {result['measured_on']}:")
    print(f"  divergence   {_told(kl)} nats a token")
    print(f"  loss         {_told(rise)} nats a token more")
    print(f"  perplexity   {ppl['before']:.3f} before, {ppl['after']:.3f} after")
    same = f"the same token in {result['top1_agreement']:.1%} of {result['tokens']:,}"
    print(f"  likeliest    {same}")
    if result["left_out"]:
        print(f"left out: {result['left_out']}")


def _told(value: Json) -> str:
    if value["low"] is None:
        return f"{value['value']:.5f}"
    return f"{value['value']:.5f} ({value['low']:.5f} to {value['high']:.5f})"


def _forms(
    bits: Literal[8, 4], group: int, symmetric: bool, table_bits: Literal[8, 4]
) -> tuple[Form, Form]:
    """Of the blocks, and of tables and heads. Raises ConfigError for a group that is none, and for
    what contradicts 8 bits."""
    from tutelage.nn.form import WIDEST_GROUP, Form

    if not 2 <= group <= WIDEST_GROUP or group % 2:
        raise ConfigError(
            "numbers that share a scale come in even groups", field="--group", got=group,
            expected=f"an even number, 2 to {WIDEST_GROUP}",
        )  # fmt: skip
    if symmetric and bits == 8:
        raise ConfigError(
            "8 bits are always spread evenly around zero", field="--symmetric",
            expected="--bits 4", hint="leave --symmetric out",
        )  # fmt: skip
    if table_bits < bits:
        raise ConfigError(
            "tables and heads, which matter most, in fewer bits than the blocks",
            field="--table-bits", got=table_bits, expected="8, or --bits 4",
        )  # fmt: skip
    form = Form(bits, group, minimum=bits == 4 and not symmetric)
    return form, form if table_bits == bits else Form(table_bits, group)


def _refuse_quantized(checkpoint: Checkpoint) -> None:
    """Rounding twice loses more than either, and what the first lost would not be told."""
    from tutelage.checkpoints.quantized_file import KEY, is_quantized

    if is_quantized(checkpoint.config):
        raise RequestError(
            f"{checkpoint.source} is in few bits already", field="MODEL",
            got=checkpoint.config[KEY], expected="a model that is not",
            hint="name the model that it was made from",
        )  # fmt: skip


def _count(checkpoint: Checkpoint) -> int:
    from tutelage.models.catalogue import layout

    return sum(weight.count for weight in layout(checkpoint.config))


def _examples(checkpoint: Checkpoint, data: Path | None, count: int) -> tuple[list[Example], str]:
    """Texts, of each as much as the context holds, and what they are in words. Raises ConfigError
    for a number that is none, DataError where there are no texts."""
    from tutelage.checkpoints.reading import Reading
    from tutelage.data.retention import retention

    if count < 1:
        raise ConfigError("texts are needed to measure on", field="--texts", got=count, expected=1)
    found = retention(None if data is None else str(data), n=count)
    reading, tokenizer = Reading.of(checkpoint), checkpoint.tokenizer
    longest = reading.context or 256
    rows = [tokenizer.encode_row(text)[:longest] for text in found.texts]
    rows = [ids for ids in rows if len(ids) > FIRST]
    return [reading.scored(ids[:FIRST], ids[FIRST:]) for ids in rows], found.description


def _lost(
    checkpoint: Checkpoint,
    folder: Path,
    examples: Sequence[Example],
    measured_on: str,
    shared: Shared,
) -> Json:
    """What the folder's answers differ in. Null with the reason for a model that gives no text."""
    from tutelage.checkpoints.build import build
    from tutelage.checkpoints.open import open_checkpoint
    from tutelage.generate.agreement import apart
    from tutelage.machine.device import use_threads
    from tutelage.models.catalogue import spec_for

    if spec_for(checkpoint.config).family == "encoder":
        nothing = dict.fromkeys(("kl", "loss_rise", "perplexity", "top1_agreement"))
        return {**nothing, "reason": "an encoder gives no text to lose"}
    use_threads(shared.threads)
    before, after = build(checkpoint), build(open_checkpoint(str(folder)))
    each, report = [], progress(shared)
    for done, example in enumerate(examples):
        report("texts compared", done, len(examples))
        each.append(apart(before, after, example))
    return _summed(each, measured_on, shared.seed or 0)


def _summed(each: Sequence[Apart], measured_on: str, seed: int) -> Json:
    """Ratios of sums over texts, with intervals over texts. Raises WorkError for what is no finite
    number."""
    import numpy as np

    from tutelage.evaluate.statistics import measured
    from tutelage.score._metric import mean

    tokens = sum(one.n for one in each)
    before, after = (sum(getattr(one, name) for one in each) for name in ("before", "after"))
    if not math.isfinite(before + after):
        raise WorkError("the model gives no finite probabilities", field="MODEL", got=after)
    apart = np.array([[one.nats, one.n] for one in each])
    rise = np.array([[one.after - one.before, one.n] for one in each])
    return {
        "kl": measured(apart, mean, seed, limits=None),
        "loss_rise": measured(rise, mean, seed, limits=None),
        "perplexity": {"before": math.exp(before / tokens), "after": math.exp(after / tokens)},
        "top1_agreement": sum(one.same for one in each) / tokens,
        "tokens": tokens,
        "measured_on": measured_on,
    }
