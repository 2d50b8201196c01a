"""Keys and values in 8 bits: what they lose, and that the C++ step reads what PyTorch reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.parity.test_generation import answers, prompts_of
from tests.parity.witness import checkpoint_of, pair, their_llama
from tests.unit.generate.test_step import SHAPES
from tests.unit.serve.serving import eventually
from tutelage.backends.local import LocalLM
from tutelage.backends.open import open_lm
from tutelage.checkpoints.build import build
from tutelage.data.pack import Example
from tutelage.errors import ConfigError
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.generate.rows import Rows
from tutelage.generate.step import Stepper
from tutelage.kernels.attend import attend_own
from tutelage.kernels.library import library
from tutelage.models.transformer import Transformer
from tutelage.nn.cache import STEP, Cache, narrowed

built = pytest.mark.skipif(library() is None, reason="the library was not built")


def narrow(model: Transformer) -> Transformer:
    model.narrow_cache = True
    return model


def test_numbers_are_the_nearest_of_their_scale() -> None:
    x = torch.randn(50, 3, 16, generator=torch.Generator().manual_seed(1)) * 7
    x[4, 1] = 0
    numbers, scales = narrowed(x)
    assert (numbers.abs().amax(-1) == 127).sum() == 149 and not numbers[4, 1].any()
    assert ((numbers * scales[..., None] - x).abs() <= scales[..., None] * 0.5001).all()
    assert torch.equal(narrowed(x.bfloat16())[0], narrowed(x.bfloat16().float())[0])


def filled(paged: bool = True, dtype: torch.dtype = torch.float32) -> tuple[Cache, torch.Tensor]:
    """Two rows, and the keys that were written."""
    cache = Cache(1, 2, 3 * STEP, (2, 16), torch.empty(0, dtype=dtype), 6 if paged else None, True)
    if paged:
        cache.table[:] = torch.tensor([[3, 0, 4], [5, 2, 1]])
    drawn = torch.Generator().manual_seed(2)
    keys = torch.randn(2, 3 * STEP, 2, 16, generator=drawn).to(dtype)
    for slot in range(2):
        places = torch.arange(3 * STEP)
        block, offset = cache.places(torch.full_like(places, slot), places)
        cache.write(0, block, offset, keys[slot], -keys[slot])
    return cache, keys


@pytest.mark.parametrize("paged", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_written_is_read(paged: bool, dtype: torch.dtype) -> None:
    cache, keys = filled(paged, dtype)
    found, values = cache.gathered(0, torch.tensor([0, 1]), 70)
    assert found.dtype == dtype and torch.equal(values, -found)
    off = (found.transpose(1, 2).float() - keys[:, :70].float()).abs()
    assert 0 < off.max() < keys.abs().max() / 127


def test_a_copied_block_and_kept_rows_keep_their_scales() -> None:
    cache, _ = filled()
    before = cache.gathered(0, torch.tensor([1]), STEP)[0]
    cache.copy_block(5, 3)
    assert torch.equal(cache.gathered(0, torch.tensor([0]), STEP)[0], before)
    plain, _ = filled(paged=False)
    second = plain.gathered(0, torch.tensor([0, 1]), STEP)[0][1]
    plain.keep(torch.tensor([1]))
    assert torch.equal(plain.gathered(0, torch.tensor([0]), STEP)[0][0], second)


def test_its_size_is_said() -> None:
    cache = Cache(3, 4, 33, (2, 64), torch.empty(0, dtype=torch.bfloat16), None, True)
    parts = (cache.keys, cache.values, cache.key_scales, cache.value_scales)
    total = sum(part.nbytes for part in parts if part is not None)
    assert total == 4 * Cache.bytes_per_slot(3, 33, (2, 64), 2, narrow=True)
    assert total / 4 / Cache.bytes_per_slot(3, 33, (2, 64), 2) == 68 / 128


@built
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_over_8_bits_is_that_over_what_they_stand_for(dtype: torch.dtype) -> None:
    cache, _ = filled(dtype=dtype)
    q = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(3)).to(dtype)
    lengths = torch.tensor([70, 1])
    kept = cache.of_layer(0)
    found = attend_own(q, *kept[:2], cache.table, lengths, kept[2:])
    for row in range(2):
        keys, values = cache.gathered(0, torch.tensor([row]), int(lengths[row]))
        keys, values = (x[0].float().repeat_interleave(3, 0) for x in (keys, values))
        weights = (torch.einsum("hd,hsd->hs", q[row].float(), keys) / 4).softmax(-1)
        expected = torch.einsum("hs,hsd->hd", weights, values)
        assert (found[row].float() - expected).abs().max() < (
            1e-5 if dtype == torch.float32 else 0.02
        )


@built
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1, 6, 7, 64])
def test_a_step_equals_pytorchs(rows: int, shape: str) -> None:
    """A number that lies between two whole ones may fall to either side: those are few, and where
    there are none scores are equal."""
    model = build(checkpoint_of(their_llama(3, **SHAPES[shape])))
    assert isinstance(model, Transformer)
    (ours, kept), (plain, other) = (
        stepped(narrow(model), rows, kernel) for kernel in (True, False)
    )
    apart = (kept.int() - other.int()).abs().transpose(0, 2).flatten(1)
    assert apart.max() <= 1 and (apart > 0).float().mean() < 1e-3
    alike = (apart == 0).all(1)
    assert (ours - plain)[alike].abs().max() < 1e-4 and alike.float().mean() > 0.5
    model.narrow_cache = False
    assert (stepped(model, rows, True)[0] - ours).abs().max() > 1e-4, "nothing was narrowed"


def stepped(model: Transformer, rows: int, kernel: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the third token after a prompt, all three read by the same path, and what is kept
    then, [2 L B K S D]."""
    made = Rows.of(model, rows, STEP * 2)
    if not kernel:
        made.stepper = None
    assert (made.stepper is None) != kernel
    drawn = torch.Generator().manual_seed(rows)
    ids = torch.randint(0, 90, (rows, 40), generator=drawn).tolist()
    slots = list(range(rows))
    with torch.inference_mode():
        made.read(slots, [Example.read(tuple(row[:37])) for row in ids])
        for place in range(37, 40):
            tokens = [row[place] for row in ids]
            if made.stepper is None:
                logits = model.logits(made.step_hidden(slots, tokens))
                continue
            logits = made.stepper.step(made.cache, made.tensor(slots), made.tensor(tokens))
            made.cache.lengths += 1
    return logits, torch.stack([made.cache.keys, made.cache.values])


@pytest.mark.usefixtures("decoding")
def test_in_exact_answers_do_not_depend_on_company() -> None:
    model = narrow(pair(7, initializer_range=0.1)[1])
    try:
        jobs = [Job(p, 15, frozenset({5})) for p in prompts_of([3, 20, 41, 9, 70, 5, 33, 8], 12)]
        alone = [answers(Engine(model, exact=True), [job])[0] for job in jobs]
        assert answers(Engine(model, exact=True), jobs) == alone
    finally:
        model.narrow_cache = False


def test_about_twice_the_rows_have_room() -> None:
    held = [
        LocalLM.open("preset:llama-tiny", device="cpu", dtype="bf16", kv_cache_dtype=kind)
        for kind in ("auto", "int8")
    ]
    wide, half = (lm.engine.bytes_of(1024) for lm in held)
    width = held[0].model.heads.width
    assert half / wide == (width + 4) / (2 * width)


def test_a_model_that_keeps_none_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        LocalLM.open("preset:bert-tiny", device="cpu", kv_cache_dtype="int8")
    assert caught.value.field == "--kv-cache-dtype"


@built
def test_the_kernel_takes_it() -> None:
    lm = LocalLM.open("preset:llama-tiny", device="cpu", dtype="fp32", kv_cache_dtype="int8")
    assert Stepper.of(lm.model) is not None and lm.model.narrow_cache


def test_what_the_blocks_take_is_told() -> None:
    lm = LocalLM.open("preset:llama-tiny", device="cpu", dtype="bf16", kv_cache_dtype="int8")
    lm.share(cache_bytes=1_000_000)
    eventually(lambda: bool(lm.counts()))
    found = lm.counts()
    assert lm.engine.loop is not None
    lm.engine.loop.close()
    assert 0.9e6 < found["cache_bytes"] <= 1e6
    assert found["cache_bytes"] == found["blocks"] * lm.engine.bytes_of(STEP)


def test_where_nothing_is_kept_here_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rules.jsonl").write_text('{"match": "x", "reply": "y"}\n')
    with pytest.raises(ConfigError) as caught:
        open_lm(f"scripted:{tmp_path / 'rules.jsonl'}", kv_cache_dtype="int8")
    assert caught.value.field == "--kv-cache-dtype"
