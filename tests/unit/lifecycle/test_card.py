"""CARD.md: the Hub's form, every number looked up, no card with a gap."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from tutelage.errors import GuardError
from tutelage.lifecycle.card import write_card
from tutelage.lifecycle.pages import command
from tutelage.lifecycle.pages.lookup import checked
from tutelage.score._collapse import Collapse

from . import damage, example_record

SECTIONS = [
    "Model details",
    "Uses",
    "Bias, risks and limitations",
    "Training",
    "Evaluation",
    "Environmental impact and compute",
    "How to use",
    "Reproduce",
]


def text_of(record: dict[str, Any], folder: Path) -> str:
    path = write_card(record, folder)
    assert path == folder / "CARD.md"
    return path.read_text(encoding="utf-8")


def short() -> dict[str, Any]:
    record = example_record.record()
    for each in record["detail"]["candidates"].values():
        if each["training"]:
            each["training"]["curve"] = each["training"]["curve"][:2]
    return record


def test_the_hub_reads_it(tmp_path: Path) -> None:
    record = example_record.record()
    card = ModelCard(text_of(record, tmp_path))
    assert card.data.license == "apache-2.0"
    assert card.data.base_model == example_record.MODEL
    assert card.data.datasets == ["builtin:stdlib-docstrings"]
    assert card.data.metrics[0] == "rougeL"
    measured = record["candidates"][3]["test"]
    assert {each.metric_type: each.metric_value for each in card.data.eval_results} == {
        name: value["value"] for name, value in measured.items()
    }
    assert {each.dataset_split for each in card.data.eval_results} == {"test"}
    assert re.findall(r"^## (.*)$", card.content, re.MULTILINE) == SECTIONS


def test_says_what_was_measured(tmp_path: Path) -> None:
    text = text_of(example_record.record(), tmp_path)
    assert "| rougeL | test | 0.312 | 0.299 to 0.325 | 200 |" in text
    assert "| few-shot | test | +0.107 | +0.086 to +0.129 |" in text
    assert "+0.021 nats per token (+0.012 to +0.030, n = 64)" in text
    assert "| learning rate | 0.0008 |" in text
    assert "3.070 at step 1, " in text
    assert "1 min 49 s to make, 14.2 s to measure, 1 min 11 s for 1,000 answers" in text
    assert "tutelage generate runs/docstrings" in text


def test_every_number_of_the_recommended_candidate_is_on_the_card(tmp_path: Path) -> None:
    record = short()
    original = text_of(record, tmp_path)
    assert text_of(record, tmp_path) == original
    shown = [
        path
        for path in damage.numbers(record)
        if path[:2] == ("candidates", 3)
        or path[:3] == ("detail", "candidates", "lora")
        or path[:2] in [("detail", "data"), ("detail", "machine"), ("detail", "project")]
    ]
    # Of the loss curve the card says the ends; the mean lengths and components are the report's.
    reports = ("predicted_memory", "prompt_tokens_mean", "answer_tokens_mean")
    shown = [path for path in shown if path[-1] not in reports and path[-2] not in reports]
    shown = [path for path in shown if not ("curve" in path and path[-1] == "seconds")]
    shown = [path for path in shown if "predicted_peak_bytes" not in path[4:]]
    assert len(shown) > 80
    for path in shown:
        with contextlib.suppress(GuardError):  # it contradicts another number
            assert text_of(damage.with_other_number(record, path), tmp_path) != original, path


def test_one_answer_to_everything_is_a_limit(tmp_path: Path) -> None:
    record = example_record.record()
    for each in record["candidates"]:
        each["collapse"] = Collapse("O", "words", 900, 0.93).as_json()
    said = "**Warning:** 'O' is the answer to all 900 words, which is right for 93.0%"
    assert said in text_of(record, tmp_path)


def test_prompts_need_no_training_section_and_change_no_weight(tmp_path: Path) -> None:
    text = text_of(example_record.prompt_only(), tmp_path)
    assert "Nothing was trained: the base model answers with 0 examples" in text
    assert "no weight was changed" in text and "PeftModel" not in text
    assert "`runs/docstrings/model/tutelage.json`" in text
    assert next(e.metric_value for e in ModelCard(text).data.eval_results) == 0.134


def test_full_tuning_is_opened_by_transformers_alone(tmp_path: Path) -> None:
    record = example_record.record()
    record["detail"]["candidates"]["lora"]["training"]["layout"] = "model"
    text = text_of(record, tmp_path)
    assert "AutoModelForCausalLM.from_pretrained('runs/docstrings/model/model')" in text
    assert "PeftModel" not in text


def test_a_run_without_recommendation_says_so(tmp_path: Path) -> None:
    text = text_of(example_record.nothing_recommended(), tmp_path)
    card = ModelCard(text)
    assert card.data.eval_results is None and card.data.license == "unknown"
    assert "there is no model to describe" in text and "How to use" not in text


def test_development_rows_stand_in_where_test_rows_were_not_scored(tmp_path: Path) -> None:
    record = example_record.record()
    record["candidates"][3]["test"] = None
    results = ModelCard(text_of(record, tmp_path)).data.eval_results
    assert {each.dataset_split for each in results} == {"development"}
    assert results[0].metric_value == 0.318


def test_unknown_licences_and_unmeasured_values_are_not_invented(tmp_path: Path) -> None:
    record = example_record.record()
    record["detail"]["licence"][example_record.MODEL] = None
    record["candidates"][3]["test"]["bleu"] |= {
        "value": None, "low": None, "high": None, "reason": "no words"
    }  # fmt: skip
    record["candidates"][3]["forgetting"] = None
    text = text_of(record, tmp_path)
    card = ModelCard(text)
    assert card.data.license == "unknown" and "not stated by its source" in text
    assert "bleu" not in {each.metric_type for each in card.data.eval_results}
    assert "| bleu | test | – |" in text and "Forgetting was not measured" in text


def test_the_run_is_given_again_by_what_is_typed() -> None:
    record = example_record.record()
    line = "tutelage run runs/docstrings/project.toml --fresh --seed 0"
    assert command.again(checked(record)) == f"{line} --device cpu --dtype bf16 --threads 2"
    record["detail"]["machine"] |= {"device": "cuda", "dtype": "fp32", "exact": True}
    again = command.again(checked(record))
    assert again == f"{line} --device cuda --dtype fp32 --threads 2 --exact"
    elsewhere = {"device": None, "dtype": None, "threads": None, "exact": False}
    record["detail"]["machine"] |= elsewhere
    assert command.again(checked(record)) == line
    record["run"] = "runs/two words"
    assert "run 'runs/two words/project.toml' --fresh" in command.again(checked(record))


def test_hostile_text_breaks_neither_header_nor_tables(tmp_path: Path) -> None:
    record = example_record.record()
    evil = 'x: "y" | <img src=x onerror=alert(1)>\n---\n## Uses\n```\n| a | b |\n{{ 7*7 }}'
    record["reason"] = evil
    record["detail"]["data"] |= {"source": evil, "notes": [evil], "set_aside": {evil: 112}}
    record["detail"]["candidates"]["lora"]["training"]["settings"]["method"] = evil
    record["detail"]["project"]["task"]["prompt"] = evil
    record["candidates"][3]["comparisons"][0]["against"] = evil
    text = text_of(record, tmp_path)
    card = ModelCard(text)
    assert card.data.datasets == [evil]
    assert re.findall(r"^## (.*)$", card.content, re.MULTILINE) == SECTIONS
    assert not re.search(r"(?<!\\)<img", card.text.split("```json")[0])
    assert len(re.findall(r"^```", text, re.MULTILINE)) % 2 == 0
    for line in text.splitlines():
        if line.startswith(("| x: ", "| method | x: ")):
            cells = re.split(r"(?<!\\)\|", line)
            assert len(cells) in (4, 7), line
