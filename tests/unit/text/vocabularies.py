"""Small tokenizers of the three kinds that decoders meet, for the tests of this folder."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from tutelage.text.tokenizer import SpecialTokens, Tokenizer

CORPUS = [
    "The quick brown fox jumps over the lazy dog. été à la plage, 12345 <b>bold</b>",
    "def f(x):\n    return x + 1  # naïve café €100 日本語 русский 😀👩‍👩‍👧",
    "end of turn im_end im_start <|im_ user assistant\n\n",
] * 5
CONTROL = ["<|im_start|>", "<|im_end|>", "<s>", "</s>"]


def byte_level_bpe(template: str | None = None, **special: str) -> Tokenizer:
    """Byte-level BPE as of GPT-2, with merges."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=CONTROL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    return Tokenizer(backend.to_str(), SpecialTokens(**special), template=template)


def byte_fallback_bpe(**special: str) -> Tokenizer:
    """SentencePiece's form: spaces as ▁, unknown characters as byte tokens."""
    backend = Backend(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    bytes_and_unknown = ["<unk>", *CONTROL, *(f"<0x{byte:02X}>" for byte in range(256))]
    # Named, since a bare limit drops a letter of those equally frequent by chance.
    letters = sorted({"▁", *(letter for letter in "".join(CORPUS) if letter.isascii())})
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=bytes_and_unknown,
        show_progress=False,
        initial_alphabet=letters,
        limit_alphabet=len(letters),
    )
    backend.train_from_iterator(CORPUS, trainer)
    document: dict[str, Any] = json.loads(backend.to_str())
    document["added_tokens"] = [
        token for token in document["added_tokens"] if token["content"] in ("<unk>", *CONTROL)
    ]
    return Tokenizer(json.dumps(document), SpecialTokens(**special))
