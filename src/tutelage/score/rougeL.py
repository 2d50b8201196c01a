"""ROUGE-L: F measure of the longest common subsequence of words, mean over rows."""

from __future__ import annotations

from tutelage.score._rouge import rouge

METRIC = rouge("rougeL")
