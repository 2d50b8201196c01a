"""What became of RoPE's scaling in a GGUF file, as Hugging Face's `rope_scaling`.

`linear` and `yarn` stand in the metadata. Llama 3's scaling does not: the converter wrote its
effect, one divisor for each frequency, as a tensor; its parameters are found again from that.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tutelage.checkpoints.gguf_file import GGUFFile
from tutelage.errors import SourceError

FREQUENCIES = "rope_freqs.weight"
TOLERANCE = 1e-4
"""Relative; the file holds the divisors in float32."""


def rope_scaling(
    file: GGUFFile, theta: float, head_width: int, context: int
) -> dict[str, Any] | None:
    """None for plain RoPE. Raises SourceError for a kind that cannot be expressed."""
    if FREQUENCIES in file.tensors:
        return _llama3(file, theta, head_width)
    rope = f"{file.metadata['general.architecture']}.rope"
    kind = file.metadata.get(f"{rope}.scaling.type", "none")
    factor = file.metadata.get(f"{rope}.scaling.factor")
    if factor is None and f"{rope}.scale_linear" in file.metadata:
        kind, factor = "linear", file.metadata[f"{rope}.scale_linear"]
    if kind == "none" or factor in (None, 0, 1):
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": float(factor)}
    if kind == "yarn":
        return _yarn(file, f"{rope}.scaling", float(factor), context)
    raise _fault(file, f"{rope}.scaling.type", kind, "none, linear or yarn")


def _yarn(file: GGUFFile, prefix: str, factor: float, context: int) -> dict[str, Any]:
    original = file.metadata.get(f"{prefix}.original_context_length")
    scaling: dict[str, Any] = {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": int(original or round(context / factor)),
    }
    for ours, theirs in (("beta_fast", "yarn_beta_fast"), ("beta_slow", "yarn_beta_slow")):
        value = file.metadata.get(f"{prefix}.{theirs}")
        if value is not None:
            scaling[ours] = float(value)
    return scaling


def _llama3(file: GGUFFile, theta: float, head_width: int) -> dict[str, Any]:
    """Parameters from divisors.

    With w the wavelength, L the original context and low, high the frequency factors, the divisor d
    is 1 for w < L/high, `factor` for w > L/low, and between them 1/d = (1-s)/factor + s with
    s = (L/w - low)/(high - low). So s is a line in 1/w: two points of it give low/(high-low) and
    L/(high-low), and `low` is 1 by convention (only ratios matter).
    """
    divisors = file.read(FREQUENCIES).astype(np.float64).ravel()
    if divisors.size != head_width // 2 or not np.all(np.isfinite(divisors) & (divisors > 0)):
        raise _fault(file, FREQUENCIES, divisors.size, f"{head_width // 2} positive divisors")
    factor = _round(float(divisors.max()))
    inverse_wavelengths = theta ** (-np.arange(0, head_width, 2) / head_width) / (2 * math.pi)
    between = (divisors > 1 + TOLERANCE) & (divisors < factor * (1 - TOLERANCE))
    if between.sum() < 2:
        raise _fault(file, FREQUENCIES, "no transition", "the divisors of Llama 3's scaling")
    smooth = (1 / divisors[between] - 1 / factor) / (1 - 1 / factor)
    slope, start = np.polyfit(inverse_wavelengths[between], smooth, 1)
    scaling = {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": _round(float(1 - 1 / start)),
        "original_max_position_embeddings": round(float(-slope / start)),
    }
    if not np.allclose(llama3_divisors(scaling, inverse_wavelengths), divisors, rtol=1e-3):
        raise _fault(file, FREQUENCIES, "other divisors", "the divisors of Llama 3's scaling")
    return scaling


def llama3_divisors(scaling: dict[str, Any], inverse_wavelengths: np.ndarray) -> np.ndarray:
    """Divisor of each frequency under Llama 3's scaling (formula at `_llama3`)."""
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = scaling["original_max_position_embeddings"] * inverse_wavelengths
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    return 1 / ((1 - smooth) / scaling["factor"] + smooth)


def _round(value: float) -> float:
    """The published value a float32 came from: whole or of few digits."""
    near = float(f"{value:.3g}")
    return near if abs(near - value) <= 1e-3 * abs(value) else value


def _fault(file: GGUFFile, field: str, got: object, expected: object) -> SourceError:
    return SourceError(
        f"{file.path}: this RoPE scaling cannot be read", field=field, got=got, expected=expected
    )
