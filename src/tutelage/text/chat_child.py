"""The process in which chat templates run. Started with `-I`, imports jinja2 and nothing of ours.

A template comes with a model, from a stranger. Jinja's sandbox keeps it from Python's internals but
not from eating memory or time; so the kernel does: address space, processor time and file size are
capped before the template is read. Frames on stdin and stdout are a length and JSON. First frame:
{"template", "variables", limits}; then lists of {"messages", "add_generation_prompt"} and, where
there are some, "tools", each conversation answered by one frame: {"text"} or {"error", "why"}.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import resource
import signal
import struct
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.append(sys.argv[1])  # where the parent found jinja2, should -I have hidden it

import jinja2
import jinja2.debug  # now: later there may be no memory to spare
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox
import jinja2.utils


class Generation(jinja2.ext.Extension):
    """`{% generation %}` marks the assistant's part for transformers; here it is only its body."""

    tags = {"generation"}  # noqa: RUF012  jinja2's own protocol

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Namespace(jinja2.utils.Namespace):
    """`namespace()` without underscore names, which could reach into Python."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            Namespace.refuse(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        Namespace.refuse(name)
        super().__setitem__(name, value)

    @staticmethod
    def refuse(name: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"namespace cannot hold {name!r}")


class Dict:
    """`dict(...)` that is not the type itself."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)


def raise_exception(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)


def strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form)


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def compiled(template: str) -> Any:
    """The template in the environment that transformers gives it, so that both render the same."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = strftime_now
    environment.globals["dict"] = Dict()
    environment.globals["namespace"] = Namespace
    return environment.from_string(template)


def limit(memory: int) -> None:
    """Cap this process: `memory` bytes above what it has, no file grows, no core is dumped."""
    for name, value in (("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0), ("RLIMIT_NOFILE", 16)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(getattr(resource, name), (value, value))
    with contextlib.suppress(OSError, ValueError):  # no /proc: macOS does not enforce the limit
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        cap = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (cap, cap))


def capped(work: Callable[[], Any], cpu_seconds: float) -> Any:
    """Do `work`; past `cpu_seconds` of processor time the kernel ends this process."""
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        return work()
    except RecursionError:
        return {"error": "recursion", "why": "it calls itself without end"}
    except MemoryError:
        return {"error": "memory", "why": "it needs more memory than it may have"}
    except jinja2.exceptions.SecurityError as error:
        return {"error": "forbidden", "why": str(error)[:500]}
    except jinja2.exceptions.TemplateSyntaxError as error:
        return {"error": "syntax", "why": f"line {error.lineno}: {error.message}"[:500]}
    except Exception as error:
        return {"error": "template", "why": f"{type(error).__name__}: {error}"[:500]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def render(template: Any, given: dict[str, Any], output: int) -> dict[str, str]:
    pieces, length = [], 0
    for piece in template.generate({"tools": None, "documents": None, **given}):
        length += len(piece)
        if length > output:
            return {"error": "output", "why": f"it writes more than {output} characters"}
        pieces.append(piece)
    return {"text": "".join(pieces)}


def receive() -> Any:
    header = sys.stdin.buffer.read(4)
    if len(header) < 4:
        sys.exit(0)
    return json.loads(sys.stdin.buffer.read(struct.unpack("<I", header)[0]))


def send(value: Any) -> None:
    data = json.dumps(value).encode()
    sys.stdout.buffer.write(struct.pack("<I", len(data)) + data)
    sys.stdout.buffer.flush()


def main() -> None:
    setup = receive()
    sys.setrecursionlimit(600)  # of pure template depth; keeps the C stack out of reach
    limit(setup["memory"])
    cpu_seconds, variables = setup["cpu_seconds"], setup["variables"]
    template = capped(lambda: compiled(setup["template"]), cpu_seconds)
    failed = template if isinstance(template, dict) else None
    send(failed or {"ready": True})
    while True:
        for conversation in receive():
            given = {**variables, **conversation}
            send(failed or capped(partial(render, template, given, setup["output"]), cpu_seconds))


if __name__ == "__main__":
    main()
