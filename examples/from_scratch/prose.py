"""A decoder and an LSTM, the same minutes each, beside compressors and 5-grams on held-out books.

The vocabulary is nearly that of bytes: 20 minutes of two processors are too few to beat a 5-gram of
thousands of subwords, which sees 20 bytes back and takes a minute to count. The 5-grams of larger
vocabularies are measured too, so that nobody takes one for the other.
"""

from __future__ import annotations

from study import Json, Place, short
from texts import prose, source_of

from tutelage.config import validate
from tutelage.pretrain.baselines import n_gram_bits
from tutelage.pretrain.config import PretrainConfig
from tutelage.pretrain.material import prepare
from tutelage.progress import silent

MINUTES = 20.0
"""Of two processors, for each of the two."""
VOCABULARY = 260
OTHERS = (512, 2048, 8192)
"""Vocabularies whose 5-grams are measured as well."""


def run(place: Place) -> Json:
    decoder = described(place, {"depth": place.count(3, 1)}, optimizer="muon", learning_rate=4e-3)
    decoder["data"]["baselines"] = True
    first = place.raised("decoder", decoder)
    shape = {"preset": "lstm-tiny" if place.smoke else "lstm-small"}
    second = place.raised("lstm", described(place, shape, learning_rate=2e-3))
    return {
        "text": source_of(place),
        "minutes_each": MINUTES,
        "vocabulary": VOCABULARY,
        "decoder": short(first),
        "lstm": short(second),
        "baselines": first["baselines"],
        "n_grams": {str(size): n_grams(place, size) for size in OTHERS[: place.count(3, 1)]},
    }


def described(place: Place, model: Json, **training: object) -> Json:
    return {
        "model": {"context": 256, **model},
        "tokenizer": {"vocabulary": VOCABULARY},
        "data": prose(place),
        "training": {
            "processor_minutes": place.processor_minutes(MINUTES),
            "batch_tokens": 4096,
            "micro_tokens": 4096,
            **training,
        },
    }


def n_grams(place: Place, vocabulary: int) -> Json:
    """5-grams of another vocabulary, in bits per byte of each held-out text."""
    asked = {**described(place, {"depth": 1}), "tokenizer": {"vocabulary": vocabulary}}
    folder = place.work / f"n-grams-{vocabulary}"
    material = prepare(validate(PretrainConfig, asked), folder, silent)
    return {
        name: n_gram_bits(material.training_texts(), texts, material.tokenizer)
        for name, texts in material.held_out.items()
    }
