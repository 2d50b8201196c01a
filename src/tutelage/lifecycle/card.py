"""`CARD.md`: a run's recommendation as a model card in the Hub's form, looked up from the record.

The YAML header carries licence, base model, data and results for the Hub; the text says what was
made, how, how good it is and where it must not be used. Computes nothing: a key that is missing
from the record stops the card and is named. Text from files and users is escaped.
"""

from __future__ import annotations

import functools
import re
import shlex
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCardData
from markupsafe import Markup

from tutelage import store
from tutelage.errors import GuardError
from tutelage.lifecycle.pages import command, formats, lookup
from tutelage.lifecycle.record import Candidate, Measured, Record

PAGES = Path(__file__).parent / "pages"
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


def write_card(record: dict[str, Any], folder: Path) -> Path:
    """Write `folder`/CARD.md and return its path.

    Raises GuardError naming a key that is missing from the record, WorkError if it cannot write.
    """
    card = render(lookup.checked(record))
    path = folder / "CARD.md"
    store.write_text(path, card)
    return path


def render(record: Record) -> str:
    """The card as text, the same for the same record."""
    chosen = lookup.recommended(record)
    try:
        body = _environment().get_template("card.md").render(_context(record, chosen))
    except jinja2.UndefinedError as error:
        raise GuardError(f"the record cannot be shown: {error.message}") from error
    header = _header(record, chosen).to_yaml(line_break="\n")
    return f"---\n{header}\n---\n\n{_single_blank_lines(body)}\n"


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        autoescape=False,  # Markdown, not HTML: `_escaped` is applied to every text instead
        finalize=_escaped,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**formats.FILTERS, "code": _code, "quoted": _quoted, "shell": _shell}
    return environment


def _context(record: Record, chosen: Candidate | None) -> dict[str, Any]:
    more = record.detail.candidates[chosen.name] if chosen else None
    return {
        "record": record,
        "chosen": chosen,
        "more": more,
        "training": more.training if more else None,
        "project": store.to_json(record.detail.project.model_dump()),
        "again": command.again(record),
        "name": Path(record.run).name,
        "folder": record.model,
        "models": list(dict.fromkeys(each.model for each in record.candidates)),
        "quality": lambda each: lookup.quality(record, each),
        "development": lambda each: lookup.development(record, each),
    }


def _header(record: Record, chosen: Candidate | None) -> ModelCardData:
    data: dict[str, Any] = {
        "library_name": "tutelage",
        "pipeline_tag": "text-generation",
        "tags": ["tutelage", *([chosen.rung] if chosen else [])],
        "datasets": [record.detail.data.source],
    }
    if chosen is None:
        return ModelCardData(**data, license="unknown", metrics=[record.detail.metric])
    _, rows = lookup.quality(record, chosen)
    measured: dict[str, Measured] = getattr(chosen, rows)
    results = [
        _result(record, rows, name, value)
        for name, value in measured.items()
        if value.value is not None
    ]
    return ModelCardData(
        **data,
        license=(record.detail.licence[chosen.model] or "unknown").lower(),
        base_model=chosen.model.removeprefix("hf:").partition("@")[0],
        metrics=list(measured),
        model_name=Path(record.run).name,
        eval_results=results or None,
    )


def _result(record: Record, rows: str, name: str, value: Measured) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        dataset_type=record.detail.data.source,
        dataset_name=record.detail.data.source,
        dataset_split=rows,
        metric_type=name,
        metric_name=f"{name} ({formats.interval(value)}, 95% interval, n = {value.n})",
        metric_value=value.value,
    )


def _escaped(value: Any) -> Any:
    """Text in one line and without Markdown's signs, so that no value can break the card."""
    if isinstance(value, Markup) or not isinstance(value, str | Path):
        return value
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def _code(value: Any) -> Markup:
    """Text inside a code block or span, which no backtick of its own can end."""
    return Markup(str(value).replace("`", "'"))


def _shell(value: Any) -> Markup:
    """One word of a command line."""
    return _code(shlex.quote(str(value)))


def _quoted(value: Any) -> Markup:
    """A Python string literal."""
    return _code(repr(str(value)))


def _single_blank_lines(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", text).strip()
