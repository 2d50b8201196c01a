"""The scripted model that the server's tests ask."""

from __future__ import annotations

import re

import pytest

from tutelage.backends.scripted import Rule, ScriptedLM


@pytest.fixture
def scripted() -> ScriptedLM:
    rules = [("capital", "Paris it is, mon ami."), ("accents", "żółć 🦊 日本"), ("silence", "")]
    return ScriptedLM([Rule(re.compile(match), reply) for match, reply in rules])
