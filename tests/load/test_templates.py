"""Models with hostile chat templates beside an honest one that others are talking with.

100 that try to reach Python, by every way to an attribute there is, and 12 that try to use up
memory, time or room. Each is answered or refused, in bounded time, and nobody else waits for it.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import itertools
from dataclasses import replace

from tests.load.clients import ask, beside_a_stream
from tests.load.test_load import idle, sizes
from tests.unit.serve.serving import serving
from tests.unit.text.test_chat import ATTACKS, BOMBS, EVIDENCE
from tutelage.backends.local import LocalLM
from tutelage.serve.service import Limits

ENDLESS = ("repeat", "power-late", "nested-loops", "range", "center", "format-method", "doubling",
           "lipsum", "output", "recursion", "parentheses", "sorting")  # fmt: skip
THINGS = ("''", "()", "messages", "lipsum", "cycler", "joiner", "namespace", "raise_exception",
          "dict", "self")  # fmt: skip
NAMES = ("__class__", "__globals__", "__init__", "__subclasses__", "__mro__", "__builtins__",
         "__code__", "__dict__", "__reduce_ex__", "__getattribute__")  # fmt: skip
WAYS = (
    "{{{{ {thing}.{name} }}}}",
    "{{{{ {thing}['{name}'] }}}}",
    "{{{{ {thing} | attr('{name}') }}}}",
    "{{{{ [{thing}] | map(attribute='{name}') | list }}}}",
    "{{{{ '{{0.{name}}}'.format({thing}) }}}}",
    "{{% set word = '{name}' | reverse %}}{{{{ {thing}[word | reverse] }}}}",
    "{{% set f = '{{0.{name}}}' | attr('format') %}}{{{{ f({thing}) }}}}",
)


def hostile() -> list[str]:
    """All 112; the order is always the same."""
    pairs = itertools.product(NAMES, THINGS)
    made = [
        way.format(thing=thing, name=name)
        for (name, thing), way in zip(pairs, itertools.cycle(WAYS), strict=False)
    ]
    attacks = list(dict.fromkeys([*ATTACKS, *made]))[:100]
    return [*attacks, *(BOMBS[name] for name in ENDLESS)]


def with_template(lm: LocalLM, template: str) -> LocalLM:
    """The same weights behind another template."""
    tokenizer = copy.copy(lm.checkpoint.tokenizer)
    tokenizer.template = template + "{{ messages[0].role }}"
    checkpoint = replace(lm.checkpoint, tokenizer=tokenizer)
    return LocalLM(checkpoint, lm.model, exact=lm.exact, engine=lm.engine)


@sizes
def test_hostile_templates_do_not_hold_up_the_others(lm: LocalLM, long: bool) -> None:
    templates = hostile()
    assert len(set(templates)) == 112
    chosen = templates if long else [*templates[:100:25], *templates[-4:]]
    models = {str(n): with_template(lm, text) for n, text in enumerate(chosen)}
    limits = Limits(per_key=4096, new_tokens=10_000)
    with serving({"model": lm, **models}, limits=limits, drain_seconds=1.0) as address:
        asked = [functools.partial(_ask, address, name, each) for name, each in models.items()]
        found = asyncio.run(beside_a_stream(address, asked))
        idle(address)
    assert found.held_up_nobody()
    assert found.statuses[-4:] == [400] * 4, "a bomb is refused"


async def _ask(address: str, name: str, model: LocalLM) -> int:
    turn = {"model": name, "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}
    found = await ask(address, turn, "/v1/chat/completions")
    assert not any(trace in str(found.body) for trace in EVIDENCE if trace != "{'")
    assert model.renderer._template is not None
    model.renderer._template.close()
    return found.status
