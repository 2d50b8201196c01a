"""The frame of the command line: verbs by name, one JSON object or a page for people, exit codes.

A verb is a function in `cli/<verb>.py` that returns the contract's object and raises errors of
`errors.py`; this file alone turns them into output and exit codes. A verb's module is imported
when the verb is used. The returned object may hold `"_exit"`: the exit code of a check that came
out negative. A verb that returns None has answered already.

    0 done   1 failed   2 the request is at fault   3 busy   130 interrupted
"""

from __future__ import annotations

import importlib
import inspect
import os
import platform
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from cyclopts import (
    App,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    UnusedCliTokensError,
)

from tutelage.cli.shared import Shared, answer, not_text, protected_stdout, stop_progress
from tutelage.errors import (
    ConfigError,
    Interrupted,
    MemoryLimitError,
    RequestError,
    TutelageError,
    WorkError,
)

ABOUT = "Raise a language model through its life, and measure whether each step was worth it."
VERBS = {
    "run": "Raise a model for a task, rung by rung, and recommend the cheapest good one.",
    "report": "Show what a run found.",
    "init": "Write a project file from data.",
    "generate": "Answer one prompt.",
    "chat": "Talk with a model.",
    "serve": "Answer over HTTP as OpenAI's API does.",
    "tune": "Tune a model on data.",
    "search": "Find the settings that tune a model best.",
    "quantize": "Hold a model's weights in 8 or 4 bits, and measure what that costs.",
    "pretrain": "Train a model from nothing on text.",
    "eval": "Measure a model on a task.",
    "compare": "Say whether one model is better than another, with the uncertainty.",
    "inspect": "Look inside a model: attention maps, logit lens, induction heads.",
    "toxicity": "Say how far a scorer of toxicity is to be trusted.",
    "icl": "Measure what examples in the prompt teach a model: order, labels, inputs, template.",
    "judge": "Say how far a model's judgement of answers is that of people.",
    "score": "Score one answer, or show which traps a metric falls into.",
    "claims": "Show the field's numbers and claims, each with a verdict.",
    "doctor": "Say what this machine can do and what stands in the way.",
}
GROUPS = {
    "model": (
        "Look at models, fetch them, merge adapters into them.",
        {
            "show": "Say what a model is: architecture, sizes, licence.",
            "pull": "Fetch a model and write it as a Hugging Face folder.",
            "export": "Write a model for other programs: a Hugging Face folder, a GGUF file.",
            "verify": "Say whether a model is whole, or whether two are the same.",
            "merge": "Fold adapters into a model's weights.",
            "unmerge": "Take a merged folder back to its base, bit for bit.",
            "combine": "Add, subtract and weigh LoRA adapters.",
            "extract": "Make a LoRA adapter out of two models.",
        },
    ),
    "data": (
        "Text for pretraining: look, filter, free of duplicates, mix, store as tokens.",
        {
            "inspect": "Say what a corpus holds.",
            "filter": "Leave out documents that rules speak against.",
            "dedup": "Leave out documents that repeat an earlier one.",
            "contamination": "Leave out documents that give away an evaluation set.",
            "quality": "Train a classifier of good and bad text.",
            "mix": "Mix sources by weight into one corpus.",
            "tokenize": "Store text as tokens, for pretraining.",
        },
    ),
    "tokenizer": (
        "Train tokenizers, look at them, and extend them for a domain.",
        {
            "train": "Train a tokenizer on text.",
            "show": "Say how a text is cut into tokens.",
            "compare": "Measure tokenizers on texts: tokens a word, bytes a token, unknown text.",
            "extend": "Give a tokenizer, or a model, tokens for the words of a domain.",
        },
    ),
    "plan": (
        "What a model will need, before anything is built.",
        {
            "memory": "Memory by component, of answering or of training.",
            "parameters": "Parameters by part.",
            "activations": "Activations of a training step, as taught and as published.",
            "compute": "FLOPs, petaflop/s-days, days and money of training.",
            "scaling": "Parameters and tokens a budget is best spent on, law by law.",
            "parallel": "Layouts over devices that fit, by the time of a step.",
            "formats": "A number as every format stores it, bit by bit.",
            "peft": "Parameters that a way of tuning adds.",
            "method": "The ways to a better model, with their numbers for yours.",
        },
    ),
}
SWITCHES = ("--json", "--quiet", "--exact")


def build_app(wanted: Sequence[str] = ()) -> App:
    """The command tree; no verb's module is imported but the wanted one's (`VERB` or `GROUP VERB`),
    for all that its help has to say."""
    app = App(
        name="tutelage",
        help=f"{ABOUT}\n\nVERB --help says more; --version names the versions.",
        help_format="markdown",
        version_flags=[],
        default_parameter=Parameter(negative=()),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    wanted = [word for word in wanted if not word.startswith("-")]
    for verb, summary in VERBS.items():
        said = None if wanted[:1] == [verb] else summary
        app.command(f"tutelage.cli.{verb}:{verb}", name=verb, help=said)
    for group, (text, verbs) in GROUPS.items():
        below = App(name=group, help=text, help_format="markdown", version_flags=[])
        for verb, summary in verbs.items():
            said = None if wanted[:2] == [group, verb] else summary
            below.command(f"tutelage.cli.{group}:{verb}", name=verb, help=said)
        app.command(below)
    return app


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit code. Prints; never raises what it can report."""
    tokens = _switches_last(arguments)
    options = tokens[: tokens.index("--")] if "--" in tokens else tokens
    as_json = "--json" in options
    try:
        with protected_stdout() if as_json else nullcontext():
            return _run_reporting(tokens, as_json)
    except BrokenPipeError:
        # The reader of our output is gone; nothing more may be written, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _run_reporting(tokens: list[str], as_json: bool) -> int:
    """Run, and turn whatever is raised into the error's page or object and its exit code."""
    error: TutelageError
    try:
        return _run(tokens, as_json)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        error = Interrupted("interrupted", hint="the same command goes on where it stopped")
    except TutelageError as raised:
        error = raised
    except CycloptsError as raised:
        error = _parse_error(raised)
    except Exception as raised:
        error = _exhausted(raised) or _internal(raised)
        if error.kind == "internal":
            traceback.print_exc(file=sys.stderr)
    finally:
        stop_progress()
    print(f"error: {error}", file=sys.stderr, flush=True)
    if as_json:
        answer({"error": error.as_json()})
    return error.exit_code


def version() -> dict[str, str | None]:
    """Versions of ourselves, Python and torch, and the commit if this is a checkout."""
    from tutelage.machine.describe import commit, package_version

    return {
        "tutelage": package_version("tutelage"),
        "python": platform.python_version(),
        "torch": package_version("torch"),
        "commit": commit(),
    }


def _run(tokens: list[str], as_json: bool) -> int:
    _check_text(tokens)
    if tokens[:1] == ["--version"]:
        found = version()
        return _finish(found, as_json, lambda result: print(_version_line(result)))
    words = [token for token in tokens if token not in SWITCHES]
    if len(words) < len(tokens) and (not words or (len(words) == 1 and words[0] in GROUPS)):
        raise ConfigError("no verb was named", expected="a verb", hint="see --help")
    app = build_app(tokens)
    command, bound, _ = app.parse_args(
        tokens, print_error=False, exit_on_error=False, help_on_error=False
    )
    try:
        result = command(*bound.args, **bound.kwargs)
    except RequestError as error:
        _as_typed(error, command, app, tokens)
        raise
    stop_progress()
    if not isinstance(result, dict):
        return 0
    return _finish(result, as_json, _page(command))


def _as_typed(
    error: RequestError, command: Callable[..., Any], app: App, tokens: list[str]
) -> None:
    """Below the command line a setting has its name in Python, alone or behind the verb's. Where
    the verb has a flag of that name, the error names the flag."""
    chain, apps, _ = app.parse_commands(tokens)
    name = (error.field or "").removeprefix(f"{' '.join(chain)}: ")
    name = name.removeprefix("--").replace("-", "_")
    flag = f"--{name.replace('_', '-')}"
    known = {one for argument in apps[-1].assemble_argument_collection() for one in argument.names}
    given = inspect.signature(command).parameters.get(name)
    positional = given is not None and given.kind is not inspect.Parameter.KEYWORD_ONLY
    if name.isidentifier() and flag in known and not positional:
        error.field = flag
        error.message = re.sub(rf"^{name}\b", flag, error.message)
        error.args = (error.message,)


def _check_text(tokens: list[str]) -> None:
    """Raises ConfigError for an argument of bytes that are no text."""
    for before, token in zip(["", *tokens], tokens, strict=False):
        shown = not_text(token)
        if shown is not None:
            flag = before if "=" not in shown else shown.partition("=")[0]
            raise ConfigError(
                f"the argument {shown} is not text in UTF-8",
                field=flag if flag.startswith("--") and flag not in SWITCHES else None,
                got=shown,
                expected="UTF-8",
            )


def _finish(result: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> int:
    code = int(result.pop("_exit", 0))
    if as_json:
        answer(result)
    else:
        show(result)
        sys.stdout.flush()
    return code


def _page(command: Callable[..., Any]) -> Callable[[dict[str, Any]], None]:
    """`show_VERB` of the verb's module, or its `show`."""
    module = importlib.import_module(command.__module__)
    page: Callable[[dict[str, Any]], None] = (
        getattr(module, f"show_{command.__name__}", None) or module.show
    )
    return page


def _parse_error(error: CycloptsError) -> ConfigError:
    """cyclopts' complaint as ours: one sentence, the flag, what is known, a suggestion."""
    if isinstance(error, UnusedCliTokensError):
        tokens = " ".join(error.unused_tokens or ())
        return ConfigError(f"too many arguments: {tokens}", got=tokens, hint="see --help")
    text = " ".join(str(error).split())
    hint = re.search(r"Did you mean .*?\?", text)
    known = re.search(r"Available commands: (.*?)\.$", text)
    message = re.sub(r"Did you mean .*?\?|Available commands: .*?\.$", "", text).strip()
    flag = re.search(r"(?<!\w)--?[A-Za-z][\w-]*", message)
    quoted = None if isinstance(error, MissingArgumentError) else re.search(r'"(.*?)"', message)
    dashed = "; a text that begins with - stands after --" if "Unknown option" in message else ""
    return ConfigError(
        re.sub(r'^Command "(.*)" parameter (\S+) requires an argument', r"\1 lacks \2", message),
        field=flag.group() if flag else None,
        got=quoted.group(1) if quoted else None,
        expected="one of " + known.group(1) if known else None,
        hint=hint.group().replace("Did", "did").replace('"', "'")
        if hint
        else f"see --help{dashed}",
    )


def _exhausted(error: Exception) -> TutelageError | None:
    """Memory that ran out where nobody knew a setting that would fit."""
    from tutelage.machine.memory import is_exhausted

    if not is_exhausted(error):
        return None
    return MemoryLimitError(
        "memory ran out",
        got=str(error).splitlines()[0] if str(error) else type(error).__name__,
        hint="free memory, or take --dtype bf16, a smaller model or shorter rows",
    )


def _internal(error: Exception) -> TutelageError:
    found = WorkError(f"{type(error).__name__}: {error}", hint="this is a defect: please report it")
    found.kind = "internal"
    return found


def _switches_last(arguments: Sequence[str]) -> list[str]:
    """Switches may stand before the verb: `tutelage --json run` is `tutelage run --json`."""
    tokens = list(arguments)
    leading = []
    while tokens and tokens[0] in SWITCHES:
        leading.append(tokens.pop(0))
    end = tokens.index("--") if "--" in tokens else len(tokens)
    return tokens[:end] + leading + tokens[end:]


def _version_line(found: dict[str, Any]) -> str:
    commit = f", commit {found['commit'][:12]}" if found["commit"] else ""
    return (
        f"tutelage {found['tutelage']} (Python {found['python']}, torch {found['torch']}{commit})"
    )


__all__ = ["Shared", "build_app", "run_command", "version"]
