"""The text of one answer as its tokens come, held back where a stop text may be beginning."""

from __future__ import annotations

from collections.abc import Iterator

from tutelage.generate.chooser import Logprobs
from tutelage.lm import Completion, Event, FinishReason, Piece, TokenLogprob
from tutelage.text.tokenizer import Tokenizer


class AnswerStream:
    """Pieces of the answer to request `index`, then its Completion.

    `lead` is left out where the answer begins with it. The first `least` tokens hold no stop text:
    one that begins in them does not count.
    """

    def __init__(
        self,
        index: int,
        prompt: int,
        stop: tuple[str, ...],
        tokenizer: Tokenizer,
        lead: str = "",
        least: int = 0,
    ) -> None:
        self.index, self.prompt, self.stop = index, prompt, stop
        self.tokenizer = tokenizer
        self.decoder = tokenizer.decoder()
        self.lead = lead
        self.least = least
        self.tokens: list[int] = []
        self.text = ""
        self.shown = 0
        self.finished = False
        self.prompt_logprobs: tuple[TokenLogprob, ...] = ()
        self._searched_from = 0
        self._told: list[TokenLogprob] = []
        self._pending: list[tuple[int, TokenLogprob]] = []
        """Log-probabilities not yet told, each with the place of its token in the text."""

    def push(self, token: int, found: Logprobs | None = None) -> Iterator[Piece]:
        """One more token; the text that became certain with it."""
        self.tokens.append(token)
        if found is not None:
            self._pending.append((len(self.text), self._named(token, found)))
        self._take(self.decoder.push(token))
        held = 0 if self.finished else max((overlap(self.text, s) for s in self.stop), default=0)
        yield from self._show(len(self.text) - held)

    def end(self, reason: FinishReason) -> Iterator[Event]:
        """What was held back, and the whole answer."""
        if not self.finished:
            self._take(self.decoder.flush())
        yield from self._show(len(self.text))
        if not self.finished and self._pending:  # tokens without text of their own
            yield Piece(self.index, "", self._tell(len(self.text) + 1))
        final: FinishReason = "stop" if self.finished else reason
        yield Completion(
            self.index, self.text, final, self.prompt, len(self.tokens), tuple(self.tokens),
            tuple(self._told), prompt_logprobs=self.prompt_logprobs,
        )  # fmt: skip

    def _take(self, new: str) -> None:
        if new and self.lead:  # one character, so the first piece has it whole
            new, self.lead = new.removeprefix(self.lead), ""
        self.text += new
        if len(self.tokens) <= self.least:
            self._searched_from = len(self.text)
            return
        places = ((s, self.text.find(s, self._searched_from)) for s in self.stop)
        found = [(at + len(s), at) for s, at in places if at >= 0]
        if found:  # the one complete first counts, however tokens cut the text
            self.text, self.finished = self.text[: min(found)[1]], True

    def _show(self, until: int) -> Iterator[Piece]:
        if until > self.shown:
            yield Piece(self.index, self.text[self.shown : until], self._tell(until))
            self.shown = until

    def _tell(self, until: int) -> tuple[TokenLogprob, ...]:
        """The log-probabilities of tokens that begin before `until`."""
        told = [found for place, found in self._pending if place < until]
        self._pending = self._pending[len(told) :]
        self._told += told
        return tuple(told)

    def _named(self, token: int, found: Logprobs) -> TokenLogprob:
        return named(self.tokenizer, token, found)


def named(tokenizer: Tokenizer, token: int, found: Logprobs) -> TokenLogprob:
    """A token's log-probabilities with the texts of all tokens."""
    top = tuple(spelled(tokenizer, other, value) for other, value in found.top)
    return spelled(tokenizer, token, found.chosen, top)


def spelled(
    tokenizer: Tokenizer, token: int, value: float | None, top: tuple[TokenLogprob, ...] = ()
) -> TokenLogprob:
    """A token with its text and bytes."""
    data = tokenizer.bytes_of(token)
    return TokenLogprob(token, data.decode(errors="replace"), tuple(data), value, top)


def overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
