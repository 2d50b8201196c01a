"""The chance that one of 10 drawn programs passes its tests (Chen et al. 2021)."""

from __future__ import annotations

from tutelage.score._pass_at import metric

METRIC = metric(10)
