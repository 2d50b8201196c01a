"""Arithmetic in words: the last number of what was written is the answer."""

from __future__ import annotations

import re

from tutelage.prompts.chain_of_thought import final_answer

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def last_number(text: str) -> str | None:
    """The number behind 'the answer is' or '####', or else the last one; None without any."""
    named = final_answer(text)
    found = _NUMBER.findall(named or "")[:1] or _NUMBER.findall(text)[-1:]
    return found[0] if found else None


def same_number(text: str) -> str:
    """A number without commas and without zeros behind its point."""
    plain = text.replace(",", "").strip()
    return plain.rstrip("0").rstrip(".") if "." in plain else plain
