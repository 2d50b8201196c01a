"""Chat templates under caps: attacks and bombs fail, honest templates equal transformers'."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from tutelage.lm import Message
from tutelage.text.byte_level import CHATML
from tutelage.text.chat import (
    ChatTemplate,
    Conversation,
    Limits,
    TemplateError,
    wants_to_run,
)

QUICK = Limits(cpu_seconds=0.2)
ASKED = Conversation((Message("user", "hello {{ 7*7 }}"),), prompted=True)

LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}"
    "{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant!') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{% set ns = namespace(first=true) %}{%- for message in messages %}\n"
    "    {%- if ns.first %}{{ bos_token }}{% set ns.first = false %}{% endif %}\n"
    "    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}\n"
    "    {{- message.content | trim + '<|eot_id|>' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{%- endif %}"
)
FEATURES = (
    "{% for m in messages %}{% if loop.index > 3 %}{% break %}{% endif %}"
    "{% generation %}{{ m.content }}{% endgeneration %}{{ m | tojson }}"
    "{{ m | tojson(indent=2) }}{% endfor %}"
    "{% if strftime_now is defined and tools is none %}!{% endif %}{{ dict(a=1) | tojson }}"
    "{{ 'é<b>' | tojson }}{{ undefined_variable }}{% if not missing %}ok{% endif %}"
)
HONEST = {"chatml": CHATML, "llama2": LLAMA2, "llama3": LLAMA3, "features": FEATURES}
CONVERSATIONS = [
    [("user", "hello")],
    [("user", "été €😀\n\n x "), ("assistant", " sure <b>"), ("user", "and?")],
    [("system", "be brief"), ("user", "{% raw %} {{ 1 }}")],
]

ATTACKS = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ().__class__.__base__.__subclasses__() }}",
    "{{ ''['__cla'+'ss__'] }}",
    "{{ '' | attr('__class__') }}",
    "{{ ('' | attr('__class__')).__mro__ }}",
    "{{ ['']|map(attribute='__class__')|list }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ ('{0.__class__.__mro__}' | attr('format'))('') }}",
    "{{ '%s' | format(''.__class__) }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__.os.popen('id').read() }}",
    "{{ namespace.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ lipsum['__globals__'] }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__code__ }}",
    "{{ tojson.__globals__ }}{{ (1|tojson).__class__ }}",
    "{{ dict.__class__ }}{{ dict.fromkeys.__func__ }}",
    "{{ messages.__class__.__init__.__globals__ }}",
    "{% set ns = namespace(__class__=1) %}{{ ns.__class__ }}",
    "{% set ns = namespace() %}{% set ns.__init__ = 1 %}{{ ns.__init__.__globals__ }}",
    "{% include '/etc/passwd' %}",
    "{% import '/etc/passwd' as secrets %}{{ secrets }}",
    "{% extends '/etc/passwd' %}",
    "{{ messages.append(1) }}changed",
    "{{ messages[0].update(role='system') }}changed",
    "{{ (lipsum|attr('__globals__')).get('os') }}",
    "{% for x in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{{ m.__init__.__globals__ }}",
]
EVIDENCE = ("<class", "uid=", "root:", "<module", "<function", "built-in", "<code", "{'", "changed")

BOMBS = {
    "repeat": "{{ 'A' * 10**9 }}",
    "repeat-list": "{{ ([0] * 10**9) | length }}",
    "power": "{{ 10 ** (10 ** 8) }}",
    "power-late": "{% set n = messages | length %}{{ (n + 9) ** (10 ** 8) }}",
    "nested-loops": "{% for i in range(99999) %}" * 2 + "{% endfor %}" * 2,
    "range": "{{ range(10**9) | list }}",
    "center": "{{ 'a' | center(10**9) }}",
    "indent": "{{ ('a\\n' * 1000 * messages | length) | indent(10**7) }}",
    "format": "{{ '%1000000000d' % 1 }}",
    "format-method": "{{ '{:>1000000000}'.format(1) }}",
    "doubling": "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
    "{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x | length }}",
    "doubling-list": "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}"
    "{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x | length }}",
    "lipsum": "{{ lipsum(n=100000) }}",
    "output": "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    "output-once": "{{ 'x' * 1500000 }}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "recursive-loop": "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "parentheses": "{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}",
    "blocks": "{% if 1 %}" * 5_000 + "{% endif %}" * 5_000,
    "sorting": "{% for i in range(99999) %}{{ (range(99999) | sort)[0] }}{% endfor %}",
    "replace": "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
    "strftime": "{{ strftime_now('%Y' * 100000000) }}",
    "product": "{% for i in range(300) %}" * 5 + "{% endfor %}" * 5,
}


def as_conversation(turns: list[tuple[str, str]], prompted: bool) -> Conversation:
    return Conversation(tuple(Message(role, content) for role, content in turns), prompted)


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.parametrize("prompted", [True, False])
def test_honest_templates_render_as_transformers_renders_them(name: str, prompted: bool) -> None:
    special = {"bos_token": "<s>", "eos_token": "</s>"}
    ours = ChatTemplate(HONEST[name], special)
    for turns in CONVERSATIONS:
        messages = [{"role": role, "content": content} for role, content in turns]
        theirs, _ = render_jinja_template(
            [messages], chat_template=HONEST[name], add_generation_prompt=prompted, **special
        )
        assert ours.render(as_conversation(turns, prompted)) == theirs[0]


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_reach_nothing(attack: str) -> None:
    template = ChatTemplate(attack + "{{ messages[0].role }}", {}, QUICK)
    [result] = template.render_each([ASKED])
    if isinstance(result, str):
        assert not any(trace in result for trace in EVIDENCE), result
    else:
        assert result.exit_code == 2


def test_content_is_never_a_template() -> None:
    assert "hello {{ 7*7 }}" in ChatTemplate(CHATML, {}).render(ASKED)


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_stopped_and_the_next_rendering_works(name: str) -> None:
    guarded = "{% if messages[0].content == 'boom' %}" + BOMBS[name] + "{% endif %}fine"
    template = ChatTemplate(guarded, {}, QUICK)
    boom = Conversation((Message("user", "boom"),), prompted=False)
    results = template.render_each([ASKED, boom, ASKED])
    assert isinstance(results[1], TemplateError)
    compiled = name not in ("power", "parentheses", "blocks")  # these go off while compiling
    for other in (results[0], results[2]):
        assert other == "fine" if compiled else isinstance(other, TemplateError)
    assert ChatTemplate(CHATML, {}).render(ASKED).startswith("<|im_start|>user")


def test_a_bomb_in_every_row_is_given_up_on() -> None:
    bomb = ChatTemplate(BOMBS["nested-loops"], {}, QUICK)
    results = bomb.render_each([ASKED] * 500)
    assert len(results) == 500
    assert all(isinstance(result, TemplateError) for result in results)
    assert "3 times" in results[-1].message


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{% if %}", "line 1"),
        ("{{ raise_exception('only user turns') }}", "only user turns"),
        ("{{ messages[9].role.x }}", "UndefinedError"),
    ],
)
def test_a_failing_template_says_why(template: str, expected: str) -> None:
    with pytest.raises(TemplateError, match=expected) as caught:
        ChatTemplate(template, {}).render(ASKED)
    assert caught.value.field == "chat_template"
    assert caught.value.hint is not None


def test_messages_longer_than_the_output_cap_fail_alone() -> None:
    huge = Conversation((Message("user", "x" * 1_000_001),), prompted=True)
    results = ChatTemplate(CHATML, {}).render_each([ASKED, huge, ASKED])
    assert isinstance(results[1], TemplateError)
    assert results[0] == results[2] != results[1]


def test_many_conversations_of_many_sizes_keep_their_order() -> None:
    sizes = [1, 300_000, 5, 400_000, 7, 0] * 5
    asked = [Conversation((Message("user", f"{i} " + "y" * n),), True) for i, n in enumerate(sizes)]
    results = ChatTemplate("{{ messages[0].content }}", {}).render_each(asked)
    assert results == [conversation.messages[0].content for conversation in asked]


def test_a_closed_template_renders_again() -> None:
    template = ChatTemplate(CHATML, {})
    first = template.render(ASKED)
    template.close()
    assert template.render(ASKED) == first


def test_time_that_passes_while_all_is_stopped_is_not_the_templates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after Ctrl-Z: whenever the clock is looked at, it has gone on by an hour."""
    clock = itertools.count(0, 3600)
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    assert ChatTemplate("done", {}).render(ASKED) == "done"


def test_a_child_that_does_nothing_is_given_up() -> None:
    template = ChatTemplate("done", {}, Limits(wall_seconds=0.3))
    assert template.render(ASKED) == "done"
    assert template._child is not None
    template._child.send_signal(signal.SIGSTOP)
    with pytest.raises(TemplateError, match="stopped"):
        template.render(ASKED)
    assert template.render(ASKED) == "done"


def test_a_child_that_waits_for_a_processor_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A starved one looks like this: nothing comes from it, and it is ready to run."""
    template = ChatTemplate("done", {}, Limits(wall_seconds=0.3))
    assert template.render(ASKED) == "done"
    assert template._child is not None
    monkeypatch.setattr("tutelage.text.chat.wants_to_run", lambda pid: True)
    template._child.send_signal(signal.SIGSTOP)
    later = threading.Timer(1.5, template._child.send_signal, [signal.SIGCONT])
    later.start()
    try:
        assert template.render(ASKED) == "done"
    finally:
        later.join()


@pytest.mark.skipif(sys.platform != "linux", reason="the state of a process is read from /proc")
def test_who_computes_wants_to_run_and_who_waits_does_not() -> None:
    code = "input(); print(flush=True)\nwhile True: pass"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            while wants_to_run(child.pid):
                pass  # it starts
            child.stdin.write(b"\n")
            child.stdin.flush()
            child.stdout.readline()
            assert wants_to_run(child.pid)
        finally:
            child.kill()
    assert not wants_to_run(child.pid)
