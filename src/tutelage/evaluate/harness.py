"""lm-eval's `LM` interface over the seam: its task registry on any model of ours.

    model = harness_model(lm, prefix="<|endoftext|>")
    lm_eval.simple_evaluate(model=model, tasks=["arc_easy"])

lm-eval (Gao et al. 2024, doi:10.5281/zenodo.12608602) is an extra and imported by `harness_model`
alone; `Answering` is what it asks, without it. Spaces at a context's end go to the continuation, as
lm-eval's own models do it, and an empty context is `prefix`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tutelage.corpus.extras import needed
from tutelage.errors import RequestError
from tutelage.lm import LM, Request, Sampling, complete

LONGEST = 256
"""Tokens of an answer where a task names no limit, as in lm-eval."""


class Asked(Protocol):
    """One request of lm-eval's: its arguments as a tuple."""

    @property
    def args(self) -> tuple[Any, ...]: ...


class Answering:
    """The three questions lm-eval asks of a model."""

    def __init__(self, lm: LM, prefix: str) -> None:
        self.lm = lm
        self.prefix = prefix

    def loglikelihood(self, requests: Sequence[Asked]) -> list[tuple[float, bool]]:
        """Of (context, continuation): log-probability in nats, and whether greedy decoding would
        have said it."""
        pairs = [self._pair(*request.args) for request in requests]
        return [(score.log_probability, score.greedy) for score in self.lm.score(pairs)]

    def loglikelihood_rolling(self, requests: Sequence[Asked]) -> list[float]:
        """Of (text,), whole, behind the prefix. Raises RequestError for one longer than the
        context: lm-eval would cut it into windows."""
        texts = [str(request.args[0]) for request in requests]
        context = self.lm.capabilities().context
        for place, text in enumerate(texts):
            length = self.lm.count_tokens(self.prefix + text)
            if context is not None and length is not None and length > context:
                raise RequestError(
                    "a text is longer than the context", field=f"text {place}", got=length,
                    expected=f"at most {context} tokens",
                )  # fmt: skip
        scores = self.lm.score([(self.prefix, text) for text in texts])
        return [score.log_probability for score in scores]

    def generate_until(self, requests: Sequence[Asked]) -> list[str]:
        """Of (context, settings): the answer up to the first of its stop texts."""
        asked = [self._request(str(r.args[0]), dict(r.args[1])) for r in requests]
        return [one.text for one in complete(self.lm, asked)]

    def _pair(self, context: str, continuation: str) -> tuple[str, str]:
        if not context:
            return self.prefix, continuation
        kept = context.rstrip()
        return kept, context[len(kept) :] + continuation

    def _request(self, context: str, given: Mapping[str, Any]) -> Request:
        until = given.get("until") or ()
        stop = (until,) if isinstance(until, str) else tuple(until)
        temperature = float(given.get("temperature") or 0.0) if given.get("do_sample") else 0.0
        length = int(given.get("max_gen_toks") or LONGEST)
        return Request(context, length, Sampling(temperature), tuple(s for s in stop if s))


def harness_model(lm: LM, prefix: str) -> Any:
    """An `lm_eval.api.model.LM`. Raises ConfigError without the extra, RequestError for a model
    that gives no probabilities."""
    base = needed("lm_eval.api.model", "harness", "lm-eval's tasks")
    if not lm.capabilities().score:
        raise RequestError(
            "lm-eval's tasks need probabilities", field="MODEL", expected="a local model"
        )
    # lm-eval checks the class it is given.
    return type("Harness", (Answering, base.LM), {"__init__": _begin})(lm, prefix)


def _begin(self: Any, lm: LM, prefix: str) -> None:
    super(Answering, self).__init__()
    Answering.__init__(self, lm, prefix)
