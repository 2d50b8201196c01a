"""The record of a run: everything that was decided and measured, once.

`record.json` is this schema. The report and the card look every number up in it and compute none;
a field that is missing makes them fail rather than guess. The upper part is the contract's object,
`detail` is what the pages need beyond it. Sizes are bytes, times seconds, metrics 0..1. What one
part says of another is held against it by `pages/whole.py`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from tutelage.config import Frozen
from tutelage.lifecycle.project import Project
from tutelage.train.config import TuneConfig

CandidateStatus = Literal["done", "skipped", "stopped"]


class Measured(Frozen):
    """A measured value with its 95% interval; `reason` says why the value is null."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None

    @model_validator(mode="after")
    def _null_with_a_reason(self) -> Measured:
        if self.reason is None and None in (self.value, self.low, self.high):
            raise ValueError("a number is null without a reason")
        return self


class Comparison(Frozen):
    """Difference of the goal metric to another candidate, on the same rows; p Holm-corrected."""

    against: str
    difference: float
    low: float
    high: float
    p_value: float
    rows: Literal["development", "test"]


class OneAnswer(Frozen):
    """`score._collapse.Collapse`, and it as a sentence."""

    answer: str
    of: str
    n: int
    right: float | None
    warning: str


class Candidate(Frozen):
    """One base model x prompt x tuning, as the contract prints it."""

    name: str
    model: str
    rung: str
    status: CandidateStatus
    reason: str
    development: dict[str, Measured]
    test: dict[str, Measured] | None
    comparisons: list[Comparison]
    seconds: float
    """Making cost: tuning; 0 for a prompt."""
    measuring_seconds: float
    """What it took to know how good it is: asking it rows, with every number of examples tried, and
    measuring what it forgot, each with opening the model."""
    seconds_per_1000_answers: float | None
    """Answering alone: the model is open and has answered before."""
    peak_bytes: int | None
    """The highest of its tuning and answering."""
    predicted_peak_bytes: int | None
    """Likewise; null for a model that runs elsewhere."""
    over_budget: bool
    """Whether the measured peak is above the memory allowed: it is not recommended then."""
    trained_parameters: int
    bytes_on_disk: int
    """What this candidate adds on disk: adapter or model; 0 for prompts."""
    forgetting: Measured | None
    """Rise of loss on text away from the task, nats per token; null where nothing was tuned."""
    toxicity: Measured | None
    collapse: OneAnswer | None
    """Set where it answered one thing to all rows last evaluated, though what is right varies."""


class Kept(Frozen):
    """Share of a general task's rows that are right, before and after tuning, on the same rows."""

    task: str
    """`all` are all questions together; `instructions` are no questions."""
    before: Measured
    after: Measured
    difference: float
    """After less before, with its 95% interval."""
    low: float
    high: float


class LossPoint(Frozen):
    step: int
    seconds: float
    loss: float
    """Mean nats per trained token of this step."""


class Training(Frozen):
    """What tuning one candidate was, as resolved and as happened."""

    method: str
    about: str
    """What the method is, in a sentence."""
    layout: Literal["model", "peft", "own"]
    """Whose form the result has: a model folder, an adapter of PEFT's or of ours."""
    settings: TuneConfig
    """As resolved: the method's own, learning rate, tokens a batch, epochs, seed ..."""
    steps: int
    rows: int
    trained_tokens: int
    predicted_seconds: float
    seconds: float
    curve: list[LossPoint]
    loss_unit: str
    """Of the curve."""
    predicted_peak_bytes: int
    """The sum of these:"""
    predicted_memory: dict[str, int]
    """Bytes by component: weights, gradients, optimizer, activations, logits ..."""


class Choice(Frozen):
    """One number of examples in the prompt, on development rows."""

    shots: int
    value: float | None
    """The goal metric; null where it was not measured, for the reason that stands beside it."""
    seconds: float | None
    reason: str | None


class CandidateDetail(Frozen):
    """What the pages show of a candidate beyond the contract's object."""

    shots: int
    prompt_tokens_mean: float | None
    answer_tokens_mean: float | None
    cut_off: int
    """Answers that ended at max_new_tokens, on the rows last evaluated."""
    divergence: Measured | None
    """Kullback-Leibler divergence from the base on the base's own samples, nats per token."""
    general: list[Kept]
    """Of each small general task, of all together, and of instructions; empty where nothing was
    tuned or nothing was asked."""
    training: Training | None
    tried: list[Choice]


class Aside(Frozen):
    """A row that was set aside: FILE:LINE, one of `data.rows.REASONS`, and what is wrong."""

    where: str
    reason: str
    detail: str


class Data(Frozen):
    source: str
    rows_in: int
    rows_used: int
    set_aside: dict[str, int]
    """Reason -> count; rows_in = rows_used + the sum of these."""
    set_aside_rows: list[Aside]
    """The first of each reason, up to `data.told.LISTED`."""
    train: int
    development: int
    test: int
    contaminated: int
    """Test rows found in training rows; they are removed from the test rows."""
    notes: list[str]


class Sample(Frozen):
    """One test or development row and what every finished candidate answered."""

    id: str
    prompt: str
    reference: str
    answers: dict[str, str]


class Budget(Frozen):
    minutes: float | None
    memory_gb: float | None
    seconds_spent: float
    """Including what was spent before kills."""


class Machine(Frozen):
    processor: str
    cores: int
    memory_bytes: int
    device: str | None
    """Null, as `dtype` and `threads`, where all models answer elsewhere: servers, scripts."""
    dtype: str | None
    threads: int | None
    exact: bool
    python: str
    torch: str
    tutelage: str
    commit: str | None


class Detail(Frozen):
    project: Project
    """As resolved, every key."""
    metric: str
    metrics: list[str]
    """All that were measured, the goal metric first."""
    goal: float | None
    data: Data
    budget: Budget
    machine: Machine
    front: list[str]
    """Candidates that no other beats in both quality and cost, cheapest first."""
    candidates: dict[str, CandidateDetail]
    samples: list[Sample]
    licence: dict[str, str | None]
    """Model source -> licence."""
    created: str
    """ISO 8601, UTC."""
    retention: str
    """What text forgetting was measured on."""
    general: str
    """What general questions and instructions were asked, in words."""


class Recommended(Frozen):
    candidate: str
    model: str
    rung: str


class Record(Frozen):
    """The contract's `run` object, and `detail`."""

    run: str
    status: Literal["done", "goal not reached", "budget spent", "budget too small", "memory limit"]
    """Where the goal was not reached and a limit kept something from being tried: which, in this
    order. The minutes ended; what was left of them was predicted not to be enough; the memory."""
    recommended: Recommended | None
    reason: str
    """The recommendation's reason, one sentence."""
    candidates: list[Candidate]
    seconds: float
    report: str
    model: str | None
    card: str
    detail: Detail
