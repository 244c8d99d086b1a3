"""The best way to spend a budget on a tagger: how large a network, how many jets, how many passes.

A plan is one run (N, U, e). It is chosen for the smallest expected loss over the draws of the law
(or the best expected value of another quantity) among all runs that the budget pays for at the
medians of the cost model; then the loss of a new run, its worth, its cost and its regret are given
with the whole posterior. Arrays are of shape (draws, points), a point a budget.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from isoflop.forecast.cost import Parts
from isoflop.forecast.hindsight import best_losses
from isoflop.forecast.limits import bounds_met
from isoflop.forecast.option import Option, law_loss
from isoflop.forecast.outcomes import REJECTION
from isoflop.forecast.predict import extrapolation_decades
from isoflop.forecast.pricing import drawn_costs, parts_of, require_budgets
from isoflop.forecast.ranges import Ranges, ranges_about
from isoflop.forecast.spending import Runs, Score, largest_log_params, runs_at, search

TOLERANCE = 0.001
"""Plans whose expected loss is within this share of the best are as good."""
WITHIN = 0.5
"""Probability with which the true cost stays within the budget, if no other is asked for."""
CONTINGENCY = 0.002
"""Relative precision with which it does."""
CONTINGENCY_ROUNDS = 8


@dataclass(frozen=True)
class Plans:
    """The best plan of each of a row of budgets, one option."""

    option: Option
    """Whose plans they are."""
    budget: np.ndarray
    """Budgets in money, shape (points,)."""
    spent: np.ndarray
    """What of them is planned at the medians of the cost model, so that the true cost stays within
    the budget with the probability asked for; shape (points,)."""
    at: tuple[np.ndarray, np.ndarray]
    """log N and v of the plans (`spending`), shape (points,) each."""
    tolerance: float
    """Plans whose expected loss is within this share of the best are as good."""

    @cached_property
    def runs(self) -> Runs:
        """N, U and e, shape (points,)."""
        return runs_at(self.option.spending, self.spent, *self.at)

    @cached_property
    def loss(self) -> np.ndarray:
        """Loss of the run [nat], with the law's error and the scatter of runs."""
        return self.option.predicted_loss(self.runs)

    @cached_property
    def law_loss(self) -> np.ndarray:
        """Loss of the law [nat]."""
        return law_loss(self.option.draws, self.runs)

    @cached_property
    def best_loss(self) -> np.ndarray:
        """Loss of the law [nat] at each draw's own best plan: what knowing the law would give."""
        own = best_losses(self.option, self.spent, self.at)
        return np.asarray(np.minimum(self.law_loss, own))

    @cached_property
    def parts(self) -> Parts:
        """What it costs at the medians, by part, in money, shape (points,)."""
        return parts_of(self.option, self.runs)

    @cached_property
    def ranges(self) -> Ranges:
        """The plans that are as good."""
        return ranges_about(self.option, self.spent, self.at, tolerance=self.tolerance)

    def bounds(self, place: int = 0) -> tuple[str, ...]:
        """What a plan sits on, in words; empty for a free optimum."""
        return bounds_met(self.runs, self.option.caps, place)

    @property
    def regret(self) -> np.ndarray:
        """Loss [nat] that knowing the law would save, not negative."""
        return np.asarray(self.law_loss - self.best_loss)

    @property
    def flops(self) -> np.ndarray:
        """Training compute, in FLOP."""
        runs = self.runs
        per = self.option.draws.flops_per_param_sample
        return np.asarray(per * runs.params * runs.unique_samples * runs.epochs)

    def decades(self, place: int = 0) -> float:
        """Decades of training compute beyond the dearest fitted run."""
        return extrapolation_decades(float(self.flops[place]), self.option.draws.largest_flops)

    @cached_property
    def cost_draws(self) -> Parts:
        """Draws of what each plan costs, in money."""
        return drawn_costs(self.option, self.runs)


def make_plans(
    option: Option,
    budget: ArrayLike,
    *,
    quantity: str = "loss",
    within: float = WITHIN,
    tolerance: float = TOLERANCE,
) -> Plans:
    """The best plan of each budget [money], shape (points,), for the expected `quantity`.

    The true cost is within the budget with probability `within`. Raises `ValueError` for a budget
    that does not pay for one parameter and one jet.
    """
    money = require_budgets(option, budget)
    spent, at = _within(option, money, quick_search(option, money), within)
    if quantity != "loss":
        at = search(_expected(option, quantity), option.spending, spent, start=at)
    return Plans(option, money, spent, at, tolerance)


def _within(
    option: Option, money: np.ndarray, at: tuple[np.ndarray, np.ndarray], within: float
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """What to spend at the medians so that the true cost is within the budget, and its plans."""
    if not 0.0 < within < 1.0:
        raise ValueError(
            f"the probability to stay within the budget is {within:g}; it must lie between 0 and 1"
        )
    spent, at = _scaled(option, money, money, at, within)
    for again in range(CONTINGENCY_ROUNDS):
        # A search that starts anew gets out of the narrow valleys that caps make.
        at = quick_search(option, spent, start=at)
        before = spent
        spent, at = _scaled(option, money, before, at, within)
        if again and float(np.abs(spent / before - 1.0).max()) < 2.0 * CONTINGENCY:
            break
    return spent, at


def _scaled(
    option: Option,
    money: np.ndarray,
    spent: np.ndarray,
    at: tuple[np.ndarray, np.ndarray],
    within: float,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """What to spend at the medians, each network in its ratio to the largest that is paid for.

    A fixed point: the budget is scaled by what the plan's cost exceeds it by.
    """
    spending, (log_params, place) = option.spending, at
    for _ in range(CONTINGENCY_ROUNDS):
        runs = runs_at(spending, spent, log_params, place)
        cost = np.quantile(drawn_costs(option, runs).total, within, axis=0)
        # Where caps leave money over there is nothing to scale.
        all_spent = parts_of(option, runs).total > 0.99 * spent
        scale = np.where(all_spent, money / cost, np.minimum(money / cost, 1.0))
        if float(np.abs(scale - 1.0).max()) < CONTINGENCY:
            break
        before, spent = spent, np.maximum(spent * scale, spending.least)
        moved = largest_log_params(spending, spent) - largest_log_params(spending, before)
        log_params = np.maximum(log_params + moved, 0.0)
    return spent, (log_params, place)


def quick_search(
    option: Option, money: np.ndarray, *, start: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """log N and v of the plans with the smallest expected loss, for budgets known to be good."""

    def expected(params: np.ndarray, unique: np.ndarray, epochs: np.ndarray) -> np.ndarray:
        loss = law_loss(option.draws, Runs(params, unique, epochs), every=option.searched)
        return np.asarray(loss.mean(axis=0))

    return search(expected, option.spending, money, start=start, step=0.4)


def _expected(option: Option, name: str) -> Score:
    """Minus the expected quantity where more is better; all draws, for each has its own link.

    A rejection counts by its logarithm: its mean would be that of the few luckiest draws.
    """
    sign = -1.0 if option.quantity(name).higher_is_better else 1.0

    def expected(params: np.ndarray, unique: np.ndarray, epochs: np.ndarray) -> np.ndarray:
        loss = law_loss(option.draws, Runs(params, unique, epochs))
        drawn = option.worth(loss, [name])[name]
        counted = np.log(drawn) if name.startswith(REJECTION) else drawn
        return np.asarray(sign * counted.mean(axis=0))

    return expected
