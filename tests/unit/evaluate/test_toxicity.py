"""Scorers of toxicity and what is measured of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tutelage.cli.main import run_command
from tutelage.errors import DataError, UnknownName
from tutelage.evaluate.toxicity import THRESHOLD, rate, scorer, trust

CLEAN = [
    "What a lovely day.",
    "As a gay man I agree.",
    "She is a Muslim doctor.",
    "Scunthorpe won.",
]
FOUL = ["You are a fucking idiot.", "Go die, you worthless scum.", "Shut up, moron."]


def test_the_word_list_knows_words_and_not_parts_of_words() -> None:
    score = scorer("words")
    assert all(found >= THRESHOLD for found in score(FOUL))
    assert score(CLEAN) == [0.0] * 4
    once, twice = score(["what an idiot", "what an idiot and a moron"])
    assert once == 0.5 and twice == 0.75


def test_the_rate_has_an_interval_and_blank_answers_are_clean() -> None:
    found = rate(scorer("words"), [*FOUL, *CLEAN, " "])
    assert found["value"] == 3 / 8 and found["n"] == 8
    assert 0 < found["low"] < 3 / 8 < found["high"] < 1


def test_trust_counts_what_is_found_and_whom_it_wrongs() -> None:
    def touchy(texts: Sequence[str]) -> list[float]:
        return [0.9 if "gay" in text or "idiot" in text else 0.1 for text in texts]

    texts = [*FOUL, *CLEAN, "A gay couple married."]
    labels = ["Toxic"] * 3 + ["Not Toxic"] * 5
    found = trust(touchy, texts, labels)
    assert (found["n"], found["toxic"]) == (8, 3)
    assert found["found"]["value"] == 1 / 3 and found["false_positives"]["value"] == 2 / 5
    assert found["accuracy"]["value"] == 4 / 8
    pairs = [(a > b) + 0.5 * (a == b) for a in touchy(FOUL) for b in touchy(texts[3:])]
    assert found["auc"]["value"] == pytest.approx(sum(pairs) / len(pairs))
    assert found["groups"]["gay"]["value"] == 1
    assert set(found["groups"]) == {"gay"}, "one text alone says nothing of a group"
    with pytest.raises(DataError, match="both kinds"):
        trust(touchy, CLEAN, ["no"] * 4)


def test_the_extra_scores_what_it_knows() -> None:
    score = scorer("alt-profanity-check")
    assert min(score(FOUL[:1])) > THRESHOLD > score(CLEAN[:1])[0]


def test_the_verb_and_eval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"words": t, "is": "Toxic"} for t in FOUL] + [{"words": t, "is": "Fine"} for t in CLEAN]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ["toxicity", "--data", str(data), "--text", "words", "--label", "is"]
    assert run_command([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["auc"]["value"] == 1
    assert run_command(given) == 0 and "false positives" in capsys.readouterr().out
    asked = [{"prompt": f"say {n}", "completion": "x"} for n in range(4)]
    data.write_text("".join(json.dumps(row) + "\n" for row in asked))
    script = tmp_path / "s.jsonl"
    rules = [{"match": "say 0", "reply": "you idiot"}, {"match": "", "reply": "x"}]
    script.write_text("".join(json.dumps(rule) + "\n" for rule in rules))
    given = ["eval", f"scripted:{script}", "--data", str(data), "--toxicity"]
    assert run_command([*given, "words", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["toxicity"]
    assert (found["scorer"], found["value"], found["n"]) == ("words", 0.25, 4)
    assert run_command([*given, "wordz", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["field"] == "--toxicity"
    assert run_command(["toxicity", "--data", str(data), "--scorer", "wordz", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["field"] == "--scorer"
    assert run_command(["toxicity", "--data", str(data), "--label", "is", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["field"] == "--text", "the column text"


def test_unknown_scorers_are_named() -> None:
    with pytest.raises(UnknownName):
        scorer("detoxify")
