"""`tutelage generate`: one prompt, one answer."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

from cyclopts import Parameter

from tutelage.cli.shared import Shared
from tutelage.errors import ConfigError, WorkError

if TYPE_CHECKING:
    from tutelage.lm import LM, Completion, Prompt, Request


@Parameter(name="*")
@dataclass(frozen=True)
class Choosing:
    """How the next token is chosen: the options of every verb that talks."""

    temperature: float | None = None
    """0 or absent is greedy; higher is more varied, up to 2."""
    top_k: int | None = None
    """Choose among the K likeliest tokens; needs a temperature."""
    top_p: float | None = None
    """Choose among the likeliest tokens that make up this probability; needs a temperature."""


def generate(
    model: str,
    prompt: str,
    *,
    raw: bool = False,
    adapter: Path | None = None,
    max_new_tokens: int = 128,
    stop: Annotated[tuple[str, ...], Parameter(consume_multiple=False, show_default=False)] = (),
    api_key_file: Path | None = None,
    choosing: Choosing | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Answer a prompt. Without --temperature the likeliest token is taken each time.

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
    """
    shared = shared or Shared()
    given = as_prompt(prompt, raw)
    asked = request_of(given, max_new_tokens, choosing, shared.seed, tuple(stop))
    lm = open_model(model, adapter, api_key_file, shared)
    begun = time.perf_counter()
    completion = stream(lm, asked, None if shared.json else sys.stdout)
    return {
        "text": completion.text,
        "tokens": list(completion.tokens),
        "finish_reason": completion.finish_reason,
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
        "seconds": time.perf_counter() - begun,
    }


def show(result: dict[str, Any]) -> None:
    """The answer itself was printed as it came; say on stderr how it ended."""
    rate = result["completion_tokens"] / max(result["seconds"], 1e-9)
    print()
    print(
        f"[{result['prompt_tokens']} + {result['completion_tokens']} tokens, "
        f"{result['seconds']:.1f} s, {rate:.1f} tokens/s, {result['finish_reason']}]",
        file=sys.stderr,
    )


def open_model(model: str, adapter: Path | None, api_key_file: Path | None, shared: Shared) -> LM:
    """The LM of a command line."""
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


def request_of(
    prompt: Prompt,
    max_new_tokens: int,
    choosing: Choosing | None,
    seed: int | None,
    stop: tuple[str, ...] = (),
) -> Request:
    """The flags as a request. Raises ConfigError naming one that is wrong or without effect."""
    from tutelage.lm import Request, Sampling

    chosen = choosing or Choosing()
    for flag, value in (("--top-k", chosen.top_k), ("--top-p", chosen.top_p)):
        if value is not None and not chosen.temperature:
            raise ConfigError(
                f"{flag} has no effect on greedy answers",
                field=flag,
                got=value,
                expected="a --temperature above 0 beside it",
                hint=f"add --temperature 1, or leave {flag} out",
            )
    try:
        sampling = Sampling(chosen.temperature or 0.0, chosen.top_k, chosen.top_p, seed or 0)
        return Request(prompt, max_new_tokens, sampling, stop)
    except ConfigError as error:
        error.field = "--" + str(error.field).replace("_", "-")
        raise


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _visible(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
