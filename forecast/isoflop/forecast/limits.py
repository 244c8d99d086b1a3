"""Constraints of a plan as a user states them, and the caps on N, jets, training and passes.

Memory bounds N by 16 byte a parameter: weights, gradients and the two moments of Adam
(arXiv:1910.02054, Sec. 3.1). Activations are not counted; they shrink with the batch.
"""

import math
from dataclasses import dataclass

from isoflop.forecast.cost import GRADIENT, Prices, prices
from isoflop.forecast.costmodel import Costs
from isoflop.forecast.predict import Draws
from isoflop.forecast.spending import MOST_PASSES, Runs, Spending

BYTES_PER_PARAM = 16.0
DAY = 86400.0
CLOSE = 0.02
"""A plan this close to a cap, relative, sits on it."""


@dataclass(frozen=True)
class Constraints:
    """What a plan has to respect; None where nothing is asked."""

    jets: float | None = None
    """At most so many distinct jets."""
    passes: float | None = None
    """At most so many passes."""
    days: float | None = None
    """Training takes at most so many days,"""
    gpus: float | None = None
    """on so many devices."""
    latency: float | None = None
    """Serving one jet takes at most so many seconds."""


@dataclass(frozen=True)
class Cap:
    """An upper bound, and what it comes from."""

    on: str
    """`params`, `jets`, `training` (N·U·e) or `passes`."""
    value: float
    """The bound."""
    reason: str
    """What sets it, in words."""


@dataclass(frozen=True)
class Smallest:
    """The smallest of each number among the runs of a group."""

    params: float
    """N."""
    jets: float
    """U."""
    training: float
    """N·U·e of the cheapest run."""


def caps_of(
    constraints: Constraints, costs: Costs, draws: Draws, *, smallest: Smallest, far: bool = False
) -> tuple[Cap, ...]:
    """The caps of a plan; `ValueError` names those that no run ever trained would meet."""
    _require_sense(constraints, costs)
    at = prices(costs)
    caps: list[Cap] = []
    if constraints.jets is not None:
        caps.append(Cap("jets", constraints.jets, f"at most {constraints.jets:g} jets"))
    if constraints.passes is not None:
        passes = "1 pass" if constraints.passes == 1.0 else f"{constraints.passes:g} passes"
        caps.append(Cap("passes", constraints.passes, f"at most {passes}"))
    if constraints.days is not None and constraints.gpus is not None:
        seconds = constraints.days * DAY * constraints.gpus
        reason = f"{constraints.days:g} day(s) on {constraints.gpus:g} {costs.device.name}"
        caps.append(Cap("training", seconds * at.speed / draws.flops_per_param_sample, reason))
    if constraints.latency is not None:
        most = constraints.latency * at.serving_speed * GRADIENT / draws.flops_per_param_sample
        caps.append(Cap("params", most, f"{constraints.latency:g} s to serve a jet"))
    if costs.device.memory is not None:
        memory = costs.device.memory.median
        reason = f"{memory / 1e9:g} GB of memory at {BYTES_PER_PARAM:g} byte a parameter"
        caps.append(Cap("params", memory / BYTES_PER_PARAM, reason))
    if not far:
        _require_room(caps, smallest)
    return tuple(caps)


def spending_of(costs: Costs, draws: Draws, caps: tuple[Cap, ...]) -> Spending:
    """Prices at the medians, and the tightest cap of each kind."""
    at: Prices = prices(costs)
    tightest = {
        on: min((cap.value for cap in caps if cap.on == on), default=math.inf)
        for on in ("params", "jets", "training", "passes")
    }
    cost = draws.flops_per_param_sample
    return Spending(
        training=cost * at.flop,
        jet=at.made + at.kept,
        serving=cost / GRADIENT * at.served_flop,
        most_params=tightest["params"],
        most_jets=tightest["jets"],
        most_training=tightest["training"],
        most_passes=min(tightest["passes"], MOST_PASSES),
    )


def bounds_met(runs: Runs, caps: tuple[Cap, ...], place: int) -> tuple[str, ...]:
    """What a plan sits on: caps by their reasons, and the ends of the law, in words."""
    size = _sizes(runs, place)
    met = [cap.reason for cap in caps if size[cap.on] >= cap.value * (1.0 - CLOSE)]
    if min(size["params"], size["jets"]) < 1.0 + CLOSE:
        met.append("N = 1 or U = 1, where the law means nothing")
    return tuple(met)


def bounds_broken(runs: Runs, caps: tuple[Cap, ...], place: int) -> tuple[str, ...]:
    """The caps that a run exceeds, by their reasons."""
    size = _sizes(runs, place)
    return tuple(cap.reason for cap in caps if size[cap.on] > cap.value * (1.0 + CLOSE))


def _sizes(runs: Runs, place: int) -> dict[str, float]:
    """What caps are on, of one run."""
    params, unique, epochs = runs.at(place)
    training = params * unique * epochs
    return {"params": params, "jets": unique, "training": training, "passes": epochs}


def _require_sense(constraints: Constraints, costs: Costs) -> None:
    """Refuse numbers that are none, and constraints that need others or a cost file."""
    least = {"jets": 1.0, "passes": 1.0, "days": 0.0, "gpus": 0.0, "latency": 0.0}
    for name, low in least.items():
        value = getattr(constraints, name)
        if value is None:
            continue
        if not math.isfinite(value) or value < low or value == 0.0:
            bound = f"at least {low:g}" if low else "positive"
            raise ValueError(
                f"the constraint on {name} is {value:g}; it must be finite and {bound}"
            )
        if name in ("days", "gpus", "latency") and costs.training_alone:
            raise ValueError(f"a constraint on {name} needs a device and its speed; give --costs")
    if (constraints.days is None) != (constraints.gpus is None):
        given, other = ("days", "gpus") if constraints.gpus is None else ("gpus", "days")
        raise ValueError(
            f"a constraint on {given} needs one on {other}: the training of T days on G devices"
        )


def _require_room(caps: list[Cap], smallest: Smallest) -> None:
    """Refuse caps below the smallest run ever trained, all of them in one message."""
    sizes = {
        "params": (smallest.params, "parameters", "the smallest network ever trained"),
        "jets": (smallest.jets, "jets", "the fewest jets ever trained on"),
        "training": (smallest.training, "N·U·e", "the cheapest run ever trained"),
    }
    faults = [
        f"{cap.reason} allows {cap.value:.3g} {sizes[cap.on][1]}, which contradicts "
        f"{sizes[cap.on][0]:.3g}, {sizes[cap.on][2]}"
        for cap in caps
        if cap.on in sizes and cap.value < sizes[cap.on][0]
    ]
    if faults:
        raise ValueError("; ".join(faults) + "; relax it, or give --far if that is meant")
