"""The base an adapter was made on is known again, and another is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import pytest

from tests.parity.test_peft import ours_tuned
from tests.parity.witness import checkpoint_of, their_llama
from tests.unit.checkpoints import tiny
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.errors import DamagedError, SourceError
from tutelage.peft.actions import lora as actions
from tutelage.peft.layout import BASE


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    checkpoint = checkpoint_of(their_llama())
    model, settings = ours_tuned(checkpoint, rank=4)
    actions.write(model, checkpoint, settings, tmp_path / "adapter")
    return tmp_path / "adapter"


def read(adapter: Path, seed: int = 0, dtype: str = "fp32", **about: Any) -> None:
    checkpoint = checkpoint_of(their_llama(seed))
    vars(checkpoint).update(about)
    actions.read(build(checkpoint, dtype), checkpoint, adapter)


def test_another_base_of_the_same_shape_is_refused_and_both_are_named(adapter: Path) -> None:
    read(adapter)
    read(adapter, dtype="bf16")
    with pytest.raises(SourceError, match="another model") as caught:
        read(adapter, seed=1, source="preset:other", identity={"seed": 7})
    assert caught.value.field == str(adapter / BASE)
    assert str(caught.value.got).startswith("preset:other with --seed 7 (weights ")
    assert str(caught.value.expected).startswith("test (weights ")
    assert "test" in str(caught.value.hint)


def test_a_quantized_copy_is_another_base_and_the_way_out_is_named(tmp_path: Path) -> None:
    """Numbers rounded to 16 bits are the same model; to 8 and fewer they are not."""
    model = tiny.tiny_llama()
    kinds = gguf.GGMLQuantizationType
    sources = {
        kind: open_checkpoint(str(tiny.write_gguf(tmp_path / f"{kind.name}.gguf", model, kind)))
        for kind in (kinds.F32, kinds.BF16, kinds.Q8_0, kinds.Q4_0)
    }
    made_on = sources[kinds.F32]
    tuned, settings = ours_tuned(made_on, rank=4)
    actions.write(tuned, made_on, settings, tmp_path / "adapter")
    for kind, checkpoint in sources.items():
        base = build(checkpoint)
        if kind in (kinds.F32, kinds.BF16):
            actions.read(base, checkpoint, tmp_path / "adapter")
            continue
        with pytest.raises(SourceError, match="another model") as caught:
            actions.read(base, checkpoint, tmp_path / "adapter")
        assert f"{kind.name}.gguf" in str(caught.value.got)
        hint = str(caught.value.hint)
        assert f"name the model it was made on: {made_on.source}" in hint
        assert "tune on the copy itself" in hint and "merge the adapter where it was made" in hint


def test_an_adapter_that_does_not_say_is_attached(adapter: Path) -> None:
    (adapter / BASE).unlink()
    read(adapter, seed=1)


@pytest.mark.parametrize("text", ["[1]", "{}", '{"source": "x"}', "{", '"x"'])
def test_a_damaged_note_is_named(adapter: Path, text: str) -> None:
    (adapter / BASE).write_text(text)
    with pytest.raises(DamagedError) as caught:
        read(adapter)
    assert caught.value.field == str(adapter / BASE)


def test_another_chat_template_is_refused(adapter: Path) -> None:
    """What was trained would not be what is served."""
    other = SimpleNamespace(template="{{ messages }}")
    with pytest.raises(SourceError, match="another chat template") as caught:
        read(adapter, tokenizer=other)
    assert caught.value.field == str(adapter / BASE)
    assert caught.value.expected == "a model without a chat template"


def test_the_note_is_three_names(adapter: Path, tmp_path: Path) -> None:
    note = json.loads((adapter / BASE).read_text())
    assert set(note) == {"source", "weights", "template"} and len(note["weights"]) == 64
    copy = shutil.copytree(adapter, tmp_path / "copy")
    (copy / BASE).write_text(json.dumps({**note, "source": "moved elsewhere"}))
    read(copy)
