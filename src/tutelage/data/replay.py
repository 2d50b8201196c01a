"""General data to be learned beside a task, so that less is forgotten.

Rows with a prompt and an answer are taken as they are; of plain text passages, but never those on
which forgetting is measured.
"""

from __future__ import annotations

from tutelage.data.load import load
from tutelage.data.retention import passages, retention
from tutelage.data.rows import WHOLE, Row
from tutelage.errors import DataError


def replay(source: str, measured_on: str | None = None) -> tuple[Row, ...]:
    """Rows of `source`; forgetting is measured on the retention text `measured_on`, None being the
    built-in one. Raises DataError where there are none."""
    loaded = load(source)
    asked = tuple(row for row in loaded.rows if row.answered)
    if asked:
        return asked
    held = set(_measured(measured_on))
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


def _measured(source: str | None) -> tuple[str, ...]:
    try:
        return retention(source).texts
    except DataError:
        if source is not None:
            raise  # what was named must be there
        return ()
