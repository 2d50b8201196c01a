"""builtin:stdlib-docs: Python's reference prose, one row a topic of `help("topics")`."""

from __future__ import annotations

from pydoc_data.topics import topics

from tutelage.data.builtin.standard_library import Built, pretraining_note


def build() -> Built:
    records = [
        {"id": name, "source": name, "text": text}
        for name, text in sorted(topics.items())
        if text.strip()
    ]
    return Built(records, (pretraining_note("the language reference"),))
