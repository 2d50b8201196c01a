"""`plan compute`, `scaling`, `parallel`, `formats`, `activations`, `peft`, `method`, `memory`."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import Any

import pytest

from tutelage.cli.main import run_command
from tutelage.peft import METHODS

GPT3, GPT3_SAID = "preset:gpt3-175b", "--params 174.6e9"
COMMANDS = [
    f"compute {GPT3_SAID} --tokens 300e9",
    f"compute --model {GPT3} --tokens 300e9 --device a100 --count 1024 --mfu 0.4",
    "scaling --flops 5.8e23 --answered 1e13 --known",
    "scaling --known --law kaplan",
    "parallel --params 7e9 --devices 16 --device a100",
    f"parallel --model {GPT3} --devices 64 --device h100 --tensor 8 --pipeline 8 --attained 0.5",
    "formats 3.141592",
    "formats --truncate -- -70000",
    f"activations --model {GPT3}",
    f"peft --model {GPT3} --method lora --role attn.o",
    f"method --model {GPT3} --goal memory",
    f"memory --model {GPT3} --train",
    *(f"memory --model {GPT3} --train --method {name}" for name in METHODS.names()),
]


def asked(line: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    code = run_command(["--json", "plan", *shlex.split(line)])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == (2 if "error" in found else 0)
    return found.get("error", found)


@pytest.mark.parametrize("line", COMMANDS)
def test_each_has_an_object_and_a_page(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(line, capsys)
    assert run_command(["plan", *shlex.split(line)]) == 0
    assert len(capsys.readouterr().out) > 40


def test_no_plan_imports_torch_or_numpy() -> None:
    code = (
        "import sys; from tutelage.cli.main import run_command\n"
        f"for line in {COMMANDS!r}:\n"
        "    assert run_command(['--json', 'plan', *line.split()]) == 0, line\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules, 'not instant'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("compute --params 1e9", "--tokens"),
        ("compute --tokens 1e9", "--params, --model"),
        ("compute --flops 1e20 --tokens 1e9", "--tokens"),
        ("compute --flops 1e20 --mfu 0.5", "--mfu"),
        ("compute --flops 1e20 --price-per-hour 2", "--price-per-hour"),
        ("compute --flops 1e20 --device a100 --peak 1e12", "--device, --peak"),
        ("compute --flops 1e20 --peak 1e12 --precision bf16", "--precision"),
        ("compute --flops 1e20 --device v100 --precision bf16", "--precision"),
        ("compute --flops 1e20 --device a101", "--device"),
        ("compute --flops 1e20 --device a100 --mfu 1.5", "--mfu"),
        ("compute --flops 1e20 --device a100 --count 0", "--count"),
        ("compute --flops -1", "--flops"),
        ("compute --params 1e9 --tokens 1e9 --context 512", "--context"),
        ("compute --params 1e9 --tokens 1e9 --convention palm", "--convention"),
        (f"compute --model {GPT3} --tokens 1 --convention plam", "--convention"),
        (f"compute --model {GPT3} --tokens 1 --convention 6n --context 9", "--context"),
        ("compute --model preset:t5-small --tokens 1e9", "--model"),
        ("scaling", "--params, --tokens, --flops"),
        ("scaling --params 1 --tokens 1 --flops 1", "--params, --tokens, --flops"),
        ("scaling --params 0", "--params"),
        ("scaling --params 1e9 --law chinchila", "--law"),
        ("scaling --params 1e9 --answered 1e12", "--flops"),
        ("scaling --known --answered 1e12", "--answered"),
        ("parallel --params 1e9 --devices 0 --device a100", "--devices"),
        ("parallel --params 1e12 --devices 8 --device a100", "--devices"),
        ("parallel --params 1e9 --devices 8 --device a100 --attained 0.5", "--attained"),
        ("parallel --params 1e9 --devices 8 --device a100 --tensor 3", "--tensor"),
        ("parallel --params 1e9 --devices 8 --device a100 --batch 0", "--batch"),
        ("parallel --params 1e9 --devices 8 --device a100 --context 0", "--context"),
        ("parallel --params 1e9 --devices 8 --device a100 --context -5", "--context"),
        ("parallel --params 1e9 --devices 8 --device a100 --pipeline 0", "--pipeline"),
        ("parallel --params 1e9 --devices 8 --device a100 --context-degree 0", "--context-degree"),
        ("parallel --params 1e9 --devices 8 --device a100 --micro-batches 0", "--micro-batches"),
        ("parallel --params 1e9 --devices 8 --device a100 --chunks 0", "--chunks"),
        ("parallel --params 1e9 --devices 8 --device a100 --tensor 1 --attained 0", "--attained"),
        ("parallel --params 1e9 --devices 8 --device a100 --tensor 1 --attained 2", "--attained"),
        ("parallel --params 1e9 --devices 8 --device a100 --tensor 1 --attained nan", "--attained"),
        ("compute --params 1e9 --device a100 --tokens-per-second 0", "--tokens-per-second"),
        ("compute --params 1e9 --device a100 --tokens-per-second nan", "--tokens-per-second"),
        ("method --model preset:llama-tiny --rank 0", "--rank"),
        ("activations --model preset:lstm-tiny", "--model"),
        ("activations --model preset:t5-tiny", "--model"),
        ("parallel --params 1e9 --devices 8 --device a100 --zero 4", "--zero"),
        ("formats pi", "VALUE"),
        (f"activations --model {GPT3} --batch 0", "--batch"),
        (f"activations --model {GPT3} --tensor 7", "--tensor"),
        (f"peft --model {GPT3} --method lore", "--method"),
        (f"peft --model {GPT3} --method lora --role attn.q", "--role"),
        (f"peft --model {GPT3} --method lora --rank 0", "--rank"),
        (f"method --model {GPT3} --epochs 0", "--epochs"),
        (f"method --model {GPT3} --tokens 0", "--tokens"),
    ],
)
def test_wrong_requests_name_the_flag(
    line: str, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(line, capsys)["field"] == field


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("compute --flops 1e20 --device a100", "--precision tf32"),
        ("compute --flops 1e20 --device a100", "--count 2"),
        ("compute --flops 1e20 --device a100", "--mfu 0.5"),
        ("compute --flops 1e20 --device a100", "--price-per-hour 2"),
        ("compute --params 1e9 --tokens 1e9 --device a100", "--tokens-per-second 1e4"),
        (f"compute --model {GPT3} --tokens 1e9", "--context 512"),
        (f"compute --model {GPT3} --tokens 1e9", "--convention palm"),
        ("scaling --flops 1e22", "--law parametric"),
        ("scaling --flops 1e22", "--answered 1e12"),
        ("scaling --flops 1e22", "--known"),
        ("scaling --params 1e9", "--tokens 1e9"),
        *(
            ("parallel --params 7e9 --devices 8 --device h100", f"--{more}")
            for more in (
                "batch 8",
                "context 512",
                "recompute full",
                "tensor 2",
                "pipeline 2",
                "context-degree 2",
                "zero 1",
                "micro-batches 2",
            )
        ),
        ("parallel --params 7e9 --devices 8 --device h100 --pipeline 2", "--chunks 4"),
        ("parallel --params 7e9 --devices 8 --device h100 --pipeline 2", "--attained 0.3"),
        ("formats 1.999", "--truncate"),
        (f"activations --model {GPT3}", "--batch 2"),
        (f"activations --model {GPT3}", "--context 64"),
        (f"activations --model {GPT3}", "--tensor 4"),
        (f"peft --model {GPT3} --method lora", "--rank 4"),
        (f"peft --model {GPT3} --method prefix", "--tokens 4"),
        (f"peft --model {GPT3} --method prefix-mlp", "--hidden 4"),
        (f"peft --model {GPT3} --method lora", "--role attn.o"),
        *(
            (f"method --model {GPT3}", f"--{m}")
            for m in ("tokens 9", "epochs 2", "rank 2", "goal memory")
        ),
    ],
)
def test_every_option_has_an_effect(
    line: str, more: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(line, capsys) != asked(f"{line} {more}", capsys)


def test_money_and_days(capsys: pytest.CaptureFixture[str]) -> None:
    found = asked("compute --flops 4.32e23 --peak 1e15 --count 100 --price-per-hour 2", capsys)
    assert (found["petaflop_s_days"], found["days"]) == pytest.approx((5000, 50))
    assert found["cost"] == pytest.approx(50 * 24 * 100 * 2)
    rate = asked("compute --params 1e9 --device a100 --tokens-per-second 20800", capsys)
    assert rate["seconds"] is None and rate["mfu"] == pytest.approx(0.4)
