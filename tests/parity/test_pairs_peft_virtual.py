"""Virtual tokens of an encoder-decoder against PEFT: vectors before what the encoder reads, keys
and values before what the decoder says. Either opens the other's; answers and gradients agree."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from tests.parity.pairs import padded
from tests.parity.test_pairs_peft import bases, rows
from tests.parity.test_t5 import t5_twins
from tests.parity.tuned import attached, behind, stir, tuned
from tests.parity.witness import checkpoint_of
from tutelage import store
from tutelage.checkpoints.build import build
from tutelage.data.pack import Example, memory_of, pack
from tutelage.errors import ConfigError
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.models.forward import forward
from tutelage.objectives import clm
from tutelage.peft import METHODS
from tutelage.peft._method import Method
from tutelage.peft._virtual import made_rows, random_words, virtual_of
from tutelage.peft.open import method_of, open_adapter
from tutelage.train.loop import loss_of

# What peft and transformers tell each other about their own names is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]

KINDS = ["v1.0", "v1.1", "bart"]
CASES: list[tuple[str, dict[str, Any]]] = [
    ("prompt-tuning", {"tokens": 9}),
    ("prompt-tuning", {"tokens": 9, "start": "random"}),
    ("p-tuning", {"tokens": 9}),
    ("prefix-tuning", {"tokens": 9}),
    ("prefix-tuning", {"tokens": 9, "hidden": 12}),
]
COMMON: dict[str, Any] = {"task_type": "SEQ_2_SEQ_LM", "num_virtual_tokens": 9}
THEIRS: list[tuple[str, Any]] = [
    ("prompt-tuning", peft.PromptTuningConfig(**COMMON)),
    ("prompt-tuning", peft.PromptTuningConfig(**COMMON, num_transformer_submodules=1)),
    ("p-tuning", peft.PromptEncoderConfig(**COMMON, encoder_hidden_size=24)),
    ("prefix-tuning", peft.PrefixTuningConfig(**COMMON)),
    (
        "prefix-tuning",
        peft.PrefixTuningConfig(**COMMON, prefix_projection=True, encoder_hidden_size=12),
    ),
]


def examples(model: Any) -> list[Example]:
    found = [Example.pair(s, t, model.start) for s, t in zip(*rows(), strict=True)]
    return behind(model, found)


def ours_of(model: Any) -> torch.Tensor:
    """Scores of every token of the rows."""
    each = examples(model)
    with torch.inference_mode():
        return model.logits(forward(model, pack(each), memory_of(each)))


def theirs_of(theirs: Any) -> torch.Tensor:
    """The same; their decoder is given no mask, as rows are padded behind what is compared."""
    ids, mask, _ = padded(rows()[0], "right")
    labels, _, places = padded(rows()[1], "right")
    start = theirs.config.decoder_start_token_id
    read = torch.cat([torch.full((len(ids), 1), start), labels[:, :-1]], dim=1)
    with torch.inference_mode():
        logits = theirs(input_ids=ids, attention_mask=mask, decoder_input_ids=read).logits
    return torch.cat([logits[line, place] for line, place in enumerate(places)])


def near(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() < 1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_they_open_ours(name: str, options: dict[str, Any], kind: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(bases(kind)[0])
    method: Method = METHODS.get(name)
    model, settings = tuned(name, checkpoint, size=0.2, **options)
    method.write(model, checkpoint, settings, tmp_path)
    assert store.read_json(tmp_path / "adapter_config.json")["task_type"] == "SEQ_2_SEQ_LM"
    theirs = peft.PeftModel.from_pretrained(bases(kind)[0], tmp_path).eval()
    assert isinstance(theirs, peft.PeftModelForSeq2SeqLM)
    found = ours_of(model)
    assert near(theirs_of(theirs), found)
    assert (theirs_of(bases(kind)[0]) - found).abs().max() > 0.05
    again = build(checkpoint)
    open_adapter(again, checkpoint, tmp_path)
    assert torch.equal(ours_of(again), found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", range(len(THEIRS)))
def test_we_open_theirs(at: int, kind: str, tmp_path: Path) -> None:
    name, config = THEIRS[at]
    theirs = peft.get_peft_model(bases(kind)[0], copy.deepcopy(config)).eval()
    stir(theirs, seed=1)
    theirs.save_pretrained(tmp_path)
    checkpoint = checkpoint_of(bases(kind)[0])
    ours = build(checkpoint)
    before = ours_of(ours)
    open_adapter(ours, checkpoint, tmp_path)
    assert method_of(tmp_path).name == name and len(virtual_of(ours).ids) == 9
    assert near(ours_of(ours), theirs_of(theirs))
    assert (before - ours_of(ours)).abs().max() > 0.05


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["prompt-tuning", "prefix-tuning"])
def test_gradients_of_virtual_tokens(name: str, kind: str) -> None:
    """Packed rows against padded ones."""
    checkpoint = checkpoint_of(bases(kind)[0])
    model, _ = tuned(name, checkpoint, size=0.2, tokens=9)
    (learned,) = (p for p in model.parameters() if p.requires_grad)
    config = copy.deepcopy(next(config for one, config in THEIRS if one == name))
    deep, layers = name == "prefix-tuning", model.layers
    if deep:  # of so many each layer has two, the second for attention to the encoder
        config.num_layers = 2 * layers
    theirs = peft.get_peft_model(bases(kind)[0], config).eval()
    own = theirs.prompt_encoder["default"].embedding.weight
    own.data[:9].view(9, layers if deep else 1, 1 + deep, -1)[:, :, 0].copy_(
        learned.detach().view(9, layers if deep else 1, -1)
    )
    found = loss_of(model, examples(model), clm.loss)
    (found.total / found.count).backward()
    ids, mask, _ = padded(rows()[0], "right")
    wanted, seen, _ = padded(rows()[1], "right")
    labels = wanted.masked_fill(seen == 0, -100)
    theirs(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
    assert learned.grad is not None and own.grad is not None
    expected = own.grad[:9].view(9, layers if deep else 1, 1 + deep, -1)[:, :, 0].reshape(9, -1)
    assert (learned.grad - expected).abs().max() < 1e-5 and expected.abs().max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["prompt-tuning", "p-tuning", "prefix-tuning"])
def test_answers_with_a_cache_equal_full_passes(name: str, kind: str) -> None:
    """Several at once in few slots: what each token follows is what its virtual ones are too."""
    checkpoint = checkpoint_of(bases(kind)[0])
    model, _ = tuned(name, checkpoint, size=0.5, tokens=5)
    model.eval()
    found = virtual_of(model)
    begins = (*found.ids, model.start) if found.deep else (model.start,)
    sources = [tuple(s) if found.deep else (*found.ids, *s) for s in rows()[0]]
    wanted = [greedy(model, source, begins, 10) for source in sources]
    jobs = [Job(source, 10, frozenset(), begins=begins) for source in sources]
    for engine in (Engine(model), Engine(model, slots=2), Engine(model, exact=True)):
        said: list[list[int]] = [[] for _ in jobs]
        for token in engine.run(jobs):
            if token.token is not None:
                said[token.index].append(token.token)
        assert said == wanted


def greedy(model: Any, source: tuple[int, ...], begins: tuple[int, ...], count: int) -> list[int]:
    ids = list(begins)
    for _ in range(count):
        row = [Example.read(ids, source)]
        with torch.inference_mode():
            ids.append(int(model.logits(forward(model, pack(row), memory_of(row)))[0].argmax()))
    return ids[len(begins) :]


@pytest.mark.parametrize("kind", KINDS)
def test_a_prefix_of_words_is_what_their_tokens_would_be(kind: str) -> None:
    """Before anything is learned, virtual tokens have the words' keys and values, as a decoder has
    them whose encoder read the same words."""
    checkpoint = checkpoint_of(bases(kind)[0])
    model = build(checkpoint)
    attached("prefix-tuning", model, checkpoint, seed=5, tokens=9)
    words = random_words(build(checkpoint), 9, torch.Generator().manual_seed(5)).tolist()
    plain = build(checkpoint)
    row = Example.read((*words, plain.start), tuple(words))
    virtual = Example.read((*virtual_of(model).ids, plain.start), tuple(words))
    with torch.inference_mode():
        one, other = (
            m.logits(forward(m, pack([r]), memory_of([r])))
            for m, r in ((plain, row), (model, virtual))
        )
    assert near(one, other)


@pytest.mark.parametrize("name", ["prompt-tuning", "p-tuning", "prefix-tuning"])
def test_limits_of_the_context(name: str) -> None:
    """BART's 64 positions: of either stack its own, of which virtual tokens take their part."""
    checkpoint = checkpoint_of(bases("bart")[0])
    with pytest.raises(ConfigError, match="leave room") as caught:
        attached(name, build(checkpoint), checkpoint, tokens=64)
    assert caught.value.expected == "1 to 63"
    model, _ = tuned(name, checkpoint, size=0.2, tokens=9)
    found = virtual_of(model)
    source = (5,) * (64 if found.deep else 55)
    begins = (*found.ids, model.start) if found.deep else (model.start,)
    room = 55 if found.deep else 64
    row = Example.pair(source if found.deep else (*found.ids, *source), (7,) * room, begins)
    with torch.inference_mode():
        assert forward(model, pack([row]), memory_of([row])).isfinite().all()
    tokens = [*Engine(model).run([Job(row.memory, room, frozenset(), begins=begins)])]
    assert len(tokens) == room


def test_of_an_even_number_of_layers_theirs_gives_two_the_same(tmp_path: Path) -> None:
    """Four layers take eight pairs of keys and values in turn, two each: the first has what the
    third has."""
    theirs = t5_twins("deep decoder", seed=3)[0]
    checkpoint = checkpoint_of(theirs)
    config = peft.PrefixTuningConfig(**COMMON, num_layers=4)
    theirs = peft.get_peft_model(theirs, config).eval()
    stir(theirs, seed=1)
    theirs.save_pretrained(tmp_path)
    ours = build(checkpoint)
    open_adapter(ours, checkpoint, tmp_path)
    assert near(ours_of(ours), theirs_of(theirs))
    first, second, third, fourth = made_rows(ours).chunk(4, dim=1)
    assert torch.equal(first, third) and torch.equal(second, fourth)
    assert not torch.equal(first, second)
