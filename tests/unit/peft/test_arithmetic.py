"""Sums of adapters: what they give is the sum of what each gives."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from tests.parity.test_peft import IDS, their_logits
from tests.parity.tuned import tuned
from tests.parity.witness import checkpoint_of, their_llama
from tutelage import store
from tutelage.checkpoints.build import build
from tutelage.errors import ConfigError, SourceError
from tutelage.models.catalogue import layout
from tutelage.peft import METHODS
from tutelage.peft.arithmetic import combine
from tutelage.peft.layout import BASE
from tutelage.peft.open import open_adapter

TERMS: list[dict[str, Any]] = [
    {"rank": 3, "alpha": 5.0},
    {"rank": 4, "rslora": True, "roles": ("attn.q", "mlp.down")},
    {"rank": 2, "layers": (1,)},
]


@pytest.fixture(scope="module")
def checkpoint() -> Any:
    return checkpoint_of(their_llama())


@pytest.fixture(scope="module")
def folders(checkpoint: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    found = []
    for number, options in enumerate(TERMS):
        model, settings = tuned("lora", checkpoint, size=0.1 * (1 + number), **options)
        found.append(tmp_path_factory.mktemp("term"))
        METHODS.get("lora").write(model, checkpoint, settings, found[-1])
    return found


def update(checkpoint: Any, folder: Path) -> dict[str, torch.Tensor]:
    """By how much the adapter changes every weight."""
    model, plain = build(checkpoint), build(checkpoint)
    open_adapter(model, checkpoint, folder)
    state, before = model.state_dict(), plain.state_dict()
    return {w.path: state[w.path] - before[w.path] for w in layout(checkpoint.config)}


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (1.0, -1.0, 0.0), (0.3, 2.0, -0.7)])
def test_the_sum_is_the_sum_of_updates(
    weights: tuple[float, ...], checkpoint: Any, folders: list[Path], tmp_path: Path
) -> None:
    combine(list(zip(folders, weights, strict=True)), tmp_path / "out")
    store.verify(tmp_path / "out")
    each = [update(checkpoint, folder) for folder in folders]
    for path, value in update(checkpoint, tmp_path / "out").items():
        expected = sum(w * one[path] for w, one in zip(weights, each, strict=True))
        assert (value - expected).abs().max() < 1e-5, path


def test_an_adapter_less_itself_is_the_base(
    checkpoint: Any, folders: list[Path], tmp_path: Path
) -> None:
    combine([(folders[0], 1.0), (folders[0], -1.0)], tmp_path / "out")
    assert all(v.abs().max() < 1e-6 for v in update(checkpoint, tmp_path / "out").values())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning:peft")
def test_peft_adds_up_the_same(checkpoint: Any, folders: list[Path], tmp_path: Path) -> None:
    theirs = peft.PeftModel.from_pretrained(their_llama(), folders[0], adapter_name="a")
    theirs.load_adapter(folders[1], adapter_name="b")
    theirs.add_weighted_adapter(["a", "b"], [0.5, 1.5], "sum", combination_type="cat")
    theirs.set_adapter("sum")
    expected = their_logits(theirs.eval(), IDS)
    combine([(folders[0], 0.5), (folders[1], 1.5)], tmp_path / "out")
    ours = peft.PeftModel.from_pretrained(their_llama(), tmp_path / "out").eval()
    assert (their_logits(ours, IDS) - expected).abs().max() < 1e-4


def test_what_cannot_be_added_up(checkpoint: Any, folders: list[Path], tmp_path: Path) -> None:
    other = checkpoint_of(their_llama(1))
    model, settings = tuned("lora", other)
    METHODS.get("lora").write(model, other, settings, tmp_path / "other")
    with pytest.raises(SourceError, match="two models"):
        combine([(folders[0], 1.0), (tmp_path / "other", 1.0)], tmp_path / "out")
    model, settings = tuned("ia3", checkpoint)
    METHODS.get("ia3").write(model, checkpoint, settings, tmp_path / "ia3")
    with pytest.raises(SourceError, match="another kind"):
        combine([(folders[0], 1.0), (tmp_path / "ia3", 1.0)], tmp_path / "out")
    for bad in ([], [(folders[0], float("nan"))]):
        with pytest.raises(ConfigError):
            combine(bad, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_model_in_other_bits_is_another_base(
    checkpoint: Any, folders: list[Path], tmp_path: Path
) -> None:
    """An update learned beside rounded weights makes up for their rounding too."""
    for bits in (4, 8):
        model, settings = tuned("qlora", checkpoint, bits=bits, rank=4)
        METHODS.get("qlora").write(model, checkpoint, settings, tmp_path / str(bits))
    for first, second in ((folders[0], tmp_path / "4"), (tmp_path / "4", tmp_path / "8")):
        with pytest.raises(SourceError, match="different bits") as caught:
            combine([(first, 1.0), (second, 1.0)], tmp_path / "out")
        assert caught.value.field == str(second / BASE)
        assert str(caught.value.got).endswith(f"quantized to {second.name} bits in groups of 32")
    combine([(tmp_path / "4", 0.5), (tmp_path / "4", 0.5)], tmp_path / "narrow")
    assert store.read_json(tmp_path / "narrow" / BASE)["form"]["bits"] == 4


def test_a_sum_is_made_on_what_any_of_its_terms_says(folders: list[Path], tmp_path: Path) -> None:
    silent = shutil.copytree(folders[0], tmp_path / "silent", ignore=lambda *_: [BASE])
    combine([(silent, 1.0), (folders[1], 1.0)], tmp_path / "out")
    said, wanted = (store.read_json(f / BASE) for f in (tmp_path / "out", folders[1]))
    assert said == wanted
    note = store.read_json(folders[1] / BASE)
    other = shutil.copytree(folders[1], tmp_path / "other", ignore=lambda *_: [store.MANIFEST])
    store.write_json(other / BASE, {**note, "template": "0" * 64})
    with pytest.raises(SourceError, match="two chat templates"):
        combine([(folders[1], 1.0), (other, 1.0)], tmp_path / "never")
