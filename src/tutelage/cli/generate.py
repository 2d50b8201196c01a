"""`tutelage generate`: one prompt, one answer."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

from cyclopts import Parameter

from tutelage.cli.choosing import Choosing, Guiding, Searching, Speculating, flagged, request_of
from tutelage.cli.shared import Shared
from tutelage.errors import ConfigError, WorkError

if TYPE_CHECKING:
    from tutelage.decoding import Speculative
    from tutelage.lm import LM, Completion, Prompt, Request, TokenLogprob


def generate(
    model: str,
    prompt: str,
    *,
    raw: bool = False,
    adapter: Path | None = None,
    max_new_tokens: int = 128,
    stop: Annotated[tuple[str, ...], Parameter(consume_multiple=False, show_default=False)] = (),
    api_key_file: Path | None = None,
    kv_cache_dtype: Literal["auto", "int8"] = "auto",
    choosing: Choosing | None = None,
    searching: Searching | None = None,
    guiding: Guiding | None = None,
    speculating: Speculating | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Answer a prompt. Without --temperature the likeliest token is taken each time.

    The order in which the settings apply stands in docs/decoding.md.

    The model gets the prompt as one user message, after the few-shot turns of a run; one without a
    chat template gets it written out as it was trained and evaluated: "Input: ... Output:".

    Parameters
    ----------
    model
        A model source: a model's folder, or a run's for what it recommends; FILE.gguf, pypi:, hf:,
        preset:, http://...#MODEL, scripted:FILE.
    prompt
        The text to answer; one that begins with - stands after --.
    raw
        Give the model the prompt as it is: without its chat template, and without the few-shot
        turns of a run.
    adapter
        Folder of an adapter to attach; it must have been made on this model.
    max_new_tokens
        The longest answer, in tokens.
    stop
        End the answer before this text; may be given several times.
    api_key_file
        File with the key of the server, for an http(s):// model.
    kv_cache_dtype
        What keys and values are kept in: auto, the type the model computes in, or int8, 8 bits with
        a scale for each token and head.
    """
    shared = shared or Shared()
    given = as_prompt(prompt, raw)
    looked = searching or Searching()
    asked = request_of(given, max_new_tokens, choosing, shared.seed, tuple(stop), looked, guiding)
    copies = _copies(asked, looked)
    lm = open_model(model, adapter, api_key_file, shared, speculating, kv_cache_dtype)
    begun = time.perf_counter()
    out = None if shared.json else sys.stdout
    first, *others = _answers(lm, asked, copies, looked, out)
    found = {**_told(first), "prompt_tokens": first.prompt_tokens}
    found["completion_tokens"] = sum(one.completion_tokens for one in (first, *others))
    if others:
        found["others"] = [_told(one) for one in others]
    return {**found, "seconds": time.perf_counter() - begun}


def _copies(asked: Request, looked: Searching) -> list[Request]:
    """The request as often as answers are drawn; once for a search. Raises ConfigError."""
    from tutelage.prompts.best_of import drawn

    try:
        return [asked] if asked.search is not None else drawn(asked, looked.n, looked.best_of)
    except ConfigError as error:
        raise flagged(error) from None


def _answers(
    lm: LM, asked: Request, copies: list[Request], looked: Searching, out: TextIO | None
) -> list[Completion]:
    """All answers, best first where that was asked for; the first is written to `out`."""
    from tutelage.lm import complete
    from tutelage.prompts.best_of import best

    if len(copies) == 1:
        answer = stream(lm, copies[0], out)
        return [answer, *answer.others]
    found = complete(lm, copies)
    if len(copies) > looked.n:
        found = best(found, looked.n)
    if out is not None:
        say(found[0].text, out)
    return found


def _told(completion: Completion) -> dict[str, Any]:
    """One answer as the verb's JSON."""
    told: dict[str, Any] = {
        "text": completion.text,
        "tokens": list(completion.tokens),
        "finish_reason": completion.finish_reason,
    }
    if completion.score is not None:
        told["score"] = completion.score
    if completion.logprobs:
        told["logprobs"] = [_logprob(one) for one in completion.logprobs]
    return told


def _logprob(one: TokenLogprob) -> dict[str, Any]:
    top = [{"id": t.token, "text": t.text, "logprob": t.log_probability} for t in one.top]
    return {"id": one.token, "text": one.text, "logprob": one.log_probability, "top": top}


def show(result: dict[str, Any]) -> None:
    """The answer itself was printed as it came; say on stderr how it ended."""
    rate = result["completion_tokens"] / max(result["seconds"], 1e-9)
    print()
    print(
        f"[{result['prompt_tokens']} + {result['completion_tokens']} tokens, "
        f"{result['seconds']:.1f} s, {rate:.1f} tokens/s, {result['finish_reason']}]",
        file=sys.stderr,
    )


def open_model(
    model: str,
    adapter: Path | None,
    api_key_file: Path | None,
    shared: Shared,
    speculating: Speculating | None = None,
    kv_cache_dtype: Literal["auto", "int8"] = "auto",
) -> LM:
    """The LM of a command line."""
    speculative = None if speculating is None else speculating.settings()
    try:
        return _opened(model, adapter, api_key_file, shared, speculative, kv_cache_dtype)
    except ConfigError as error:
        if error.field == "draft":
            raise flagged(error) from None
        raise


def _opened(
    model: str,
    adapter: Path | None,
    api_key_file: Path | None,
    shared: Shared,
    speculative: Speculative | None,
    kv_cache_dtype: Literal["auto", "int8"],
) -> LM:
    from tutelage.backends.open import open_lm

    return open_lm(
        model,
        adapter=adapter,
        device=shared.device,
        dtype=shared.dtype,
        exact=shared.exact,
        threads=shared.threads,
        api_key_file=api_key_file,
        seed=shared.seed or 0,
        speculative=speculative,
        kv_cache_dtype=kv_cache_dtype,
    )


def as_prompt(text: str, raw: bool) -> Prompt:
    """One user message, unless raw text is wanted."""
    from tutelage.lm import Message

    return text if raw else (Message("user", text),)


def stream(
    lm: LM,
    request: Request,
    out: TextIO | None,
    cancelled: Callable[[int], bool] | None = None,
) -> Completion:
    """Run one request, writing the text to `out` as it comes; where it breaks off, what follows
    begins on a line of its own."""
    from tutelage.lm import Completion

    said = False
    try:
        for event in lm.generate([request], cancelled):
            if isinstance(event, Completion):
                return event
            if out is not None:
                said = True
                say(event.text, out)
    except BaseException:
        if said:
            print(file=out, flush=True)
        raise
    raise WorkError("the model ended without an answer")


def say(text: str, out: TextIO) -> None:
    """Write a piece of an answer. On a terminal control characters are shown, not obeyed: a model
    may say whatever it was taught to, escape sequences too."""
    out.write(_CONTROL.sub(_visible, text) if out.isatty() else text)
    out.flush()


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _visible(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
