"""The keys that each verb promises with --json, and those it adds to the promise.

A name in `PROMISED` may only change with a major version. What is added is listed too, so that no
key comes or goes unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MEASURED = {"value", "low", "high", "n"}

PROMISED: dict[str, set[str]] = {
    "run": {
        *("run", "status", "recommended", "reason", "candidates", "seconds"),
        *("report", "model", "card"),
    },
    "candidate": {
        *("name", "model", "rung", "status", "reason", "development", "test", "comparisons"),
        *("seconds", "seconds_per_1000_answers", "peak_bytes", "predicted_peak_bytes"),
        *("trained_parameters", "bytes_on_disk", "forgetting", "toxicity"),
    },
    "recommended": {"candidate", "model", "rung"},
    "comparison": {"against", "difference", "low", "high", "p_value"},
    "generate": {
        *("text", "tokens", "finish_reason", "prompt_tokens", "completion_tokens", "seconds"),
    },
    "serve": {"url", "pid", "model"},
    "model show": {
        *("source", "architecture", "family", "parameters", "layers", "width", "heads"),
        *("kv_heads", "vocabulary", "context", "dtype", "bytes", "licence"),
    },
    "model pull": {"out", "bytes", "sha256"},
    "model export": {"out", "bytes", "sha256"},
    "model verify": {
        *("equal", "max_logit_difference", "kl", "top1_agreement", "text_agreement", "n"),
    },
    "quantize": {"out", "bytes", "bits_per_weight", "perplexity", "top1_agreement", "seconds"},
    "tune": {
        *("out", "method", "trained_parameters", "trained_tokens", "rows", "loss", "seconds"),
        *("peak_bytes", "predicted_peak_bytes", "forgetting"),
    },
    "tune rows": {"used", "set_aside"},
    "tune loss": {"first", "last"},
    "eval": {
        *("task", "metrics", "n", "truncated", "extraction_rate", "valid", "seconds"),
        *("prompt_sha256", "items"),
    },
    "compare": {
        *("metric", "verdict", "difference", "low", "high", "p_value", "test", "n", "n_needed"),
    },
    "score": {"metrics"},
    "plan memory": {"components", "total_bytes", "per_device_bytes", "rule", "formula"},
    "plan parameters": {"parts"},
    "plan compute": {"flops", "petaflop_s_days", "seconds", "formula"},
    "plan scaling": {"params", "tokens", "ratio", "loss", "law"},
    "plan parallel": {"layouts"},
    "layout": {
        *("data", "zero", "tensor", "pipeline", "expert", "context", "micro_batches"),
        *("bytes_per_device", "step_seconds", "bubble"),
    },
    "stored number": {"bits", "value", "error"},
    "claim": {
        *("id", "statement", "sources", "kind", "verdict", "value", "expected", "command"),
    },
    "doctor": {
        *("python", "torch", "device", "dtype", "gemm_flops", "bandwidth_bytes_per_second"),
        *("disk_free", "problems"),
    },
    "--version": {"tutelage", "python", "torch", "commit"},
    "error": {"kind", "message", "field", "got", "expected", "hint"},
}

ADDED: dict[str, set[str]] = {
    "run": {"metric", "front"},
    "candidate": {"measuring_seconds", "over_budget", "collapse"},
    "comparison": {"rows"},
    "tune": {
        *("mixture", "general", "collapse"),
        *("set_aside", "settings", "predicted_seconds", "predicted_memory", "rehearsal", "preview"),
        "loss_unit",
        *("correction", "probed_seconds", "predicted_flops", "counted_flops"),
    },
    "eval": {
        *("model", "shots", "refused", "cut_off", "rows", "set_aside", "set_aside_rows", "notes"),
        *("how", "calibration", "published", "settings", "versions", "contamination"),
        *("toxicity", "helm", "collapse"),
    },
    "model pull": {"left_out"},
    "model export": {"type", "left_out"},
    "model verify": {"bound", "tokens"},
    "quantize": {
        *("sha256", "source", "form", "tables", "kl", "loss_rise", "tokens", "measured_on"),
        "left_out",
    },
    "compare": {"a", "b", "clusters", "noise", "slices"},
    "claim": {"claimed", "note", "interval"},
    "plan compute": {
        "flops_per_token",
        "convention",
        "counts_embeddings",
        "keys_seen",
        "sources",
    },
    "plan memory": {"corrected_bytes", "correction"},
    "plan scaling": {"flops", "formula", "source", "laws"},
    "plan parallel": {"fitting", "job", "device", "formula", "sources"},
    "layout": {"chunks", "parts", "flops_per_second", "mfu"},
    "stored number": {"parts", "largest", "smallest_normal"},
    "plan parameters": {"source", "total", "active", "layers", "per_layer", "tied_head"},
}


def check(name: str, found: Mapping[str, Any]) -> None:
    """Exactly the keys of this kind of object."""
    promised, added = PROMISED[name], ADDED.get(name, set())
    assert set(found) == promised | added, (
        f"{name}: missing {sorted((promised | added) - set(found))}, "
        f"unforeseen {sorted(set(found) - promised - added)}"
    )


def check_measured(value: Mapping[str, Any]) -> None:
    """A measured value: 95% interval around it, or null with the reason."""
    if value["value"] is None or value["low"] is None:
        assert set(value) == {*MEASURED, "reason"} and value["reason"]
        return
    assert set(value) == MEASURED
    assert value["low"] <= value["value"] <= value["high"] and value["n"] >= 1
