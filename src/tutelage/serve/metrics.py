"""What a server counts, in the text form that Prometheus reads (version 0.0.4).

Counts alone: no prompt, no key and no path that a client made up stands in them. Own code, as a
server of one worker needs three kinds of lines.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict

BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Upper edges of the histograms, seconds."""


class Metrics:
    """Counters and histograms; callable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._buckets: dict[str, list[int]] = {}
        self._sums: defaultdict[str, float] = defaultdict(float)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name, _labels(labels)] += amount

    def observe(self, name: str, seconds: float) -> None:
        """Add a time to a histogram."""
        with self._lock:
            buckets = self._buckets.setdefault(name, [0] * (len(BUCKETS) + 1))
            buckets[bisect_left(BUCKETS, seconds)] += 1
            self._sums[name] += seconds

    def text(self, gauges: dict[str, float]) -> str:
        """Everything counted, and `gauges` as they are now (those in `_total` only grow)."""
        lines: list[str] = []
        with self._lock:
            for name in sorted({name for name, _ in self._counts}):
                lines.append(f"# TYPE {name} counter")
                found = sorted(item for item in self._counts.items() if item[0][0] == name)
                lines += [f"{name}{labels} {value:g}" for (_, labels), value in found]
            for name, buckets in sorted(self._buckets.items()):
                lines += self._histogram(name, buckets)
        for name, value in gauges.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# TYPE {name} {kind}", f"{name} {value:.10g}"]
        return "\n".join(lines) + "\n"

    def _histogram(self, name: str, buckets: list[int]) -> list[str]:
        lines, total = [f"# TYPE {name} histogram"], 0
        for edge, count in zip((*map(str, BUCKETS), "+Inf"), buckets, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{edge}"}} {total}')
        return [*lines, f"{name}_sum {self._sums[name]:g}", f"{name}_count {total}"]


def _labels(labels: dict[str, str]) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{{inside}}}" if inside else ""
