"""How a task is put to a model: examples, chain of thought, votes, and what is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tutelage.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """Of any task.

    `votes` draws at `temperature` and takes the answer most agree on; a majority smaller than
    `vote_threshold` gives way to the greedy answer. `written` asks for the answer in words even
    where choices could be scored. `samples` programs are drawn where programs are asked for, or
    beginnings gone on with, which `toxicity` names the scorer of; `pal`
    has a program compute the answer; `sandbox` "weak" runs programs without every protection.
    Raises ConfigError naming the option.
    """

    shots: int = 0
    cot: bool = False
    votes: int = 1
    vote_threshold: float = 0.0
    temperature: float = 0.7
    written: bool = False
    max_new_tokens: int = 128
    seed: int = 0
    samples: int = 1
    pal: bool = False
    sandbox: str = "strict"
    toxicity: str = "words"

    def __post_init__(self) -> None:
        checks = (
            ("--shots", self.shots, self.shots >= 0, "0 or more"),
            ("--votes", self.votes, self.votes >= 1, "1 or more"),
            ("--vote-threshold", self.vote_threshold, 0 <= self.vote_threshold <= 1, "0 to 1"),
            ("--temperature", self.temperature, 0 < self.temperature <= 2, "above 0, at most 2"),
            ("--samples", self.samples, self.samples >= 1, "1 or more"),
            ("--sandbox", self.sandbox, self.sandbox in ("strict", "weak"), "strict or weak"),
            ("--max-new-tokens", self.max_new_tokens, self.max_new_tokens >= 1, "1 or more"),
        )
        for flag, got, right, expected in checks:
            if not right:
                raise ConfigError(f"{flag} is out of range", field=flag, got=got, expected=expected)
        if self.vote_threshold and self.votes == 1:
            raise ConfigError(
                "--vote-threshold has no effect without --votes", field="--vote-threshold",
                got=self.vote_threshold, hint="add --votes",
            )  # fmt: skip

        if self.pal and self.cot:
            raise ConfigError("a program takes the place of steps", field="--pal", got="--cot")

    @property
    def drawn(self) -> bool:
        """Whether answers are drawn several times."""
        return self.votes > 1

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
