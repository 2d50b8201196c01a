"""LoRA on a base of few bits: it fits that base alone and merges into it, and the base is small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from tests.parity.test_peft import IDS, our_logits, their_logits
from tests.parity.tuned import built, tuned
from tests.parity.witness import checkpoint_of, their_llama
from tutelage.checkpoints.build import build, hf_state
from tutelage.errors import DamagedError, SourceError
from tutelage.nn.form import Form
from tutelage.nn.linear import Linear
from tutelage.nn.quantized import QuantizedLinear
from tutelage.peft import METHODS
from tutelage.peft.layout import BASE
from tutelage.peft.open import form_of, method_of, open_adapter

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def checkpoint() -> Any:
    return checkpoint_of(their_llama(6))


def written(checkpoint: Any, folder: Path, **options: Any) -> Any:
    model, settings = tuned("qlora", checkpoint, size=0.2, **options)
    METHODS.get("qlora").write(model, checkpoint, settings, folder)
    return model


def widened(checkpoint: Any, form: Form) -> Any:
    """PEFT's side: transformers' model with the weights that these bits stand for."""
    model, theirs = build(checkpoint, form=form), their_llama(6)
    for path, module in list(model.named_modules()):
        if isinstance(module, QuantizedLinear):
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, module.plain(module.matrix(torch.float32)))
    theirs.load_state_dict(hf_state(model, checkpoint), strict=False)
    return theirs


@pytest.mark.parametrize("bits", [4, 8])
def test_peft_opens_it_on_the_same_base(bits: Any, checkpoint: Any, tmp_path: Path) -> None:
    model = written(checkpoint, tmp_path, bits=bits, group=8)
    theirs = peft.PeftModel.from_pretrained(widened(checkpoint, Form(bits, 8)), tmp_path).eval()
    expected = our_logits(model, IDS)
    assert (their_logits(theirs, IDS) - expected).abs().max() < 1e-4
    rounded = their_logits(widened(checkpoint, Form(bits, 8)), IDS)
    assert (rounded - their_logits(their_llama(6), IDS)).abs().max() > 1e-3


def test_it_is_opened_on_what_it_saw_and_merged_into_that(checkpoint: Any, tmp_path: Path) -> None:
    model = written(checkpoint, tmp_path, roles=("attn.q", "mlp.down"))
    assert method_of(tmp_path).name == "qlora" and form_of(tmp_path) == Form(4)
    again = build(checkpoint, form=form_of(tmp_path))
    open_adapter(again, checkpoint, tmp_path)
    assert (our_logits(again, IDS) - our_logits(model, IDS)).abs().max() < 1e-4
    kinds = {type(module) for module in again.modules()}
    assert Linear in kinds and QuantizedLinear not in kinds  # those without an update are wide too


@pytest.mark.parametrize("form", [None, Form(8), Form(4, 64)], ids=str)
def test_another_form_of_the_same_weights_is_refused(
    form: Form | None, checkpoint: Any, tmp_path: Path
) -> None:
    written(checkpoint, tmp_path)
    other = build(checkpoint, form=form)
    before = our_logits(other, IDS)
    with pytest.raises(SourceError, match="held otherwise") as caught:
        open_adapter(other, checkpoint, tmp_path)
    assert caught.value.field == str(tmp_path / BASE) and caught.value.hint
    assert caught.value.expected == "quantized to 4 bits in groups of 32"
    assert torch.equal(our_logits(other, IDS), before)


def test_an_adapter_of_wide_weights_does_not_merge_into_narrow_ones(
    checkpoint: Any, tmp_path: Path
) -> None:
    model, settings = tuned("lora", checkpoint, size=0.2)
    METHODS.get("lora").write(model, checkpoint, settings, tmp_path)
    with pytest.raises(SourceError, match="held otherwise") as caught:
        open_adapter(built("qlora", checkpoint), checkpoint, tmp_path)
    assert caught.value.expected == "not quantized"


@pytest.mark.parametrize("form", [{"bits": 3}, {"bits": 4, "group": 5}, {"group": 32}, [4], 4])
def test_a_damaged_form_is_named(form: object, checkpoint: Any, tmp_path: Path) -> None:
    written(checkpoint, tmp_path)
    note = json.loads((tmp_path / BASE).read_text())
    (tmp_path / BASE).write_text(json.dumps({**note, "form": form}))
    with pytest.raises(DamagedError) as caught:
        form_of(tmp_path)
    assert caught.value.field == str(tmp_path / BASE)


BUILD = """
import sys
from types import SimpleNamespace

import torch

from tutelage.checkpoints.build import build
from tutelage.machine.memory import Peak, release
from tutelage.models.catalogue import find_preset, layout
from tutelage.nn.form import Form


class Drawn:
    dtype = "bfloat16"

    def __init__(self, shape):
        self.shape = shape

    def load(self):
        return torch.randn(self.shape, dtype=torch.bfloat16)


torch.set_num_threads(1)
sizes = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 6}
config = {**find_preset("llama-tiny"), **sizes}
weights = {w.hf_name: Drawn(w.stored_shape) for w in layout(config)}
checkpoint = SimpleNamespace(source="drawn", config=config, weights=weights, identity={})
bits = int(sys.argv[1])
build(checkpoint, "bf16", form=Form(8))  # what torch loads once
release()
with Peak() as peak:
    model = build(checkpoint, "bf16", form=Form(bits) if bits else None)
print(peak.above, sum(w.count for w in layout(config)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is sampled, not measured")
@pytest.mark.parametrize(("bits", "each"), [(0, 2.0), (8, 8.5 / 8), (4, 4.5 / 8)])
def test_the_base_is_as_small_as_its_bits(bits: int, each: float, root: Path) -> None:
    """While it is built, too: no more than one wide matrix beside it."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(bits)],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    above, numbers = map(int, done.stdout.split())
    assert numbers > 39_000_000
    assert each * numbers * 0.95 < above < each * numbers * 1.1 + 15_000_000
