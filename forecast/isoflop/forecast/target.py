"""The cheapest plan that reaches a target with a stated probability, or why there is none."""

import math
import re
from dataclasses import dataclass

import numpy as np

from isoflop.forecast.option import Option, fitted_runs
from isoflop.forecast.plan import TOLERANCE, WITHIN, Plans, quick_search
from isoflop.forecast.pricing import DECADES, cheapest_run, drawn_costs
from isoflop.forecast.spending import Runs, runs_at, search
from isoflop.terminal import number

LADDER = 41
"""Budgets, evenly in their logarithm, among which the first that reaches the target is looked
for."""
CLOSE = 1.002
"""Factor of the budget at which the search for the cheapest stops."""
_TARGET = re.compile(r"\s*(?P<name>[^\s=]+)(?:\s+|\s*=\s*)(?P<value>\S+)\s*(?:nat)?\s*")


@dataclass(frozen=True)
class Target:
    """What a plan should reach."""

    quantity: str
    """Name of the quantity."""
    value: float
    """At most this, or at least this where more is better."""
    probability: float
    """How sure to be."""


@dataclass(frozen=True)
class Cheapest:
    """The answer to a target, one option."""

    option: Option
    """Whose answer it is."""
    target: Target
    """What was asked for."""
    plans: Plans | None
    """The cheapest plan, one point; None if no budget in reach does."""
    probability: float
    """Probability that this plan reaches the target, or the dearest in reach if none does."""
    beyond: float
    """Probability that no run ever does: the target lies beyond L∞, or what the caps leave."""
    largest_budget: float
    """The dearest budget that was looked at, in money."""

    @property
    def sentence(self) -> str:
        """The answer in words."""
        target, unit = self.target, self.option.costs.currency
        asked = f"{target.quantity} {target.value:g} with probability {target.probability:g}"
        where = f"lies beyond its limit with probability {self.beyond:.2f}"
        if self.plans is not None:
            return (
                f"{self.option.name}: {number(self.plans.budget[0])} {unit} reach {asked}; "
                f"the target {where}"
            )
        return (
            f"{self.option.name}: no budget up to {number(self.largest_budget)} {unit} reaches "
            f"{asked}: the target {where}, and the dearest plan reaches it with "
            f"{self.probability:.2f}"
        )


def parse_target(text: str, *, probability: float = 0.9) -> Target:
    """Read `loss 0.4`, `rejection:Hbb 1000` or `significance_ratio 1.05`.

    >>> parse_target("loss 0.4").value
    0.4
    """
    match = _TARGET.fullmatch(text)
    try:
        value = float(match["value"]) if match else float("nan")
    except ValueError:
        value = float("nan")
    if match is None or not (np.isfinite(value) and value > 0.0):
        raise ValueError(
            f"target {text!r}: write a quantity and a positive number, as 'loss 0.4' or "
            "'rejection:Hbb 1000'"
        )
    if not 0.0 < probability < 1.0:
        raise ValueError(f"the probability is {probability:g}; it must lie between 0 and 1")
    return Target(match["name"], value, probability)


def cheapest_plan(option: Option, target: Target, *, within: float = WITHIN) -> Cheapest:
    """The cheapest plan that reaches the target, among budgets up to `DECADES` above the runs'.

    First the plans with the best expected loss are tried on a ladder of budgets; from the first
    that reaches the target down, runs are looked for that are surer of it and do with less. Its
    budget is what its true cost stays within with probability `within`. Raises `ValueError` for a
    target that the cheapest run ever trained has met.
    """
    _require_unmet(option, target)
    least = max(cheapest_run(option), option.spending.least)
    ladder = least * np.geomspace(1.0, 10.0**DECADES, LADDER)
    at = quick_search(option, ladder)
    reached = _probabilities(option, runs_at(option.spending, ladder, *at), target)
    limit = option.worth(option.draws.loss_inf[:, None], [target.quantity])[target.quantity]
    beyond = 1.0 - float(_met(option, limit, target).mean())
    enough = reached >= target.probability
    if not enough.any():
        return Cheapest(option, target, None, float(reached[-1]), beyond, float(ladder[-1]))
    first = int(enough.argmax())
    low, high = float(ladder[max(first - 1, 0)]), float(ladder[first])
    start = (at[0][first : first + 1], at[1][first : first + 1])
    plans = _cheapest_between(option, target, low, high, start, within)
    probability = reach_probability(option, plans.runs, target)
    return Cheapest(option, target, plans, probability, beyond, float(ladder[-1]))


def reach_probability(option: Option, runs: Runs, target: Target) -> float:
    """Probability that a run (one point) reaches the target."""
    return float(_probabilities(option, runs, target)[0])


def _cheapest_between(
    option: Option,
    target: Target,
    low: float,
    high: float,
    start: tuple[np.ndarray, np.ndarray],
    within: float,
) -> Plans:
    """Bisection in the budget of the run that is surest of the target; `high` reaches it."""

    def least_sure(params: np.ndarray, unique: np.ndarray, epochs: np.ndarray) -> np.ndarray:
        return -_margin(option, Runs(params, unique, epochs), target)

    best = start
    while high / low > CLOSE:
        money = np.array([math.sqrt(low * high)])
        at = search(least_sure, option.spending, money, start=best)
        if _margin(option, runs_at(option.spending, money, *at), target)[0] >= 0.0:
            high, best = float(money[0]), at
        else:
            low = float(money[0])
    spent = np.array([high])
    needed = drawn_costs(option, runs_at(option.spending, spent, *best)).total
    return Plans(option, np.quantile(needed, within, axis=0), spent, best, TOLERANCE)


def _margin(option: Option, runs: Runs, target: Target) -> np.ndarray:
    """By how much the quantile at the stated probability passes the target, shape (points,)."""
    higher = option.quantity(target.quantity).higher_is_better
    drawn = option.worth(option.predicted_loss(runs), [target.quantity])[target.quantity]
    level = 1.0 - target.probability if higher else target.probability
    sure = np.quantile(drawn, level, axis=0, method="lower" if higher else "higher")
    return np.asarray(sure - target.value if higher else target.value - sure)


def _probabilities(option: Option, runs: Runs, target: Target) -> np.ndarray:
    """Probability that each run reaches the target, shape (points,)."""
    drawn = option.worth(option.predicted_loss(runs), [target.quantity])[target.quantity]
    return np.asarray(_met(option, drawn, target).mean(axis=0))


def _met(option: Option, drawn: np.ndarray, target: Target) -> np.ndarray:
    higher = option.quantity(target.quantity).higher_is_better
    return np.asarray(drawn >= target.value if higher else drawn <= target.value)


def _require_unmet(option: Option, target: Target) -> None:
    """Refuse a target that the cheapest run ever trained has met."""
    runs = fitted_runs(option.posterior, option.group)
    cheapest = runs.isel(run=int(np.argmin(runs["flops"].values)))
    loss = float(cheapest["loss"])
    same = np.full((len(option.draws.alpha), 1), loss)
    drawn = option.worth(same, [target.quantity])[target.quantity]
    met = float(_met(option, drawn, target).mean())
    if met >= target.probability:
        raise ValueError(
            f"target {target.quantity} {target.value:g} is met already by the cheapest run ever "
            f"trained in {option.group}, {cheapest['run'].item()} with loss {loss:.4g} nat, "
            f"with probability {met:.2f}; give a harder target"
        )
