"""The answer to a planning question: the best plan of every option, side by side.

`advise` gathers what `plan`, `target`, `marginal` and `compare` compute.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isoflop.forecast.compare import Comparison, Curve, compare
from isoflop.forecast.marginal import Marginal, marginals
from isoflop.forecast.option import Option
from isoflop.forecast.plan import TOLERANCE, WITHIN, Plans, make_plans
from isoflop.forecast.pricing import DECADES, cheapest_run, require_reach
from isoflop.forecast.target import Cheapest, Target, cheapest_plan, reach_probability

CURVE_POINTS = (22, 8)
"""Budgets of a curve up to the one asked for, and beyond it."""
BEYOND = 30.0
"""Curves go on to this multiple of the budget."""


@dataclass(frozen=True)
class Answer:
    """The plan of one option."""

    option: Option
    """Whose plan it is."""
    plans: Plans | None
    """The plan, one point; None if no budget reaches the target."""
    marginals: tuple[Marginal, ...]
    """What one more of something is worth at the plan."""
    cheapest: Cheapest | None
    """The answer to the target, if one was asked for."""
    reach: float | None
    """Probability that the plan reaches the target, if one was asked for."""


@dataclass(frozen=True)
class Advice:
    """The answer to a planning question."""

    quantity: str
    """The outcome that plans are best in, and options are compared in."""
    budget: float | None
    """The budget asked for, in money; None if a target alone was."""
    answers: tuple[Answer, ...]
    """One an option."""
    curves: tuple[Curve, ...]
    """The outcome against budget, one an option; empty if no option has a plan."""
    comparisons: tuple[Comparison, ...]
    """Every pair of options."""
    text: str = ""
    """The budget as it was asked for, by the costs of the first option; empty if not known."""


def advise(
    options: Sequence[Option],
    *,
    budget: float | None = None,
    target: Target | None = None,
    quantity: str | None = None,
    within: float = WITHIN,
    tolerance: float = TOLERANCE,
    far: bool = False,
    text: str = "",
) -> Advice:
    """Plan for a budget [money], for a target, or for both, in every option.

    With a budget each option's plan is the best it buys; with a target alone, the cheapest that
    reaches it. Its true cost is within the budget with probability `within`. `quantity` is what
    plans are best in, the target's or the loss if not given; `text` is the budget as it was asked
    for, in any unit. Raises `ValueError` for options in different currencies and for budgets out
    of reach of the runs.
    """
    if budget is None and target is None:
        raise ValueError("give a budget, a target, or both")
    if not 0.0 < tolerance < 1.0:
        raise ValueError(f"the tolerance is {tolerance:g}; it must lie between 0 and 1")
    _require_one_currency(options)
    quantity = quantity or (target.quantity if target else "loss")
    for option in options:
        option.quantity(quantity)
        if budget is not None:
            asked = text or f"{budget:g} {option.costs.currency}"
            require_reach(option, budget, far=far, text=asked)
    answers = tuple(
        _answer(option, budget, target, quantity, within=within, tolerance=tolerance)
        for option in options
    )
    money = [float(one.plans.budget[0]) for one in answers if one.plans is not None]
    if not money:
        return Advice(quantity, budget, answers, (), (), text)
    budgets, place = _budgets(options, budget or min(money))
    curves = tuple(_curve(option, budgets, quantity, within) for option in options)
    return Advice(quantity, budget, answers, curves, compare(curves, place=place), text)


def _answer(
    option: Option,
    budget: float | None,
    target: Target | None,
    quantity: str,
    *,
    within: float,
    tolerance: float,
) -> Answer:
    cheapest = cheapest_plan(option, target, within=within) if target else None
    if budget is not None:
        plans: Plans | None = make_plans(
            option, budget, quantity=quantity, within=within, tolerance=tolerance
        )
    else:
        plans = cheapest.plans if cheapest else None
    if plans is None:
        return Answer(option, None, (), cheapest, None)
    reach = reach_probability(option, plans.runs, target) if target else None
    return Answer(option, plans, marginals(plans), cheapest, reach)


def _budgets(options: Sequence[Option], middle: float) -> tuple[np.ndarray, int]:
    """Budgets of the curves, and the place of the one asked for among them."""
    least = max(max(cheapest_run(option), option.spending.least) for option in options)
    low = min(least, middle)
    high = max(middle, min(middle * BEYOND, least * 10.0**DECADES))
    below, above = CURVE_POINTS
    if low == middle:
        return np.geomspace(middle, max(high, middle * 1.01), above + 1), 0
    up_to = np.geomspace(low, middle, below)
    beyond = np.geomspace(middle, high, above + 1)[1:] if high > middle else np.array([])
    return np.append(up_to, beyond), below - 1


def _curve(option: Option, budgets: np.ndarray, quantity: str, within: float) -> Curve:
    """The outcome of the plans with the best expected loss, which differ little from the best."""
    plans = make_plans(option, budgets, within=within)
    return Curve(plans, quantity, option.worth(plans.loss, [quantity])[quantity])


def _require_one_currency(options: Sequence[Option]) -> None:
    currencies = sorted({option.costs.currency for option in options})
    if len(currencies) > 1:
        raise ValueError(
            f"the cost files are in {' and '.join(currencies)}; options are compared in one "
            "currency, so set the same in all"
        )
