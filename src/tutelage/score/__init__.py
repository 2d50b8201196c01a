"""Metrics as pure functions of text: one file each, the file's name is the metric's name."""

from __future__ import annotations

from tutelage.registry import Registry

METRICS = Registry("tutelage.score", "metric", "METRIC", hyphens=False)
STANDARD = ("rougeL", "rouge1", "rouge2", "bleu", "chrf", "exact_match")
"""What answers are measured by where nothing else is asked for."""
