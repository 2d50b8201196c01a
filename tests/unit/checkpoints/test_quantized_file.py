"""Folders in few bits: the numbers written, used where they lie, refused when malformed."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tutelage import store
from tutelage.backends.local import LocalLM
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.quantized_save import write_quantized
from tutelage.errors import DamagedError, SourceError
from tutelage.generate.step import Stepper
from tutelage.lm import Request
from tutelage.models.catalogue import layout
from tutelage.nn.form import Form
from tutelage.nn.quantized import Held, quantize

FORMS = [Form(8), Form(4), Form(4, 16, True)]
Q = "model.layers.0.self_attn.q_proj.weight"


def written(folder: Path, source: str = "preset:llama-tiny", form: Form = FORMS[2]) -> Path:
    with store.new_folder(folder) as inside:
        write_quantized(open_checkpoint(source, seed=3), inside, form)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("few") / "bits")


@pytest.mark.parametrize("source", ["preset:llama-tiny", "preset:gpt2-tiny", "preset:t5-tiny"])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_weights_are_the_nearest_of_their_form(source: str, form: Form, tmp_path: Path) -> None:
    before = open_checkpoint(source, seed=3)
    after = open_checkpoint(str(written(tmp_path / "q", source, form)))
    narrow = 0
    for weight in layout(before.config):
        wide, found = before.weights[weight.hf_name], after.weights[weight.hf_name]
        assert found.shape == wide.shape
        value = wide.load().float()
        inside = weight.role.startswith(("attn.", "mlp.", "cross."))
        held = form if inside else Form(8, form.group)
        if len(weight.shape) == 2 and (inside or weight.role in ("embed", "head")):
            value = value.t() if weight.transposed else value
            value = quantize(value, held).weight(torch.float32)
            value = value.t() if weight.transposed else value
            narrow += 1
        assert torch.equal(found.load().float(), value), weight.hf_name
    assert narrow > 4


@pytest.mark.parametrize("source", ["preset:llama-tiny", "preset:gpt2-tiny", "preset:t5-tiny"])
def test_a_model_computes_with_the_numbers_where_they_lie(source: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(written(tmp_path / "q", source)))
    narrow, wide = build(checkpoint, stored=True), build(checkpoint)
    held = [module for module in narrow.modules() if isinstance(module, Held)]
    assert len(held) > 4 and not any(isinstance(module, Held) for module in wide.modules())
    assert narrow.built_from == wide.built_from  # an adapter of the one fits the other
    lms = [LocalLM(checkpoint, model, exact=True) for model in (narrow, wide)]
    pairs = [("The tree", " is green and tall"), ("one", " two three")]
    first, second = ([score.log_probability for score in lm.score(pairs)] for lm in lms)
    assert first == pytest.approx(second, abs=1e-4)


def test_answers_are_those_of_the_wide_model(folder: Path) -> None:
    checkpoint, texts = open_checkpoint(str(folder)), []
    for stored in (True, False):
        lm = LocalLM(checkpoint, build(checkpoint, stored=stored), exact=True)
        assert any(isinstance(module, Held) for module in lm.model.modules()) is stored
        events = list(lm.generate([Request("The tree", 12)]))
        texts.append("".join(getattr(event, "text", "") for event in events))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(("dtype", "group"), [("bf16", 32), ("bf16", 16), ("fp32", 32)])
def test_few_bits_stay_where_the_kernel_reads_them(dtype: str, group: int, tmp_path: Path) -> None:
    """PyTorch alone would widen every matrix for every token."""
    few = written(tmp_path / "q", form=Form(4, group, True))
    narrow = Stepper.of(build(open_checkpoint(str(few)), dtype, stored=True)) is not None
    assert not narrow or (dtype, group) == ("bf16", 32)
    lm = LocalLM.open(str(few), dtype=dtype, threads=1)
    assert any(isinstance(module, Held) for module in lm.model.modules()) is narrow
    wide = LocalLM.open(str(few), dtype=dtype, threads=1, wide=True)
    assert not any(isinstance(module, Held) for module in wide.model.modules())


@pytest.mark.skipif(sys.platform != "linux", reason="mappings are read from /proc")
def test_the_file_is_mapped_and_not_copied(folder: Path) -> None:
    model = build(open_checkpoint(str(folder)), stored=True)
    assert model is not None
    assert str(folder / "model.safetensors") in Path("/proc/self/maps").read_text()


def test_lora_in_few_bits_takes_the_stored_numbers(folder: Path) -> None:
    """Rounding a second time would be another base; asked for fewer bits, there is one."""
    checkpoint = open_checkpoint(str(folder))
    wide = checkpoint.weights[Q].load()
    model = build(checkpoint, form=Form(4))
    assert torch.equal(model.blocks[0].attn.q.matrix(torch.float32), wide)
    assert model.form == Form(4) and not isinstance(model.embed.tokens, Held)
    eight = replace(checkpoint, weights={**checkpoint.weights})
    assert build(eight, form=Form(8)).blocks[0].attn.q.form == Form(4, 16, True)


Tensors = dict[str, torch.Tensor]


def _drop(part: str) -> Callable[[Tensors], Any]:
    return lambda tensors: tensors.pop(f"{Q}.{part}")


def _set(part: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], Any]:
    return lambda tensors: tensors.update({f"{Q}.{part}": make(tensors[f"{Q}.{part}"])})


MALFORMED: dict[str, Callable[[Tensors], Any]] = {
    "no scales": _drop("scales"),
    "no numbers": _drop("numbers"),
    "other rows": _set("numbers", lambda x: x[1:].clone()),
    "other groups": _set("numbers", lambda x: x[:, 1:].clone()),
    "flat": _set("numbers", lambda x: x.flatten()),
    "no groups": _set("numbers", lambda x: x[..., :0].clone()),
    "wide numbers": _set("numbers", lambda x: x.float()),
    "wide scales": _set("scales", lambda x: x.float()),
    "scales of other rows": _set("scales", lambda x: x[1:].clone()),
    "minimums of other groups": _set("minimums", lambda x: x[:, 1:].clone()),
    "minimums of 8 bits": lambda tensors: tensors.update(
        {f"{Q}.numbers": torch.zeros(*tensors[f"{Q}.scales"].shape[:2], 16, dtype=torch.int8)}
    ),
    "a weight that is none": lambda tensors: tensors.update(
        {"model.layers.77.mlp.up_proj.weight.numbers": torch.zeros(2, 2, 2, dtype=torch.uint8)}
    ),
    "a norm in few bits": lambda tensors: tensors.update(
        {
            "model.norm.weight.numbers": torch.zeros(2, 2, 8, dtype=torch.uint8),
            "model.norm.weight.scales": torch.zeros(2, 2, 1, dtype=torch.float16),
        }
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_tensors_are_refused_by_name(name: str, folder: Path, tmp_path: Path) -> None:
    bad = shutil.copytree(folder, tmp_path / "bad")
    (bad / store.MANIFEST).unlink()
    tensors = load_file(bad / "model.safetensors")
    MALFORMED[name](tensors)
    save_file(tensors, bad / "model.safetensors")
    with pytest.raises(SourceError, match="cannot be opened as weights in few bits") as caught:
        open_checkpoint(str(bad))
    assert "weight" in str(caught.value.field)


def test_another_programs_few_bits_are_refused(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    (other / store.MANIFEST).unlink()
    config = json.loads((other / "config.json").read_text())
    config["quantization_config"]["quant_method"] = "gptq"
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(SourceError, match=r"config\.json"):
        open_checkpoint(str(other))


def test_a_changed_file_is_damaged(folder: Path, tmp_path: Path) -> None:
    bad = shutil.copytree(folder, tmp_path / "bad")
    data = bytearray((bad / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (bad / "model.safetensors").write_bytes(bytes(data))
    with pytest.raises(DamagedError):
        open_checkpoint(str(bad))
