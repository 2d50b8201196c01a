from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tutelage.cli.main import run_command

SMOLLM = "preset:smollm2-135m"
COUNT = 134_515_008
Asked = Callable[..., dict[str, Any]]


@pytest.fixture
def memory(capsys: pytest.CaptureFixture[str]) -> Asked:
    """`plan memory` with these options; its object, or that of its error, which exits with 2."""

    def asked(**options: Any) -> dict[str, Any]:
        flags: list[str] = []
        for name, value in options.items():
            for one in value if isinstance(value, tuple) else (value,):
                flags += [f"--{name}"] if one is True else [f"--{name}={one}"]
        code = run_command(["plan", "memory", *flags, "--json"])
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert code == (2 if "error" in found else 0)
        return found.get("error", found)

    return asked


@pytest.mark.parametrize(
    ("options", "rule", "total"),
    [
        ({}, "stored", 4_000_000_000),
        ({"precision": "bf16"}, "stored", 2_000_000_000),
        ({"precision": "int4"}, "stored", 500_000_000),
        ({"train": True}, "course-24", 24_000_000_000),
        ({"train": True, "precision": "mixed"}, "mixed-16", 16_000_000_000),
        ({"rule": "mixed-16"}, "mixed-16", 16_000_000_000),
    ],
)
def test_by_number_of_parameters(
    options: dict[str, Any], rule: str, total: int, memory: Asked
) -> None:
    found = memory(params=1e9, **options)
    assert list(found) == [
        *("components", "total_bytes", "per_device_bytes", "rule", "formula"),
        *("corrected_bytes", "correction"),
    ]
    assert (found["rule"], found["total_bytes"]) == (rule, total)
    assert sum(found["components"].values()) == found["per_device_bytes"] == total
    assert "1000000000" in found["formula"]


def test_a_rule_beside_a_model_uses_its_count(memory: Asked) -> None:
    assert memory(model=SMOLLM, rule="course-24")["total_bytes"] == 24 * COUNT


def test_devices_share_what_the_stage_says(memory: Asked) -> None:
    found = memory(params=64e9, rule="mixed-16", zero=3, devices=64)
    assert found["per_device_bytes"] == found["total_bytes"] / 64


def test_answering_with_a_model(memory: Asked) -> None:
    found = memory(model=SMOLLM, batch=4, context=1000)
    assert found["rule"] == "components"
    assert found["components"]["weights"] == 2 * COUNT
    assert found["components"]["kv_cache"] == 2 * 30 * (192 + 192) * 4 * 1000


def test_keys_and_values_in_8_bits(memory: Asked) -> None:
    """Of 3 heads of 64 numbers, each 1 byte, and a scale of 4."""
    asked = {"model": SMOLLM, "batch": 4, "context": 1000}
    wide = memory(**asked)["components"]["kv_cache"]
    narrow = memory(**asked, **{"kv-cache-dtype": "int8"})["components"]["kv_cache"]
    assert (wide, narrow) == (4000 * 30 * 2 * 3 * 64 * 2, 4000 * 30 * 2 * 3 * (64 + 4))
    refused = memory(**asked, train=True, **{"kv-cache-dtype": "int8"})
    assert refused["field"] == "--kv-cache-dtype"


def test_the_default_context_is_at_most_the_models(memory: Asked) -> None:
    tiny = memory(model="preset:llama-tiny")
    assert tiny == memory(model="preset:llama-tiny", context=512)
    assert memory(model=SMOLLM) == memory(model=SMOLLM, context=2048, batch=1)


def test_training_a_model(memory: Asked) -> None:
    full = memory(model=SMOLLM, train=True)["components"]
    lora = memory(model=SMOLLM, train=True, method="lora", rank=8, role=("attn.q", "attn.v"))
    wide = memory(model=SMOLLM, train=True, precision="fp32")["components"]
    assert full["optimizer"] == 8 * COUNT
    assert lora["components"]["optimizer"] == 8 * 460_800
    assert wide["activations"] > 1.5 * full["activations"]
    assert "copies" in full and "copies" not in wide


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "--params, --model"),
        ({"params": 1e9, "model": SMOLLM}, "--params, --model"),
        ({"params": 0.0}, "--params"),
        ({"params": float("nan")}, "--params"),
        ({"params": 1e9, "batch": 2}, "--batch"),
        ({"params": 1e9, "rule": "course-24", "precision": "fp32"}, "--precision"),
        ({"params": 1e9, "train": True, "precision": "int8"}, "--precision"),
        ({"params": 1e9, "devices": 0}, "--devices"),
        ({"params": 1e9, "zero": 4, "devices": 2}, "--zero"),
        ({"params": 1e9, "zero": 2}, "--zero"),
        ({"params": 1e9, "devices": 8}, "--devices"),
        ({"params": 1e9, "zero": 1, "devices": 8}, "--zero"),
        ({"model": SMOLLM, "zero": 2, "devices": 8}, "--zero"),
        ({"params": 1e9, "rule": "course-24", "method": "lora"}, "--method"),
        ({"model": SMOLLM, "batch": 0}, "--batch"),
        ({"model": SMOLLM, "context": 8193}, "--context"),
        ({"model": SMOLLM, "method": "lora"}, "--method"),
        ({"model": SMOLLM, "checkpointing": True}, "--checkpointing"),
        ({"model": SMOLLM, "train": True, "rank": 4}, "--rank"),
        ({"model": SMOLLM, "train": True, "precision": "int4"}, "--precision"),
    ],
)
def test_wrong_requests_name_the_flag(options: dict[str, Any], field: str, memory: Asked) -> None:
    error = memory(**options)
    assert (error["kind"], error["field"]) == ("config", field)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"train": True},
        {"rule": "mixed-16"},
        {"precision": "int8"},
        {"zero": 3, "devices": 8},
        {"train": True, "zero": 1, "devices": 8},
        {"train": True, "zero": 2, "devices": 8},
        {"model": SMOLLM},
        {"model": SMOLLM, "batch": 2},
        {"model": SMOLLM, "context": 64},
        {"model": SMOLLM, "precision": "fp32"},
        {"model": SMOLLM, "train": True},
        {"model": SMOLLM, "train": True, "precision": "fp32"},
        {"model": SMOLLM, "train": True, "checkpointing": True},
        {"model": SMOLLM, "train": True, "threads": 7},
        {"model": SMOLLM, "train": True, "method": "lora"},
        {"model": SMOLLM, "train": True, "method": "lora", "rank": 4},
        {"model": SMOLLM, "train": True, "method": "lora", "role": "attn.q"},
        {"model": SMOLLM, "train": True, "method": "lora", "zero": 1, "devices": 8},
        {"model": SMOLLM, "zero": 3, "devices": 8},
    ],
    ids=str,
)
def test_what_is_not_refused_has_an_effect(options: dict[str, Any], memory: Asked) -> None:
    """Each answer differs from that without the last option."""
    subject = {} if "model" in options else {"params": 1e9}
    *kept, last = options or ["nothing"]
    less = (
        {"params": 2e9} if last in ("nothing", "model") else subject | {k: options[k] for k in kept}
    )
    if last == "devices":
        less["devices"] = 4
    assert memory(**subject, **options) != memory(**less)


def test_unknown_names_are_answered_with_the_known_ones(
    memory: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = memory(params=1e9, rule="course-42")
    assert (rule["kind"], rule["hint"]) == ("unknown-name", "did you mean 'course-24'?")
    role = memory(model=SMOLLM, train=True, method="lora", role="atn.q")
    assert (role["kind"], role["hint"]) == ("unknown-name", "did you mean 'attn.q'?")
    assert run_command(["plan", "parameters", "--model", "scripted:no-such-file", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "source"


@pytest.mark.parametrize("flag", ["--device=cpu", "--dtype=bf16", "--exact"])
def test_a_plan_is_not_placed(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("memory", "parameters"):
        assert run_command(["plan", verb, "--model", SMOLLM, flag, "--json"]) == 2
        error = json.loads(capsys.readouterr().out)["error"]
        assert (error["kind"], error["field"]) == ("config", flag.partition("=")[0])


def test_parameters_by_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", "parameters", "--model", SMOLLM, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total"] == COUNT == sum(found["parts"].values())
    assert found["layers"] == 30 and found["tied_head"] is True
    assert found["total"] == 30 * found["per_layer"] + found["parts"]["embed"] + 576


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "memory", "--params", "175e9", "--rule", "mixed-16", "--zero", "1", "--devices=8"],
        ["plan", "memory", "--model", SMOLLM, "--train"],
        ["plan", "parameters", "--model", SMOLLM],
        ["model", "show", SMOLLM],
    ],
)
def test_pages_for_people(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(arguments) == 0
    shown = capsys.readouterr().out
    assert "134,515,008" in shown or "total" in shown


def test_planning_builds_nothing() -> None:
    code = (
        "import sys; from tutelage.cli.main import run_command\n"
        f"code = run_command(['plan', 'memory', '--model', '{SMOLLM}', '--train', '--json'])\n"
        f"code += run_command(['model', 'show', '{SMOLLM}', '--json'])\n"
        "assert code == 0 and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    plan, model = (json.loads(line) for line in done.stdout.splitlines())
    assert plan["rule"] == "components"
    assert model == {
        "source": SMOLLM,
        "architecture": "LlamaForCausalLM",
        "family": "decoder",
        "parameters": COUNT,
        "layers": 30,
        "width": 576,
        "heads": 9,
        "kv_heads": 3,
        "vocabulary": 49152,
        "context": 8192,
        "dtype": "float32",
        "bytes": 4 * COUNT,
        "licence": None,
    }


def test_an_encoder_reads_and_keeps_nothing(memory: Asked) -> None:
    found = memory(model="preset:bert-base", precision="fp32", batch=4, context=128)
    assert list(found["components"]) == ["weights", "activations"]
    assert found["components"]["weights"] == 4 * 109_482_240


@pytest.mark.parametrize("model", ["bert-base", "roberta-tiny", "t5-small", "bloom-tiny"])
def test_training_that_is_not_counted_is_refused(model: str, memory: Asked) -> None:
    error = memory(model=f"preset:{model}", train=True)
    assert (error["field"], error["got"]) == ("--model", f"preset:{model}")
    assert "--rule mixed-16" in error["hint"]
    assert memory(model=f"preset:{model}", rule="mixed-16")["total_bytes"] > 0


def test_fused_projections_are_counted_and_named(memory: Asked) -> None:
    full = memory(model="preset:gpt2", train=True, context=1024)
    assert full["components"]["workspace"] > 1024 * 3 * 768 * 2
    lora = {"model": "preset:gpt2", "train": True, "method": "lora", "rank": 8}
    fused = memory(**lora, role="attn.qkv")
    assert fused["components"]["adapter"] == 4 * 12 * 8 * (768 + 3 * 768)
    every = 4 * 12 * 8 * ((768 + 3 * 768) + (768 + 768) + 2 * (768 + 3072))
    assert memory(**lora)["components"]["adapter"] == every
    of_queries = memory(**lora, role="attn.q")  # a part of the fused projection
    assert of_queries["components"]["adapter"] == 4 * 12 * 8 * (768 + 768)
    error = memory(**lora, role="attn.x")
    assert (error["kind"], error["field"]) == ("unknown-name", "--role")
    assert "attn.qkv" in error["expected"]


def test_parameters_of_an_encoder_by_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", "parameters", "--model", "preset:bert-base", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total"] == sum(found["parts"].values()) == 109_482_240
    assert (found["layers"], found["per_layer"]) == (12, 7_087_872)
    assert found["parts"]["pooler"] == 768 * 769
    assert found["parts"]["embed.type"] == 2 * 768
