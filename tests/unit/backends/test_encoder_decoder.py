"""A T5 and a BART behind the seam: the same texts as transformers from the saved folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from tutelage.backends.local import LocalLM
from tutelage.checkpoints.build import hf_state
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.errors import RequestError
from tutelage.lm import Message, Request, complete

PROMPTS = ["hello", "a longer prompt, with more to read", "x", "1 2 3"]


def stirred(source: str) -> LocalLM:
    """A model with weights that answer differently to different prompts."""
    lm = LocalLM.open(source, device="cpu", dtype="fp32", threads=1, seed=5)
    torch.manual_seed(0)
    for parameter in lm.model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return lm


@pytest.mark.parametrize("name", ["t5-tiny", "flan-t5-tiny", "bart-tiny"])
def test_text_and_scores_equal_transformers_from_the_saved_folder(
    name: str, tmp_path: Path
) -> None:
    lm = stirred(f"preset:{name}")
    save_folder(hf_state(lm.model, lm.checkpoint), lm.checkpoint, tmp_path / "model")
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    again = LocalLM.open(str(tmp_path / "model"), device="cpu", dtype="fp32", threads=1)
    found = complete(again, [Request(prompt, 16) for prompt in PROMPTS])
    assert len({one.tokens for one in found}) > 1
    for prompt, one in zip(PROMPTS, found, strict=True):
        read = tokenizer(prompt, return_tensors="pt")
        assert one.prompt_tokens == read["input_ids"].shape[1]
        made = theirs.generate(**read, max_new_tokens=16, do_sample=False)[0, 1:]
        kept = [id for id in made.tolist() if id != tokenizer.eos_token_id]
        assert list(one.tokens) == kept[: len(one.tokens)]
        assert one.text == tokenizer.decode(list(one.tokens), skip_special_tokens=True)
        (score,) = again.score([(prompt, "yes")])
        labels = tokenizer("yes", return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            logits = theirs(**read, labels=labels).logits[0, :-1]
        values = torch.log_softmax(logits, -1).gather(1, labels[0, :-1, None])
        assert score.tokens == 3
        assert score.log_probability == pytest.approx(float(values.sum()), abs=1e-3)


def test_exact_answers_are_the_same_alone() -> None:
    lm = stirred("preset:flan-t5-tiny")
    exact = LocalLM(lm.checkpoint, lm.model, exact=True)
    requests = [Request(prompt, 12) for prompt in PROMPTS]
    together = complete(exact, requests)
    for request, found in zip(requests, together, strict=True):
        (alone,) = complete(exact, [request])
        assert (alone.tokens, alone.text) == (found.tokens, found.text)
    pairs = [(prompt, "some text") for prompt in PROMPTS]
    assert exact.score(pairs) == [exact.score([pair])[0] for pair in pairs]


def test_stop_texts_and_limits() -> None:
    lm = stirred("preset:bart-tiny")
    assert lm.capabilities().context == 512 and lm.capabilities().score
    (whole,) = complete(lm, [Request("hello", 600)])
    assert whole.completion_tokens <= 512
    (free,) = complete(lm, [Request("hello", 24)])
    stop = free.text[3:5]
    (cut,) = complete(lm, [Request("hello", 24, stop=(stop,))])
    assert cut.text == free.text[: free.text.find(stop)] and cut.finish_reason == "stop"
    with pytest.raises(RequestError, match="does not fit") as caught:
        complete(lm, [Request("x" * 512, 1)])
    assert caught.value.expected == "1 to 512"
    complete(lm, [Request("x" * 511, 1)])
    with pytest.raises(RequestError, match="do not fit"):
        lm.score([("x", "y" * 513)])


def test_a_model_without_limit_reads_and_scores_any_length() -> None:
    lm = LocalLM.open("preset:t5-tiny", device="cpu", dtype="fp32", threads=1)
    assert lm.capabilities().context is None
    (found,) = complete(lm, [Request("x" * 900, 2)])
    assert found.prompt_tokens == 901
    assert lm.score([("x" * 700, "y" * 600)])[0].tokens == 600


def test_messages_are_read_without_a_template() -> None:
    lm = LocalLM.open("preset:t5-tiny", device="cpu", dtype="fp32", threads=1)
    assert not lm.capabilities().chat
    assert lm.count_tokens((Message("user", "hello"),)) == lm.count_tokens("hello") == 6


def test_a_prefix_decoder_is_asked_as_it_was_trained(tmp_path: Path) -> None:
    """What its config.json says changes what it answers, and stays in a folder that is saved."""
    from dataclasses import replace

    checkpoint = open_checkpoint("preset:gpt2-tiny", seed=3)
    led = replace(checkpoint, config={**checkpoint.config, "prefix_lm": True})
    save_folder(None, led, tmp_path / "led")
    plain = LocalLM.open("preset:gpt2-tiny", device="cpu", dtype="fp32", threads=1, seed=3)
    other = LocalLM.open(str(tmp_path / "led"), device="cpu", dtype="fp32", threads=1)
    pair = ("some words to read", " and more")
    assert plain.score([pair]) != other.score([pair])
    assert other.reading.both and not plain.reading.both
