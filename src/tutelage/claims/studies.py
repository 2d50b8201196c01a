"""What the studies of `examples/` found, from the results that are committed beside them.

They are no part of the package: outside a checkout, and where a study or a part of it was not run,
there is nothing to be found.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from tutelage.claims.entries import Entry, Found, found_in

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def studied(entry: Entry, examples: Path = EXAMPLES) -> Found | None:
    """What an entry's study says of it, None where it has not said so yet; a run in small, which
    only shows that all of it works, says nothing."""
    folder, _, name = entry.study.partition("/")
    with suppress(OSError, ValueError, KeyError, TypeError):
        file = examples / folder / "results" / f"{name}.json"
        results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if not results["smoke"]:
            found = found_in(entry, results)
            when = f"by the study on {results['machine']}, commit {results['commit'][:8]}"
            return Found(found.value, when, found.low, found.high)
    return None
