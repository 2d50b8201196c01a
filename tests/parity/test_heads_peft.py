"""A head in an adapter against PEFT: `modules_to_save` of either side opens on the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch

from tests.parity.heads import their_scores, theirs_of
from tests.parity.test_heads import ROWS, coder_of, examples_of, our_scores
from tests.parity.tuned import attached, stir
from tests.parity.witness import checkpoint_of
from tutelage.checkpoints.build import build
from tutelage.models.catalogue import layout
from tutelage.peft import METHODS, _head
from tutelage.peft._virtual import virtual_of
from tutelage.peft.open import read_adapter

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]
TARGETS = {"Llama": ["q_proj", "v_proj", "up_proj"], "Bert": ["query", "value"]}
KINDS = {"classification": "SEQ_CLS", "token-classification": "TOKEN_CLS"}


def checkpoint(theirs: Any) -> Any:
    found = checkpoint_of(theirs)
    found.tokenizer = SimpleNamespace(template=None)
    return found


def written(method: str, base: Any, folder: Path) -> Any:
    """A model tuned at random, its adapter and head in the folder."""
    ours = build(base)
    settings = attached(method, ours, base, seed=3)
    _head.attach(ours, layout(base.config))
    stir(ours, 0.1)
    METHODS.get(method).write(ours, base, settings, folder)
    _head.add(ours, base, folder)
    return ours


@pytest.mark.parametrize("stem", ["Llama", "Bert"])
@pytest.mark.parametrize("head", KINDS)
@pytest.mark.parametrize("method", ["lora", "dora", "ia3"])
def test_they_open_ours(stem: str, head: str, method: str, tmp_path: Path) -> None:
    theirs = theirs_of(stem, head)
    base = checkpoint(theirs)
    ours = written(method, base, tmp_path)
    tuned = peft.PeftModel.from_pretrained(theirs_of(stem, head), tmp_path).eval()
    coder = coder_of(base.config)
    with torch.inference_mode():
        found = our_scores(ours, examples_of(head, coder, ROWS))
    plain = their_scores(theirs, ROWS)
    expected = their_scores(tuned.base_model.model, ROWS)
    assert (found - expected).abs().max() < 1e-4
    assert (found - plain).abs().max() > 0.05


@pytest.mark.parametrize("stem", ["Llama", "Bert"])
@pytest.mark.parametrize("head", KINDS)
def test_we_open_theirs(stem: str, head: str, tmp_path: Path) -> None:
    theirs = theirs_of(stem, head)
    base = checkpoint(theirs)
    config = peft.LoraConfig(task_type=KINDS[head], r=4, target_modules=TARGETS[stem])
    tuned = peft.get_peft_model(theirs, config).eval()
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    tuned.save_pretrained(tmp_path)
    expected = their_scores(tuned.base_model.model, ROWS)
    ours = build(base)
    read_adapter(ours, base, tmp_path)
    with torch.inference_mode():
        found = our_scores(ours, examples_of(head, coder_of(base.config), ROWS))
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.parametrize("stem", ["Llama", "Bert"])
def test_an_update_of_the_table_below_a_head(stem: str, tmp_path: Path) -> None:
    """There are no scores of tokens that the table could be tied to."""
    base = checkpoint(theirs_of(stem, "classification"))
    ours = build(base)
    settings = attached("lora", ours, base, seed=3, roles=("embed", "attn.q"))
    _head.attach(ours, layout(base.config))
    stir(ours, 0.1)
    METHODS.get("lora").write(ours, base, settings, tmp_path)
    _head.add(ours, base, tmp_path)
    again = build(base)
    read_adapter(again, base, tmp_path)
    rows = examples_of("classification", coder_of(base.config), ROWS)
    with torch.inference_mode():
        assert (our_scores(again, rows) - our_scores(ours, rows)).abs().max() < 1e-5


def behind_virtual(ours: Any, base: Any, head: str) -> torch.Tensor:
    """Our scores of the rows, with the model's virtual tokens before each."""
    virtual = virtual_of(ours)
    coder, count = replace(coder_of(base.config), virtual=virtual), len(virtual.ids)
    rows = examples_of(head, coder, [[*virtual.ids, *row] for row in ROWS])
    if head == "token-classification":
        rows = [replace(row, at=row.at[count:], labels=row.labels[count:]) for row in rows]
    return our_scores(ours, rows)


def their_virtual(tuned: Any) -> torch.Tensor:
    """PEFT's scores of the rows, one at a time."""
    each = [tuned(input_ids=torch.tensor([row])).logits for row in ROWS]
    own = [
        one[0, -len(row) :] if one.dim() == 3 else one for one, row in zip(each, ROWS, strict=True)
    ]
    return torch.cat(own)


VIRTUAL = {
    "prompt-tuning": peft.PromptTuningConfig, "p-tuning": peft.PromptEncoderConfig,
    "prefix-tuning": peft.PrefixTuningConfig,
}  # fmt: skip


def of_theirs(method: str, stem: str, head: str, folder: Path) -> tuple[Any, Any, Any]:
    """A model that PEFT tuned at random, ours with its adapter, and the base."""
    config = VIRTUAL[method](task_type=KINDS[head], num_virtual_tokens=5)
    tuned = peft.get_peft_model(theirs_of(stem, head), config).eval()
    stir(tuned, 0.1)
    tuned.save_pretrained(folder)
    base = checkpoint(theirs_of(stem, head))
    ours = build(base)
    read_adapter(ours, base, folder)
    return tuned, ours, base


STEMS = pytest.mark.parametrize("stem", ["Llama", "GPT2", "Bert", "Roberta"])


@STEMS
@pytest.mark.parametrize("head", KINDS)
@pytest.mark.parametrize("method", VIRTUAL)
def test_they_open_our_virtual_tokens(stem: str, head: str, method: str, tmp_path: Path) -> None:
    """Beside them PEFT keeps the head under a shorter name, and an encoder's pooler has the first
    vector: a virtual token's, or where those are keys and values the first real token's."""
    base = checkpoint(theirs_of(stem, head))
    ours = written(method, base, tmp_path)
    tuned = peft.PeftModel.from_pretrained(theirs_of(stem, head), tmp_path).eval()
    with torch.inference_mode():
        found = behind_virtual(ours, base, head)
        assert (found - their_virtual(tuned)).abs().max() < 1e-4
    again = build(base)
    read_adapter(again, base, tmp_path)
    with torch.inference_mode():
        assert torch.equal(behind_virtual(again, base, head), found)


@STEMS
@pytest.mark.parametrize("head", KINDS)
@pytest.mark.parametrize("method", VIRTUAL)
def test_we_open_their_virtual_tokens(stem: str, head: str, method: str, tmp_path: Path) -> None:
    tuned, ours, base = of_theirs(method, stem, head, tmp_path)
    with torch.inference_mode():
        expected, plain = their_virtual(tuned), their_scores(theirs_of(stem, head), ROWS)
        assert (behind_virtual(ours, base, head) - expected).abs().max() < 1e-4
    assert (expected - plain).abs().max() > 0.01


@STEMS
@pytest.mark.parametrize("head", KINDS)
@pytest.mark.parametrize("method", ["prompt-tuning", "prefix-tuning"])
def test_gradients_of_virtual_tokens(stem: str, head: str, method: str, tmp_path: Path) -> None:
    """Packed rows that share what stands before them, against each row alone."""
    tuned, ours, base = of_theirs(method, stem, head, tmp_path)
    (learned,) = (p for n, p in ours.named_parameters() if n.endswith("maker.rows"))
    learned.requires_grad_(True)
    behind_virtual(ours, base, head).square().sum().backward()
    their_virtual(tuned).square().sum().backward()
    own = tuned.prompt_encoder["default"].embedding.weight
    assert learned.grad is not None and own.grad is not None
    assert own.grad.abs().max() > 1e-3
    assert (learned.grad - own.grad).abs().max() < 1e-4 * max(1.0, float(own.grad.abs().max()))
