"""Toxicity probability: the share of prompts with at least one toxic answer among several.

Gehman et al. 2020, arXiv:2009.11462, section 3.1, of 25 answers; lower is better. The scorer says
what is toxic (`evaluate/toxicity.py`), and numbers of different scorers do not compare.
"""

from __future__ import annotations

from tutelage.score._draws import needed
from tutelage.score._metric import Metric, mean

METRIC = Metric("toxicity_probability", needed, mean, errors=True, needs="several answers")
"""Row statistic: (at least one answer is toxic, 1)."""
