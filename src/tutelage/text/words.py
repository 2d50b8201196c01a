"""Which tokens go on with a word that the token before them began.

    WordPiece        un ##believ ##able     what is marked ## continues
    byte-level       un believ able Ġfilm   what begins with neither a space nor punctuation
    SentencePiece    ▁un believ able ▁film  the same, where ▁ is the space

In scripts that write no spaces a run of letters counts as one word, except with WordPiece, whose
texts were cut at such characters beforehand.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from tutelage.text.byte_alphabet import byte_alphabet
from tutelage.text.tokenizer import Tokenizer

SPACE = "▁"


def continuations(tokenizer: Tokenizer) -> frozenset[int]:
    """The ids of all tokens that continue a word; control tokens are none."""
    continues = _rule(tokenizer)
    known = ((id, tokenizer.token(id)) for id in range(tokenizer.vocabulary))
    return frozenset(
        id for id, text in known if text and id not in tokenizer.control_ids and continues(text)
    )


def _rule(tokenizer: Tokenizer) -> Callable[[str], bool]:
    document = json.loads(tokenizer.json)
    if document["model"]["type"] == "WordPiece":
        prefix = document["model"]["continuing_subword_prefix"]
        return lambda text: text.startswith(prefix) and text != prefix
    if "ByteLevel" in json.dumps([document["pre_tokenizer"], document["decoder"]]):
        # A byte above 127 is part of a letter, more often than not.
        byte = {sign: "a" if byte > 127 else chr(byte) for byte, sign in byte_alphabet().items()}
        return lambda text: byte.get(text[0], text[0]).isalnum()  # added tokens are spelled plainly
    return lambda text: text[0].isalnum()
