"""ROUGE-1: F measure of the overlap of single words, mean over rows."""

from __future__ import annotations

from tutelage.score._rouge import rouge

METRIC = rouge("rouge1")
