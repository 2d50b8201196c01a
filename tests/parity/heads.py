"""Models of transformers with the head of a task, random, and their scores of a row."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from tests.parity.witness import VOCABULARY

END = 2
SMALL: dict[str, dict[str, Any]] = {
    "Llama": {"hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2,
              "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64},
    "Qwen3": {"hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2, "head_dim": 8,
              "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64},
    "Mistral": {"hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2,
                "num_attention_heads": 4, "num_key_value_heads": 2,
                "max_position_embeddings": 64},
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "Bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "OPT": {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "word_embed_proj_dim": 32, "max_position_embeddings": 64},
    "Bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
             "intermediate_size": 64, "max_position_embeddings": 64},
    "Roberta": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
                "intermediate_size": 64, "max_position_embeddings": 64},
    "T5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    "Bart": {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
             "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
             "max_position_embeddings": 64},
}  # fmt: skip
SUFFIXES = {
    "classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "multiple-choice": "ForMultipleChoice",
    "question-answering": "ForQuestionAnswering",
}
CASES = [
    (stem, head)
    for stem in SMALL
    for head, suffix in SUFFIXES.items()
    if hasattr(transformers, stem + suffix)
]


def theirs_of(stem: str, head: str, labels: int = 3, seed: int = 0, **changes: Any) -> Any:
    """A random model with this head, its norms and biases away from 1 and 0."""
    torch.manual_seed(seed)
    ids = {"pad_token_id": 1, "eos_token_id": END, "bos_token_id": 0, "decoder_start_token_id": 4}
    settings = {**SMALL[stem], "vocab_size": VOCABULARY, **ids, **changes}
    if head in ("classification", "token-classification"):
        settings["num_labels"] = labels
    name = stem + SUFFIXES[head]
    config = getattr(transformers, f"{stem}Config")(**settings)
    config.architectures = [name]
    theirs = getattr(transformers, name)(config).float().eval()
    for parameter in theirs.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return theirs


@torch.inference_mode()
def their_scores(theirs: Any, rows: list[list[int]]) -> torch.Tensor:
    """[M, K] of the places that decide: one a row, or of every token."""
    if "MultipleChoice" in type(theirs).__name__:
        return torch.cat([theirs(torch.tensor([[row]])).logits for row in rows])
    found = [theirs(torch.tensor([row])) for row in rows]
    if hasattr(found[0], "start_logits"):
        each = [torch.stack([one.start_logits[0], one.end_logits[0]], -1) for one in found]
    else:
        each = [one.logits[0] if one.logits.dim() == 3 else one.logits for one in found]
    return torch.cat(each)
