"""A world without torch for the ladder: models that follow simple rules, and a clock that is set.

A prompt's last line holds a key. The model knows some keys, finds others in solved examples that
stand in its prompt, and learns the rest when it is tuned. Tokens are words.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.data.load import load
from tutelage.data.retention import Retention
from tutelage.evaluate.run import WARM_TOKENS
from tutelage.lifecycle.tools import Facts, Tools
from tutelage.lm import Capabilities, Completion, Message, Prompt, Request, Score
from tutelage.peft import METHODS
from tutelage.plan.answering import Asked
from tutelage.train.config import TuneConfig

CHECKPOINT_STEPS = 2


@dataclass
class FakeClock:
    """Seconds that pass only when something says so."""

    seconds: float = 0.0

    def now(self) -> float:
        return self.seconds


@dataclass
class FakeModel:
    """What a base model is: the keys it knows, its context, how long an answer takes it."""

    knows: Callable[[str], str | None] = lambda key: None
    context: int | None = 2000
    seconds_a_row: float = 0.1
    parameters: int | None = 1000
    weights: int = 50_000_000


@dataclass
class FakeLM:
    model: FakeModel
    clock: FakeClock
    learned: Mapping[str, str] = field(default_factory=dict)
    tuned: bool = False

    def capabilities(self) -> Capabilities:
        return Capabilities("fake", score=True, chat=True, context=self.model.context)

    def generate(self, requests: Sequence[Request], cancelled: Any = None) -> Any:
        for index, request in enumerate(requests):
            if request.max_new_tokens > WARM_TOKENS:
                self.clock.seconds += self.model.seconds_a_row
            text = self.reply(request.prompt)
            yield Completion(
                index, text, "stop", self.count_tokens(request.prompt), len(text.split())
            )

    def reply(self, prompt: Prompt) -> str:
        assert not isinstance(prompt, str)
        key = key_of(prompt[-1].content)
        for turn, answer in itertools.pairwise(prompt):
            if turn.role == "user" and answer.role == "assistant" and key_of(turn.content) == key:
                return answer.content
        return self.learned.get(key) or self.model.knows(key) or "unknown"

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        nats = 1.5 if self.tuned else 1.0
        return [Score(-nats * len(t.split()), len(t.split()), False) for _, t in pairs]

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise NotImplementedError

    def count_tokens(self, prompt: Prompt) -> int:
        if isinstance(prompt, str):
            return len(prompt.split())
        return sum(len(turn.content.split()) for turn in prompt)


def key_of(text: str) -> str:
    return text.split()[-1]


@dataclass
class World:
    """Fake tools over named fake models, counting what was really done."""

    models: dict[str, FakeModel]
    clock: FakeClock = field(default_factory=FakeClock)
    step_seconds: float = 1.0
    predicted_seconds: float = 10.0
    predicted_bytes: int = 1_000_000_000
    resident: int = 100_000_000
    bytes_a_token: int = 1000
    peak_bytes: int = 5
    steps: int = 6
    notes: list[str] = field(default_factory=list)
    tunings: list[str] = field(default_factory=list)
    answered: int = 0

    def tools(self) -> Tools:
        return Tools(
            open_lm=self.open_lm,
            describe=lambda source: Facts(f"hash of {source}", self.models[source].parameters),
            tune=self.tune,
            predict=self.predict,
            resident=lambda: self.resident,
            predict_answering=self.predict_answering,
            predict_scoring=lambda source: {"weights": self.models[source].weights},
            load_rows=lambda source, prompt, completion: load(source, answered=True),
            write_pages=write_pages,
            machine=machine,
            now=self.clock.now,
            date=lambda: "2026-01-01T00:00:00+00:00",
            retention=lambda: Retention("text", "made-up text", (" ".join(["word"] * 60),) * 4),
            note=self.notes.append,
            beat_seconds=None,
        )

    def open_lm(self, source: str, adapter: Path | None) -> FakeLM:
        if adapter is None and source in self.models:
            return FakeLM(self.models[source], self.clock)
        folder = adapter or Path(source)
        learned = store.read_json(folder / "learned.json")
        return FakeLM(self.models[learned["source"]], self.clock, learned["map"], tuned=True)

    def predict(self, source: str, rows: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "predicted_seconds": self.predicted_seconds,
            "predicted_memory": {"weights": self.predicted_bytes},
            "trained_parameters": 10 if settings["method"] == "lora" else 1000,
            "steps_total": self.steps,
        }

    def predict_answering(self, source: str, asked: Asked) -> dict[str, int]:
        return {
            "weights": self.models[source].weights,
            "kv_cache": self.bytes_a_token * (asked.rows * asked.tokens + asked.shared),
        }

    def tune(
        self,
        source: str,
        rows: Sequence[Any],
        settings: Mapping[str, Any],
        out: Path,
        *,
        progress: Any,
        deadline: Callable[[], bool],
    ) -> dict[str, Any]:
        """Learns a share of the rows each step; a checkpoint says how many steps are done."""
        state = out.with_name(out.name + ".state")
        saved = [store.read_json(file)["step"] for file in state.glob("step-*/progress.json")]
        done = max(saved, default=0)
        options = METHODS.get(settings["method"]).settings().model_dump(mode="json")
        self.tunings.append(f"{settings['method']} from step {done}")
        status = "done"
        while done < self.steps:
            done += 1
            self.clock.seconds += self.step_seconds
            progress("steps", done, self.steps)
            checkpoint = state / f"step-{done:08d}" / "progress.json"
            if done % CHECKPOINT_STEPS == 0:
                store.write_json(checkpoint, {"step": done})
            if done < self.steps and deadline():
                store.write_json(checkpoint, {"step": done})
                status = "stopped"
                break
        if status == "done":
            learned = {key_of(row.messages[-1].content): row.completion for row in rows}
            with store.new_folder(out) as new:
                store.write_json(new / "learned.json", {"source": source, "map": learned})
        return {
            "out": str(out),
            "method": settings["method"],
            "layout": "peft" if settings["method"] == "lora" else "model",
            "status": status,
            "trained_parameters": 10 if settings["method"] == "lora" else 1000,
            "trained_tokens": len(rows),
            "rows": {"used": len(rows), "set_aside": 0},
            "loss": {"first": 2.0, "last": 1.0},
            "seconds": done * self.step_seconds,
            "peak_bytes": self.peak_bytes,
            "steps": done,
            "steps_total": self.steps,
            "loss_unit": "nats per token",
            "curve": [{"step": 1, "seconds": 1.0, "loss": 2.0}],
            "settings": TuneConfig(**{**settings, "options": options}).model_dump(mode="json"),
            "predicted_peak_bytes": self.predicted_bytes,
            "predicted_seconds": self.predicted_seconds,
            "predicted_memory": {"weights": self.predicted_bytes},
            "set_aside": [],
        }


def machine() -> dict[str, Any]:
    return {
        "processor": "fake",
        "cores": 1,
        "memory_bytes": 10**9,
        "device": "cpu",
        "dtype": "fp32",
        "threads": 1,
        "exact": False,
        "python": "3",
        "torch": "none",
        "tutelage": "0",
        "commit": None,
    }


def write_pages(record: dict[str, Any], folder: Path) -> list[Path]:
    store.write_json(folder / "report.html", {"report": record["reason"]})
    store.write_text(folder / "CARD.md", record["reason"])
    return [folder / "report.html", folder / "CARD.md"]


def write_rows(file: Path, rows: Sequence[tuple[str, str]]) -> str:
    """Prompts and completions as a data file."""
    lines = [json.dumps({"prompt": prompt, "completion": answer}) for prompt, answer in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file)


def turns(*contents: str) -> tuple[Message, ...]:
    roles = ("user", "assistant")
    return tuple(Message(roles[n % 2], text) for n, text in enumerate(contents))
