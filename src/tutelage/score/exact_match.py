"""Exact match: the share of answers equal to the reference, whitespace at both ends aside."""

from __future__ import annotations

from tutelage.score._metric import mean_of

METRIC = mean_of("exact_match", lambda reference, answer: reference.strip() == answer.strip())
