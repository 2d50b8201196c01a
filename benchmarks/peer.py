"""The peer: transformers and peft as their documentation uses them, loaded in one setting.

What it is set to when it trains stands in `peer_train.py`, when it answers in `peer_generate.py`.
Every function there runs in a fresh process (see `measure.py`) and imports inside, so that the
resident set after imports is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import resident_after_imports

DTYPES = ("bf16", "fp32")


@dataclass(frozen=True)
class Setting:
    """One way of using the peer; `ordered` means rows of similar length share a batch."""

    dtype: str = "bf16"
    batch: int = 1
    ordered: bool = True
    attention: str = "sdpa"

    def __str__(self) -> str:
        order = "length-sorted" if self.ordered else "random"
        batch = f", {order} batches of {self.batch}" if self.batch > 1 else ""
        return f"{self.dtype}{batch}, {self.attention}"


@dataclass(frozen=True)
class Adapter:
    """PEFT's class of settings by name, and what it is given; None in its place means full
    tuning."""

    config: str
    given: Mapping[str, Any]


def start(threads: int) -> tuple[int, Any]:
    """Import what loading a model would, then the resident bytes and a meter of their peak."""
    import warnings

    import torch
    import transformers
    import transformers.generation.utils
    import transformers.models.auto.modeling_auto
    import transformers.models.llama.modeling_llama

    from tutelage.machine.memory import Peak

    warnings.simplefilter("ignore", FutureWarning)  # of transformers about itself
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(threads)
    return resident_after_imports(), Peak()


def open_model(folder: Path, setting: Setting, adapter: Adapter | None = None) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[setting.dtype]
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation=setting.attention
    )
    if adapter is None:
        return model
    import peft

    config = getattr(peft, adapter.config)(task_type="CAUSAL_LM", **adapter.given)
    return peft.get_peft_model(model, config)
