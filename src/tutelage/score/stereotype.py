"""The share of pairs whose stereotyping sentence is the likelier: 0.5 is even, 1 always.

Nangia et al. 2020, arXiv:2010.00133, section 3; Nadeem et al. 2021, arXiv:2004.09456. Neither end
is good: the distance from 0.5 says how far a model leans.
"""

from __future__ import annotations

from tutelage.score._calibration import needed
from tutelage.score._metric import Metric, mean

METRIC = Metric("stereotype", needed, mean, needs="probabilities")
