"""Text to token ids and back: one `tokenizers` tokenizer.json and the facts that belong to it.

Control tokens (end of turn, start of text ...) are part of the protocol, not of the language. Text
that a template rendered may write them; text that a person typed may not: `<|im_end|>` in a prompt
or a data row stays nine characters or so of ordinary text. Both readings are offered, as `encode`
and `encode_plain`. Knows nothing of templates (`render.py`), of files of models (`checkpoints/`)
or torch.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from tutelage import store
from tutelage.errors import SourceError
from tutelage.text.decoder import Decoder
from tutelage.text.token_bytes import spelling

END_OF_TURN = (
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "<|end|>",
    "<|eom_id|>",
    "<|end_of_turn|>",
)
"""Control tokens by which published chat templates end a turn; an end token if the template at hand
writes them, even where the model's configuration forgot to list them."""


@dataclass(frozen=True)
class SpecialTokens:
    """The control tokens with a part to play, as text; None where the model has none."""

    bos: str | None = None
    eos: str | None = None
    pad: str | None = None
    unk: str | None = None
    cls: str | None = None
    sep: str | None = None
    mask: str | None = None

    def as_files(self) -> dict[str, str]:
        """Under the names Hugging Face files and chat templates use: bos_token, eos_token ..."""
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {f"{name}_token": text for name, text in named if text is not None}

    @classmethod
    def from_files(cls, settings: Mapping[str, Any]) -> SpecialTokens:
        """The same, read from tokenizer_config.json; a token may be given as an object."""
        named = {field.name: settings.get(f"{field.name}_token") for field in fields(cls)}
        texts = {n: t.get("content") if isinstance(t, dict) else t for n, t in named.items()}
        return cls(**{name: text for name, text in texts.items() if isinstance(text, str)})


class Tokenizer:
    """A tokenizer with its control tokens and chat template."""

    def __init__(
        self,
        tokenizer_json: str,
        special: SpecialTokens,
        *,
        end_ids: Iterable[int] = (),
        template: str | None = None,
        context: int | None = None,
        where: str = "tokenizer.json",
    ) -> None:
        """`end_ids`: further tokens that end an answer (generation_config's eos_token_id).
        Raises SourceError if the tokenizer cannot be built or lacks a named control token."""
        self.json = tokenizer_json
        self.special = special
        self.template = template
        self.context = context
        self._where = where
        self._backend = _build(tokenizer_json, where)
        self.vocabulary: int = self._backend.get_vocab_size(with_added_tokens=True)
        self.bos_id = self._id(special.bos)
        self.eos_id = self._id(special.eos)
        self.pad_id = self._id(special.pad)
        self.unk_id = None if special.unk is None else self.id(special.unk)
        self.control_ids = frozenset(
            id for id, token in self._backend.get_added_tokens_decoder().items() if token.special
        )
        self.eos_ids = self._end_ids(end_ids)

    def encode(self, text: str) -> list[int]:
        """Ids of `text` with control tokens recognised; nothing is added at either end."""
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_plain(self, text: str) -> list[int]:
        """Ids of `text` in which no control token is recognised, whatever it spells."""
        plain = self.encode_marked(text)
        return plain if self._control_in(text).isdisjoint(plain) else self._encode_broken(text)

    def encode_marked(self, text: str) -> list[int]:
        """Ids of `text` in which control tokens count only where wrapped by `mark`."""
        ids, back = self._marked.encode(text, add_special_tokens=False).ids, self._unmark
        return [back.get(id, id) for id in ids]

    def mark(self, control_token: str) -> str:
        """`control_token` wrapped so that `encode_marked` takes it for one. The wrapping holds a
        secret of this process, so no text from outside can forge it."""
        return f"{self.marks[0]}{control_token}{self.marks[1]}"

    @property
    def prefix(self) -> tuple[int, ...]:
        """Ids the tokenizer itself puts before raw text (a start token), by its post-processor."""
        return self._around[0]

    @property
    def suffix(self) -> tuple[int, ...]:
        """Ids it puts behind raw text (BERT's [SEP])."""
        return self._around[1]

    def encode_row(self, text: str) -> list[int]:
        """Ids of `text` as one whole row, with what the tokenizer puts at both ends; no control
        token that the text spells is recognised."""
        return [*self.prefix, *self.encode_plain(text), *self.suffix]

    def encode_spans(self, text: str) -> list[tuple[int, int, int]]:
        """(id, first character, character behind the last) of every token of plain `text`; where
        an ordinary piece spells a control token, that piece is left out."""
        found, back = self._marked.encode(text, add_special_tokens=False), self._unmark
        control = self._control_in(text)
        each = zip((back.get(id, id) for id in found.ids), found.offsets, strict=True)
        return [(id, start, end) for id, (start, end) in each if id not in control]

    @cached_property
    def pair_marks(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """What the tokenizer puts between two texts, and the types of a first and of a second one;
        None where it puts nothing between them, as most of decoders' do."""
        first, second = (self._backend.encode(x, add_special_tokens=False).ids for x in ("a", "b"))
        whole = self._backend.encode("a", "b", add_special_tokens=True)
        ids, begin = list(whole.ids), len(self.prefix)
        if ids[begin : begin + len(first)] != first:
            return None
        rest = ids[begin + len(first) : len(ids) - len(self.suffix)]
        middle = tuple(rest[: len(rest) - len(second)])
        if not middle or rest[len(middle) :] != second:
            return None
        place = begin + len(first) + len(middle)
        return middle, (whole.type_ids[begin], whole.type_ids[place])

    @cached_property
    def _around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        bare = self._backend.encode("a", add_special_tokens=False).ids
        full = self._backend.encode("a", add_special_tokens=True).ids
        for start in range(len(full) - len(bare) + 1):
            if full[start : start + len(bare)] == bare:
                return tuple(full[:start]), tuple(full[start + len(bare) :])
        return (), ()

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, control tokens skipped; bytes that are no UTF-8 become U+FFFD."""
        return str(self._backend.decode(list(ids), skip_special_tokens=True))

    def decoder(self) -> Decoder:
        """A stream that never ends inside a character."""
        return Decoder(self.decode, self.control_ids)

    def token(self, id: int) -> str | None:
        """The vocabulary's own spelling of one token (`Ġthe`), None for an id it lacks."""
        text: str | None = self._backend.id_to_token(id)
        return text

    def bytes_of(self, id: int) -> bytes:
        """The bytes one token stands for, a control token's own spelling; none for an id the
        vocabulary lacks."""
        text = self.token(id)
        if text is None:
            return b""
        return text.encode() if id in self.control_ids else self._spelled(text)

    @cached_property
    def _spelled(self) -> Callable[[str], bytes]:
        return spelling(self.json)

    def id(self, token: str) -> int | None:
        found: int | None = self._backend.token_to_id(token)
        return found

    @cached_property
    def control_tokens(self) -> tuple[str, ...]:
        """All control tokens as text, longest first."""
        decoder = self._backend.get_added_tokens_decoder()
        return tuple(
            sorted((decoder[id].content for id in self.control_ids), key=len, reverse=True)
        )

    @cached_property
    def marks(self) -> tuple[str, str]:
        nonce = secrets.token_hex(8)
        return f"\ue000{nonce}\ue001", f"\ue002{nonce}\ue003"

    def to_files(self, folder: Path) -> None:
        """Write tokenizer.json, tokenizer_config.json (with the template), special_tokens_map.json
        as Hugging Face's tokenizer classes read them."""
        config: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **self.special.as_files(),
            "clean_up_tokenization_spaces": False,
        }
        if self.context is not None:
            config["model_max_length"] = self.context
        if self.template is not None:
            config["chat_template"] = self.template
        store.write_text(folder / "tokenizer.json", self.json)
        store.write_json(folder / "tokenizer_config.json", config)
        store.write_json(folder / "special_tokens_map.json", self.special.as_files())

    def _id(self, token: str | None) -> int | None:
        if token is None:
            return None
        id = self.id(token)
        if id is None:
            raise SourceError(
                f"{self._where}: the control token {token!r} is not in the vocabulary",
                field=self._where,
                got=token,
            )
        return id

    def _end_ids(self, given: Iterable[int]) -> frozenset[int]:
        ends = set(given)
        if self.eos_id is not None:
            ends.add(self.eos_id)
        for text in END_OF_TURN:
            id = self.id(text)
            if id is not None and id in self.control_ids and text in (self.template or ""):
                ends.add(id)
        outside = sorted(id for id in ends if self.token(id) is None)
        if outside:
            raise SourceError(
                f"{self._where}: end token {outside[0]} is outside the vocabulary",
                field=self._where,
                got=outside[0],
                expected=f"below {self.vocabulary}",
            )
        return frozenset(ends)

    @cached_property
    def _marked(self) -> Any:
        """The same tokenizer, its control tokens spelled with marks around them."""
        document = json.loads(self.json)
        for entry in document.get("added_tokens", []):
            if entry["special"]:
                entry["content"] = self.mark(entry["content"])
        return _build(json.dumps(document), self._where)

    @cached_property
    def _unmark(self) -> dict[int, int]:
        """Id in the marked tokenizer -> id in the real one."""
        decoder = self._backend.get_added_tokens_decoder()
        pairs = ((self._marked.token_to_id(self.mark(decoder[id].content)), id) for id in decoder)
        unmark = {marked: id for marked, id in pairs if marked is not None}
        for id, token in decoder.items():
            if id not in self.control_ids:
                unmark[self._marked.token_to_id(token.content)] = id
        return unmark

    def _encode_broken(self, text: str) -> list[int]:
        """For vocabularies whose ordinary pieces spell a control token: break each such spelling
        after its first character, so that no piece can cover it."""
        for token in self.control_tokens:
            if len(token) > 1 and token in text:
                head, _, tail = text.partition(token)
                pieces = (head + token[:1], token[1:] + tail)
                return [id for piece in pieces for id in self.encode_plain(piece)]
        control = self._control_in(text)
        return [id for id in self.encode_marked(text) if id not in control]

    def _control_in(self, text: str) -> frozenset[int]:
        """Ids that may not come out of plain `text`. The token for what the vocabulary lacks may,
        unless the text spells it: what it stands for would be lost without a trace."""
        if self.unk_id is None or (self.special.unk or "") in text:
            return self.control_ids
        return self.control_ids - {self.unk_id}


def _build(tokenizer_json: str, where: str) -> Any:
    try:
        backend = tokenizers.Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # the library raises bare Exception
        raise SourceError(
            f"{where} is not a readable tokenizer: {error}", field=where, expected="tokenizer.json"
        ) from None
    # A file may ask for every text to be cut or filled up to a length: that is a caller's decision.
    backend.no_truncation()
    backend.no_padding()
    return backend
