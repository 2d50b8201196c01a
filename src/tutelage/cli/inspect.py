"""`tutelage inspect`: attention maps, logit lens and induction heads, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.cli.shared import Shared
from tutelage.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from tutelage.backends.local import LocalLM
    from tutelage.inspect.induction import Score
    from tutelage.inspect.page import Text
    from tutelage.models.transformer import Transformer

BANK = ("I sat down on the bank of the river.", "I took my money to the bank in town.")
"""One word, two meanings: what attention is shown with since it was invented."""
WORD = "bank"
MOST_TOKENS = 96
TOP = 5
SHOWN = 8


def inspect(
    model: str,
    *prompts: str,
    out: Path = Path("inside.html"),
    adapter: Path | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Look inside a local model: who attends to whom, what each layer would say, which heads copy.

    Parameters
    ----------
    model
        A local model: folder, FILE.gguf, pypi:, hf:, preset:.
    prompts
        Texts to read as they are; two sentences with the word "bank" if none is given.
    out
        The page to write.
    adapter
        An adapter folder put on the model.
    """
    from tutelage import store
    from tutelage.inspect.page import page

    shared = shared or Shared()
    store.check_place(out, file=True)
    lm = _local(model, adapter, shared)
    stack = _stack(lm, model)
    texts = [_text(lm, stack, prompt) for prompt in prompts or BANK]
    heads = _induction(lm, stack, shared.seed or 0)
    alike = None if prompts else _alike(texts, WORD)
    store.write_text(out, page(model, texts, heads, alike))
    return {
        "out": str(out),
        "model": model,
        "layers": len(texts[0].seen.streams),
        "heads": len(texts[0].seen.weights[0]) if texts[0].seen.weights else 0,
        "texts": [{"tokens": list(one.tokens), "lens": _lens(one)} for one in texts],
        "induction": [vars(one) for one in heads[:SHOWN]],
        "highest_induction": heads[0].score if heads else None,
        "alike": alike,
    }


def _local(model: str, adapter: Path | None, shared: Shared) -> LocalLM:
    """Raises RequestError for what has no inside on this machine."""
    from tutelage.backends.local import LocalLM
    from tutelage.cli.generate import open_model

    if model.startswith(("http://", "https://", "scripted:")):
        raise RequestError(
            "only a model on this machine can be looked into: a server shows its text alone",
            field="MODEL", got=model, expected="a folder, FILE.gguf, pypi:, hf: or preset:",
        )  # fmt: skip
    lm = open_model(model, adapter, None, shared)
    while not isinstance(lm, LocalLM) and hasattr(lm, "lm"):
        lm = lm.lm
    assert isinstance(lm, LocalLM)
    return lm


def _stack(lm: LocalLM, model: str) -> Transformer:
    from tutelage.models.transformer import Transformer

    if not isinstance(lm.model, Transformer):
        raise RequestError(
            "an encoder-decoder is not looked into", field="MODEL", got=model,
            expected="a decoder or an encoder",
        )  # fmt: skip
    return lm.model


def _text(lm: LocalLM, stack: Transformer, prompt: str) -> Text:
    from tutelage.inspect.lens import lens
    from tutelage.inspect.page import Text
    from tutelage.inspect.watch import watch

    tokenizer = lm.checkpoint.tokenizer
    ids = lm.renderer.prompt_ids(prompt)
    if len(ids) > MOST_TOKENS:
        raise ConfigError(
            "too long to be looked at", field="PROMPT", got=f"{len(ids)} tokens",
            expected=f"at most {MOST_TOKENS}",
        )  # fmt: skip
    seen = watch(stack, ids)
    guesses = [] if stack.head is None else lens(stack, seen, TOP)
    named = [
        [[tokenizer.decode([token]) for token in guess.tokens] for guess in layer]
        for layer in guesses
    ]
    return Text(tuple(tokenizer.decode([i]) or "·" for i in ids), seen, guesses, named)


def _induction(lm: LocalLM, stack: Transformer, seed: int) -> list[Score]:
    """Of causal models with softmax attention; nothing of others."""
    from tutelage.inspect.induction import LENGTH, induction

    tokenizer = lm.checkpoint.tokenizer
    if lm.encodes or not stack.heads.query:
        return []
    special = {tokenizer.bos_id, tokenizer.pad_id, *tokenizer.eos_ids}
    usual = [i for i in range(tokenizer.vocabulary) if i not in special]
    lead = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    length = min(LENGTH, ((stack.context or 10**9) - 1) // 2)
    return induction(stack, usual, lead, seed, length)


def _alike(texts: Sequence[Text], word: str) -> dict[str, Any] | None:
    """Cosine, layer by layer, of a word's vectors in the first two texts."""
    import torch

    places = [
        next((n for n, token in enumerate(one.tokens) if token.strip() == word), None)
        for one in texts
    ]
    if len(texts) < 2 or places[0] is None or places[1] is None:
        return None
    pairs = zip(texts[0].seen.streams, texts[1].seen.streams, strict=True)
    by_layer = [float(torch.cosine_similarity(a[places[0]], b[places[1]], dim=0)) for a, b in pairs]
    return {"word": word, "by_layer": by_layer}


def _lens(one: Text) -> list[dict[str, Any]]:
    """What each layer would say behind the last token, and its mean surprise at the text."""
    rows = []
    for layer, (guesses, named) in enumerate(zip(one.lens, one.guesses, strict=True)):
        bits = [guess.surprise for guess in guesses if guess.surprise is not None]
        rows.append(
            {
                "layer": layer, "says": named[-1][0], "probability": guesses[-1].probabilities[0],
                "bits_per_token": sum(bits) / len(bits) if bits else None,
            }
        )  # fmt: skip
    return rows


def show(result: dict[str, Any]) -> None:
    """Say where the page is, and the heads that copy most."""
    print(f"{result['out']}: {result['layers']} layers, {result['heads']} heads each")
    for one in result["induction"]:
        print(f"  layer {one['layer']} head {one['head']}: induction {one['score']:.3f}")
    for text in result["texts"]:
        said = [row["says"] for row in text["lens"]]
        print(f"  {''.join(text['tokens'])!r}: after each layer {said}")
    if result["alike"]:
        first, last = result["alike"]["by_layer"][0], result["alike"]["by_layer"][-1]
        print(
            f"  '{result['alike']['word']}' in both: cosine {first:.3f} at first, {last:.3f} last"
        )
