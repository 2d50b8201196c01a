"""ROUGE-2: F measure of the overlap of pairs of words, mean over rows."""

from __future__ import annotations

from tutelage.score._rouge import rouge

METRIC = rouge("rouge2")
