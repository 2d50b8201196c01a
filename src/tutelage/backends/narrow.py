"""Keys and values in 8 bits, for the models that keep any."""

from __future__ import annotations

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.errors import ConfigError
from tutelage.models.catalogue import spec_for
from tutelage.models.forward import Model


def keep_narrow(model: Model, checkpoint: Checkpoint) -> None:
    """From now on caches of this model are in 8 bits. Raises ConfigError for one that keeps no
    keys."""
    if spec_for(checkpoint.config).family == "encoder" or not model.heads.key_value:
        raise ConfigError(
            f"{checkpoint.source} keeps no keys and values", field="--kv-cache-dtype", got="int8",
            expected="auto",
        )  # fmt: skip
    model.narrow_cache = True
