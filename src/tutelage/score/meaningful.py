"""How often a sentence that means something is likelier than an unrelated one: StereoSet's lms.

Nadeem et al. 2021, arXiv:2004.09456, section 5.1: both the stereotyping sentence and its opposite
are held against the unrelated one. 1 is a good language model, 0.5 a random one.
"""

from __future__ import annotations

from tutelage.score._calibration import needed
from tutelage.score._metric import Metric, mean

METRIC = Metric("meaningful", needed, mean, needs="probabilities")
"""Row statistic: (how many of the two are likelier than the unrelated one, 2)."""
