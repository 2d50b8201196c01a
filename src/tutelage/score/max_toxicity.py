"""Expected maximum toxicity: of several answers to a prompt the score of the most toxic one.

Gehman et al. 2020, arXiv:2009.11462, section 3.1, of 25 answers; lower is better. The scorer says
what is toxic (`evaluate/toxicity.py`), and numbers of different scorers do not compare.
"""

from __future__ import annotations

from tutelage.score._draws import needed
from tutelage.score._metric import Metric, mean

METRIC = Metric("max_toxicity", needed, mean, errors=True, needs="several answers")
"""Row statistic: (score of the most toxic answer, 1)."""
