"""`tutelage judge MODEL`: how far a model's judgement of answers is people's (`--data F`), and
which of two evaluations' answers it takes (`--answers A B`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tutelage.cli.shared import Shared, progress
from tutelage.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tutelage.evaluate.judge import Judged, Pair


def judge(
    model: str,
    *,
    data: Path | None = None,
    answers: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = (),
    limit: int | None = None,
    api_key_file: Path | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Have a model judge pairs of answers in both orders: against people's labels, or to say which
    of two evaluations answers better.

    Parameters
    ----------
    model
        A model source: the judge.
    data
        Pairs with labels: LLMBar's or PandaLM's files, or prompt, chosen and rejected.
    answers
        Two evaluations of the same rows, as `tutelage eval --out` writes them: the answers of both
        are put to the judge, with the last question of the prompt.
    limit
        So many pairs, spread evenly.
    api_key_file
        The key of an http:// source, in a file.
    """
    from tutelage.cli.generate import open_model
    from tutelage.evaluate.judge import agreement, preferred
    from tutelage.evaluate.judge import judge as asked

    shared = shared or Shared()
    if limit is not None and limit < 2:
        raise ConfigError("--limit is too small", field="--limit", got=limit, expected="2 or more")
    pairs, files = _pairs(data, answers)
    if limit is not None and limit < len(pairs):
        pairs = [pairs[n * len(pairs) // limit] for n in range(limit)]
    lm = open_model(model, None, api_key_file, shared)
    found = asked(lm, pairs, progress(shared))
    seed = shared.seed or 0
    told = preferred(found, seed) if files else agreement(pairs, found, seed)
    return {"judge": model, **files, **told, "items": _items(pairs, found)}


def _pairs(data: Path | None, answers: tuple[Path, ...]) -> tuple[list[Pair], dict[str, str]]:
    """The pairs, and of evaluations their files. Raises ConfigError for neither or both."""
    from tutelage.evaluate.judge_data import pairs_of

    if (data is None) == (not answers):
        raise ConfigError(
            "say which pairs",
            field="--data, --answers",
            expected="labelled pairs, or two eval files",
        )
    if data is not None:
        return pairs_of(data), {}
    if len(answers) != 2:
        raise ConfigError(
            "two evaluations are judged", field="--answers", got=len(answers), expected="2 files"
        )
    a, b = answers
    return _of_evaluations(a, b), {"a": str(a), "b": str(b)}


def _of_evaluations(a: Path, b: Path) -> list[Pair]:
    from tutelage.cli.compare import read_evaluation, same_items
    from tutelage.evaluate.judge import Pair

    one, other = read_evaluation(a), read_evaluation(b)
    same_items(one, other, a, b)
    return [
        Pair(x["id"], _question(x, a), x["answer"], y["answer"])
        for x, y in zip(one["items"], other["items"], strict=True)
        if _question(y, b)
    ]


def _question(item: Mapping[str, Any], path: Path) -> str:
    """The last turn of a prompt: what both were asked, whatever examples stood before it."""
    prompt = item.get("prompt")
    if isinstance(prompt, list) and prompt:
        prompt = prompt[-1].get("content")
    if not isinstance(prompt, str) or "answer" not in item:
        raise DataError(
            f"{path}: no question and answer in an item", field=f"{path}: {item['id']}",
            expected="prompt and answer, as `tutelage eval --out` writes them",
        )  # fmt: skip
    return prompt


def _items(pairs: list[Pair], found: list[Judged]) -> list[dict[str, Any]]:
    return [
        {"id": p.id, "label": p.label if p.labels else None, "as_given": j.as_given,
         "swapped": j.swapped, "verdict": j.verdict}
        for p, j in zip(pairs, found, strict=True)
    ]  # fmt: skip


def show(result: dict[str, Any]) -> None:
    """Print how often it is right, or whom it prefers, and how much the order says."""
    if "first_better" in result:
        return _show_preferred(result)
    print(f"{result['judge']} on {result['n']} pairs that people decided, each in both orders")
    for name, told in (
        ("accuracy", "agrees with people, mean of both orders"),
        ("agreement", "agrees in both"),
        ("consistent", "takes the same answer in both orders"),
        ("first", "takes the one that stands first"),
    ):
        value = result[name]
        print(f"  {value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})  {told}")
    if result["kappa"] is not None:
        print(f"  {result['kappa']:.3f}  Cohen's kappa, ties among the labels")
    if result["people"] is not None:
        print(f"  {result['people']:.3f}  of pairs of people say the same")


def _show_preferred(result: dict[str, Any]) -> None:
    words = {"better": "A is better", "worse": "B is better", "cannot tell": "cannot tell"}
    print(f"{result['judge']} on {result['n']} pairs, each in both orders: "
          f"{words[result['verdict']]} (p = {result['p_value']:.4f})")  # fmt: skip
    for name, told in (
        ("first_better", f"A, {result['a']}"), ("second_better", f"B, {result['b']}"),
        ("neither", "neither: the order decided, or no letter was said"),
    ):  # fmt: skip
        value = result[name]
        print(f"  {value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})  {told}")
