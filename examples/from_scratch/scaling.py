"""A sweep of sizes at three budgets, laws fitted to it, and one larger run foretold by them.

L is the mean held-out loss in bits per byte, N all parameters (the head is the token table), D the
tokens read, C the FLOPs as the package counts them. The held-out sections are of the books that are
trained on. The prediction is written down before the larger run begins.
"""

from __future__ import annotations

from study import Json, Place, short
from texts import prose, source_of

from tutelage import store
from tutelage.errors import DataError
from tutelage.plan.fitting import Trained, iso_flops, parametric
from tutelage.plan.scaling import LAWS, Fit

MINUTES = (0.25, 0.6, 1.5)
"""Of two processors, as FLOPs, for each run of a budget: 12 for the sweep, and small models reach
half the speed or less."""
MINUTES_LARGE = 4.0
SHAPES = {0: ((1, 64), (2, 64), (2, 128), (3, 128), (3, 192)),
          1: ((2, 64), (2, 128), (3, 128), (3, 192), (4, 256)),
          2: ((2, 128), (3, 128), (3, 192), (4, 192), (4, 256))}  # fmt: skip
"""Depth and width, by budget: around the size that is best."""
LARGE = (4, 192)
SMOKE = ((1, 64), (1, 128), (2, 128))
VOCABULARY = 512
CONTEXT = 256


def run(place: Place) -> Json:
    runs = []
    learnt = tokenizer(place)
    for number, minutes in enumerate(MINUTES):
        for depth, width in SMOKE if place.smoke else SHAPES[number]:
            budget = place.flops(minutes) * (4**number / 32 if place.smoke else 1)
            runs.append(trained(place, learnt, (depth, width), budget))
    points = [point(record) for record in runs]
    law, valleys = parametric(points), best_sizes(points)
    foretold = predicted(place, law)
    large = trained(place, learnt, SMOKE[-1] if place.smoke else LARGE, foretold["flops"])
    found = point(large)
    return {
        "text": source_of(place),
        "runs": [short(record) | {"loss_held_out": point(record).loss} for record in runs],
        "law": vars(law),
        "iso_flops": valleys,
        "optima": optima(law, valleys, foretold["flops"]),
        "predicted": foretold,
        "larger": short(large) | {"loss_held_out": found.loss},
        "error": law.loss(found.params, found.tokens) / found.loss - 1,
    }


def trained(place: Place, learnt: str, shape: tuple[int, int], flops: float) -> Json:
    depth, width = shape
    data = prose(place, held_out=False) | {
        "held_out_share": 0.02, "held_out_documents": place.count(40, 2),
    }  # fmt: skip
    return place.raised(f"d{depth}-w{width}-{flops:.2e}", {
        "model": {"depth": depth, "width": width, "context": CONTEXT},
        "tokenizer": {"source": learnt},
        "data": data,
        "training": {
            "flops": flops, "batch_tokens": 4096, "micro_tokens": 4096, "optimizer": "muon",
            "learning_rate": 4e-3,
        },
    })  # fmt: skip


def tokenizer(place: Place) -> str:
    """One for all runs, learnt once."""
    place.raised("tokenizer", {
        "model": {"depth": 1, "context": CONTEXT},
        "tokenizer": {"vocabulary": VOCABULARY},
        "data": prose(place, held_out=False) | {"held_out_share": 0.02},
        "training": {"steps": 1},
    })  # fmt: skip
    return str(place.work / "tokenizer" / "tokenizer")


def point(record: Json) -> Trained:
    values = [one["value"] for one in record["bits_per_byte"].values()]
    loss = sum(values) / len(values)
    return Trained(record["parameters"], record["tokens"], loss, record["flops"])


def best_sizes(points: list[Trained]) -> Json | None:
    """None where the budgets show no lowest point."""
    try:
        found = iso_flops(points)
    except DataError:
        return None
    valleys = [vars(valley) for valley in found.valleys]
    return {"valleys": valleys, "scale": found.scale, "exponent": found.exponent}


def predicted(place: Place, law: Fit) -> Json:
    """What the larger run will come to, written before it is made; the first writing counts."""
    file = place.work / "predicted.json"
    if file.is_file():
        known: Json = store.read_json(file)
        return known
    flops = place.flops(MINUTES_LARGE) * (2 if place.smoke else 1)
    best = law.best(flops)
    told = {"flops": flops, "best_params": best, "loss_at_best": law.loss(best, flops / (6 * best))}
    store.write_json(file, told)
    return told


def optima(law: Fit, valleys: Json | None, flops: float) -> Json:
    """N and tokens a parameter at the larger budget, by our fits and by the published laws."""
    sizes = {"our parametric fit": law.best(flops)}
    if valleys is not None:
        sizes["our iso-FLOP fit"] = valleys["scale"] * flops ** valleys["exponent"]
    sizes |= {name: published.best(flops) for name, published in LAWS.items()}
    return {name: {"params": n, "ratio": flops / (6 * n * n)} for name, n in sizes.items()}
