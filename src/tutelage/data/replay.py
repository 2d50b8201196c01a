"""General data to be learned beside a task, so that less is forgotten.

Rows with a prompt and an answer are taken as they are; of plain text passages, but never those on
which forgetting is measured.
"""

from __future__ import annotations

from tutelage.data.load import load
from tutelage.data.retention import passages, retention
from tutelage.data.rows import WHOLE, Row
from tutelage.errors import DataError


def replay(source: str) -> tuple[Row, ...]:
    """Rows of `source`. Raises DataError where there are none."""
    loaded = load(source)
    asked = tuple(row for row in loaded.rows if row.answered)
    if asked:
        return asked
    held = set(_measured())
    texts = [text for row in loaded.rows for text in passages(row) if text not in held]
    if not texts:
        raise DataError(
            f"{source} holds nothing to replay", field="--replay", got=source,
            expected="rows with answers, or passages of prose",
        )  # fmt: skip
    return tuple(
        Row(f"replay:{n}", f"{source}: passage {n}", text=text, extra={WHOLE: True})
        for n, text in enumerate(dict.fromkeys(texts), 1)
    )


def _measured() -> tuple[str, ...]:
    try:
        return retention().texts
    except DataError:
        return ()
