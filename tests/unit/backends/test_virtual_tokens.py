"""Adapters of virtual tokens behind the seam: up to the whole context, beside other adapters, and
where an encoder reads the prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.train.rows import SOURCE, config, rows_of
from tutelage.backends.adapters import with_adapters
from tutelage.backends.local import LocalLM
from tutelage.errors import RequestError
from tutelage.lm import Request, complete
from tutelage.train.tune import tune

WHERE: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "threads": 1}
PAIR = "preset:bart-tiny"
VIRTUAL = ["prompt-tuning", "p-tuning", "prefix-tuning"]
RATES = {"lora": 0.05, "prompt-tuning": 0.3, "p-tuning": 0.03, "prefix-tuning": 0.3}


def tuned(out: Path, method: str, source: str = PAIR, **options: Any) -> Path:
    settings = config(method=method, learning_rate=RATES[method], options=options)
    tune(source, rows_of(), settings, out, **WHERE)
    return out


def shared(source: str, adapter: Path) -> LocalLM:
    lm = LocalLM.open(source, adapter=adapter, **WHERE)
    lm.share(20_000_000)
    return lm


@pytest.mark.parametrize("source", [SOURCE, PAIR])
@pytest.mark.parametrize("method", VIRTUAL)
def test_a_shared_batch_holds_the_whole_context(method: str, source: str, tmp_path: Path) -> None:
    """Virtual tokens and the longest prompt beside them, or the longest answer."""
    out = tuned(tmp_path / "out", method, source, tokens=100)
    together, alone = shared(source, out), LocalLM.open(source, adapter=out, **WHERE)
    deep, pair = method == "prefix-tuning", source == PAIR
    longest, answer = (512, 412) if deep and pair else (412, 512 if pair else 12)
    own = longest - len(alone.renderer.prompt_ids("")) - (0 if pair else 12)
    assert alone.count_tokens("x" * own) == longest - (0 if pair else 12)
    ask = [Request("x" * own, 600, min_new_tokens=600)]
    for lm in (together, alone):
        (done,) = complete(lm, ask)
        assert (done.completion_tokens, done.finish_reason) == (answer, "length")
        with pytest.raises(RequestError, match="does not fit") as caught:
            complete(lm, [Request("x" * (own + (1 if pair else 12)), 1)])
        assert (deep and pair) or "100 virtual tokens" in str(caught.value.hint)
    assert complete(together, ask)[0].tokens == complete(alone, ask)[0].tokens


def test_adapters_of_an_encoder_decoder_share_their_base(tmp_path: Path) -> None:
    """Vectors before the encoder's rows, keys before the decoder's, low ranks and the base in one
    batch: each answers as if it were alone."""
    source = "preset:flan-t5-tiny"
    folders = {name: tuned(tmp_path / name, name, source) for name in RATES}
    models = with_adapters(source, folders, **WHERE)
    requests = [Request(f"Backwards: {word}", 8, min_new_tokens=8) for word in ("red", "teal")]
    said = {name: [one.tokens for one in complete(lm, requests)] for name, lm in models.items()}
    scored = {name: lm.score([("Backwards: red", "der")]) for name, lm in models.items()}
    for name, folder in [(None, None), *folders.items()]:
        alone = LocalLM.open(source, adapter=folder, **WHERE)
        assert said[name] == [one.tokens for one in complete(alone, requests)], name
        (mine,), (wanted,) = scored[name], alone.score([("Backwards: red", "der")])
        assert mine.log_probability == pytest.approx(wanted.log_probability, abs=1e-4)
    assert len({one[0].log_probability for one in scored.values()}) == len(models)


@pytest.mark.parametrize("method", VIRTUAL)
def test_an_answer_in_an_exact_batch_is_that_alone(method: str, tmp_path: Path) -> None:
    out = tuned(tmp_path / "out", method)
    lm = LocalLM.open(PAIR, adapter=out, exact=True, device="cpu", threads=1)
    requests = [Request(word, 6, min_new_tokens=6) for word in ("red", "a longer one", "x")]
    together = [one.tokens for one in complete(lm, requests)]
    assert together == [complete(lm, [one])[0].tokens for one in requests]
    assert torch.get_num_threads() == 1
