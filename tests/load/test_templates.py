"""Models with hostile chat templates beside an honest one that others are talking with.

100 that try to reach Python, by every way to an attribute there is, and 12 that try to use up
memory, time or room. Each is answered or refused, in bounded time, and nobody else waits for it.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import time
from dataclasses import replace

from tests.load.clients import ask, connected, events, opened
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
        statuses, slowest, gaps = asyncio.run(_asked_of_each(address, models))
        idle(address)
    told = {status: statuses.count(status) for status in sorted(set(statuses))}
    print(f"{told}, slowest {slowest:.2f} s, longest gap in the stream {max(gaps):.2f} s")
    assert set(statuses) <= {200, 400}
    assert statuses[-4:] == [400] * 4, "a bomb is refused"
    assert slowest < 30 and max(gaps) < 5


async def _asked_of_each(
    address: str, models: dict[str, LocalLM]
) -> tuple[list[int], float, list[float]]:
    """Statuses, the longest time to one, and the gaps of a stream that goes on meanwhile."""
    asked = {"prompt": "x", "max_tokens": 10_000, "min_tokens": 10_000, "stream": True}
    reader, writer = await connected(address, asked)
    assert await opened(reader) == 200
    times: list[float] = []

    async def watch() -> None:
        async for at, _ in events(reader):
            times.append(at)

    watching = asyncio.create_task(watch())
    statuses, slowest = [], 0.0
    for name, model in models.items():
        begun = time.monotonic()
        turn = {"model": name, "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}
        found = await ask(address, turn, "/v1/chat/completions")
        assert not any(trace in str(found.body) for trace in EVIDENCE if trace != "{'")
        statuses.append(found.status)
        slowest = max(slowest, time.monotonic() - begun)
        assert model.renderer._template is not None
        model.renderer._template.close()
    watching.cancel()
    writer.close()
    return statuses, slowest, [after - before for before, after in itertools.pairwise(times)]
