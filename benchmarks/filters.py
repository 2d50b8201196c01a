"""Precision and recall of every corpus filter, on a corpus with planted junk.

    python benchmarks/filters.py                            # the prose of Python's reference
    python benchmarks/filters.py --data books/ --unit line  # texts of your own, taken as clean

Clean passages of 60 to 300 words; junk, repeats, personal data and test items are planted among
them by tests/unit/corpus/planted.py. Half of the passages train the quality classifier, the other
half is measured. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.unit.corpus.measured import HEAD, everything
from tests.unit.corpus.planted import clean_texts

from tutelage.corpus.documents import Document
from tutelage.corpus.sources import open_source


def main() -> None:
    options = _options()
    texts = clean_texts() if options.data is None else _texts(options)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="filters-") as scratch:
        found = everything(texts, Path(scratch) / "classifier", options.each)
    print(f"{len(texts)} clean passages, {options.each} documents of every kind of junk\n")
    print(HEAD)
    for one in found:
        print(one.row())
    print(f"\n{time.monotonic() - begun:.0f} s", file=sys.stderr)


def _texts(options: argparse.Namespace) -> list[str]:
    """Different passages of the data, the same for the same seed."""
    found = {
        one.text.strip()
        for one in open_source(options.data, unit=options.unit)
        if isinstance(one, Document) and 60 <= len(one.words) <= 300
    }
    return random.Random(options.seed).sample(sorted(found), min(options.passages, len(found)))


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--data", help="clean text; Python's reference if not given")
    made.add_argument("--unit", choices=("file", "paragraph", "line"), default="line")
    made.add_argument("--passages", type=int, default=1000, help="of the data")
    made.add_argument("--each", type=int, default=30, help="documents of every kind of junk")
    made.add_argument("--seed", type=int, default=0)
    return made.parse_args()


if __name__ == "__main__":
    main()
