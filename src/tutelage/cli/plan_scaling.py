"""`tutelage plan scaling`: how many parameters and tokens a budget is best spent on."""

from __future__ import annotations

from typing import Any

from tutelage.cli.columns import print_table
from tutelage.cli.plan_compute import positive
from tutelage.cli.plan_memory import Plain, check_unused
from tutelage.errors import ConfigError


def scaling(
    *,
    params: float | None = None,
    tokens: float | None = None,
    flops: float | None = None,
    law: str = "rule",
    answered: float | None = None,
    known: bool = False,
    shared: Plain | None = None,
) -> dict[str, Any]:
    """Parameters, tokens and loss by a scaling law, with what every other law says beside it.

    Give one of parameters, tokens and FLOPs, and the law says the others; or two of them.

    Parameters
    ----------
    params
        Parameters, as in 70e9.
    tokens
        Tokens trained on.
    flops
        FLOPs of training.
    law
        rule, approach1, approach2, parametric, replication or kaplan; see docs/planning.md.
    answered
        Tokens the model will read and write when it serves: the size of least FLOPs in all, of
        the law's quality at --flops. Of laws with a loss, so it takes the parametric one's.
    known
        List published models with what the law would have trained them on.
    """
    from tutelage.plan import scaling as plan
    from tutelage.plan.known_models import judged

    chosen = plan.law(law)
    for flag, value in (("params", params), ("tokens", tokens), ("flops", flops)):
        if value is not None:
            positive(f"--{flag}", value)
    if known and params is tokens is flops is None:
        check_unused("with --known alone", "say --flops with it", answered=answered)
        return _empty(chosen) | {"known": judged(law)}
    found = plan.scaled(law, params, tokens, flops)
    result = _said(found) | {
        "law": law,
        "formula": chosen.formula,
        "source": chosen.source,
        "laws": {
            name: _said(plan.scaled(name, params, tokens, flops)) for name in plan.LAWS
        },
    }  # fmt: skip
    if answered is not None:
        result["serving"] = _serving(flops, positive("--answered", answered))
    if known:
        result["known"] = judged(law)
    return result


def _serving(flops: float | None, answered: float) -> dict[str, Any]:
    from tutelage.plan.scaling import serving_aware

    if flops is None:
        raise ConfigError(
            "--answered needs a budget", field="--flops", expected="a number, as 1e23"
        )
    found = serving_aware(flops, answered)
    return _said(found) | {
        "answered": answered,
        "flops_in_all": found.flops + 2 * found.params * answered,
        "formula": "least 6 N D + 2 N D_answered at the loss of the parametric law's best of C",
        "source": "Sardana et al. 2024, arXiv:2401.00448, equation 2",
    }


def _said(found: Any) -> dict[str, Any]:
    return {
        "params": found.params, "tokens": found.tokens, "ratio": found.ratio, "loss": found.loss,
        "flops": found.flops,
    }  # fmt: skip


def _empty(law: Any) -> dict[str, Any]:
    keys = ("params", "tokens", "ratio", "loss", "flops")
    return dict.fromkeys(keys) | {"law": law.name, "formula": law.formula, "source": law.source}


def show_scaling(result: dict[str, Any]) -> None:
    """Print the laws as a table, and the models where asked for."""
    if result["params"] is not None:
        laws = dict(result["laws"])
        if "serving" in result:
            laws["serving-aware"] = result["serving"]
        chosen = {result["law"]: " *"}
        rows = [(name + chosen.get(name, ""), *_cells(row)) for name, row in laws.items()]
        headings = ("law", "parameters", "tokens", "tokens a parameter", "FLOPs", "loss")
        print_table(headings, rows, words=("law",))
    print(f"{result['formula']} ({result['source']})")
    if "known" in result:
        _show_known(result["known"], result["law"])


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['params']:.3g}", f"{row['tokens']:.3g}", f"{row['ratio']:.1f}",
        f"{row['flops']:.3g}", f"{row['loss']:.3f}",
    ]  # fmt: skip


def _show_known(known: list[dict[str, Any]], law: str) -> None:
    rows = []
    for row in known:
        shown = ("-", "-") if row["tokens"] is None else (f"{row['tokens']:.3g}", row["ratio"])
        ratio = shown[1] if isinstance(shown[1], str) else f"{shown[1]:.1f}"
        rows.append((row["model"], shown[0], f"{row['wanted']:.3g}", ratio, row["verdict"]))
    headings = ("model", "tokens", f"{law} says", "tokens a parameter", "")
    print_table(headings, rows, words=("model", ""))
