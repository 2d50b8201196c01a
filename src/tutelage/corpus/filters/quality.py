"""Text that a trained classifier finds bad: `tutelage data quality` makes one from examples.

As GPT-3's corpus was chosen (Brown et al. 2020, arXiv:2005.14165, appendix A), with a fixed
threshold instead of a random one. What resembles the good examples stays.
"""

from __future__ import annotations

from tutelage.config import Frozen
from tutelage.corpus.documents import Document


class Quality(Frozen):
    """`min_probability` is that of being good."""

    model: str
    """The folder of a classifier."""
    min_probability: float = 0.5

    def judge(self, document: Document) -> str | None:
        from tutelage.corpus.quality import loaded

        if loaded(self.model)(document.text) < self.min_probability:
            return "low-quality"
        return None


FILTER = Quality
