"""Options side by side: which is better at a budget, how surely, and where they cross."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from isoflop.forecast.option import Option
from isoflop.forecast.plan import Plans
from isoflop.forecast.predict import QUANTILES
from isoflop.terminal import number


@dataclass(frozen=True)
class Curve:
    """An outcome at the best plan of each of a row of budgets, one option."""

    plans: Plans
    """The plans, a point a budget."""
    quantity: str
    """Name of the outcome."""
    drawn: np.ndarray
    """The outcome, shape (draws, points)."""

    @property
    def option(self) -> Option:
        """Whose curve it is."""
        return self.plans.option


@dataclass(frozen=True)
class Comparison:
    """Two options, paired draw by draw."""

    first: str
    """Name of one option."""
    second: str
    """Name of the other."""
    quantity: str
    """Name of the outcome they are compared in."""
    budget: float
    """Budget of the probability, in money."""
    probability: float
    """Probability that a run of `first` comes out better at this budget."""
    probabilities: np.ndarray
    """The same at each budget of the curves, shape (points,)."""
    crossing: np.ndarray | None
    """Quantiles of the budget where one overtakes the other, `QUANTILES`, in money; 0 or infinite
    where a quantile lies below or above the range. None where they do not cross in it."""
    low: float
    """Smallest budget of the range."""
    high: float
    """Largest budget of the range."""
    currency: str
    """What the budgets are in."""

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        pair = self.first, self.second
        ahead, behind = pair if self.probability >= 0.5 else pair[::-1]
        sure, unit = max(self.probability, 1.0 - self.probability), self.currency
        text = f"{ahead} is better than {behind} in {self.quantity} with probability {sure:.2f}"
        if self.crossing is None:
            low, high = number(self.low), number(self.high)
            return f"{text}; they do not cross between {low} and {high} {unit}"
        words = [_money(value, self.low, self.high) for value in self.crossing[1:4]]
        after, before = pair if self.probabilities[-1] >= 0.5 else pair[::-1]
        return (
            f"{text}; from {words[1]} {unit} on (68 %: {words[0]} to {words[2]} {unit}) {after} is "
            f"ahead, below it {before}"
        )


def compare(curves: Sequence[Curve], *, place: int) -> tuple[Comparison, ...]:
    """Every pair of curves over the same budgets; the probability is that at budget `place`."""
    return tuple(_compare(one, two, place) for one, two in combinations(curves, 2))


def _compare(one: Curve, two: Curve, place: int) -> Comparison:
    budgets = one.plans.budget
    if not np.array_equal(budgets, two.plans.budget) or one.quantity != two.quantity:
        raise ValueError(
            f"{one.option.name} and {two.option.name} have curves of different budgets or "
            "quantities; make them for the same"
        )
    sign = 1.0 if one.option.quantity(one.quantity).higher_is_better else -1.0
    ahead = sign * (one.drawn - two.drawn)
    chance = (ahead > 0.0).mean(axis=0) + 0.5 * (ahead == 0.0).mean(axis=0)
    return Comparison(
        first=one.option.name,
        second=two.option.name,
        quantity=one.quantity,
        budget=float(budgets[place]),
        probability=float(chance[place]),
        probabilities=chance,
        crossing=_crossing(ahead, chance, np.log(budgets)),
        low=float(budgets[0]),
        high=float(budgets[-1]),
        currency=one.option.costs.currency,
    )


def _crossing(ahead: np.ndarray, chance: np.ndarray, log_budgets: np.ndarray) -> np.ndarray | None:
    """Quantiles of the budget up to which, in each draw, the leader at small budgets leads."""
    if (chance[0] - 0.5) * (chance[-1] - 0.5) >= 0.0:
        return None
    lead = ahead if chance[0] > 0.5 else -ahead
    leads = lead > 0.0
    # The last budget at which it leads, and the point between that and the next where it is even.
    final = len(log_budgets) - 1 - leads[:, ::-1].argmax(axis=1)
    after = np.minimum(final + 1, len(log_budgets) - 1)
    rows = np.arange(len(lead))
    here, there = lead[rows, final], lead[rows, after]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(after > final, here / (here - there), 0.0)
    place = log_budgets[final] + share * (log_budgets[after] - log_budgets[final])
    place = np.where(leads[:, -1], np.inf, np.where(leads.any(axis=1), place, -np.inf))
    quantiles = np.quantile(place, QUANTILES, method="inverted_cdf")
    return np.asarray(np.exp(quantiles))


def _money(value: float, low: float, high: float) -> str:
    if value <= 0.0:
        return f"below {number(low)}"
    return f"above {number(high)}" if np.isinf(value) else number(value)
