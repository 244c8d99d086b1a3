"""What runs of an option cost, and which budgets are in reach of the runs that were trained."""

import numpy as np
from numpy.typing import ArrayLike

from isoflop.forecast.cost import Parts, cost_draws, cost_parts, prices
from isoflop.forecast.option import Option, fitted_runs
from isoflop.forecast.spending import Runs

DECADES = 10.0
"""Budgets more than this many decades above the cheapest run are refused."""


def parts_of(option: Option, runs: Runs) -> Parts:
    """What runs cost at the medians, by part, in money."""
    return cost_parts(
        prices(option.costs),
        runs.params,
        unique_samples=runs.unique_samples,
        epochs=runs.epochs,
        flops_per_param_sample=option.draws.flops_per_param_sample,
    )


def drawn_costs(option: Option, runs: Runs) -> Parts:
    """Draws of what runs cost, in money, shape (draws, points)."""
    return cost_draws(
        option.costs,
        len(option.draws.alpha),
        params=runs.params,
        unique_samples=runs.unique_samples,
        epochs=runs.epochs,
        flops_per_param_sample=option.draws.flops_per_param_sample,
        seed=option.seed,
    )


def cheapest_run(option: Option) -> float:
    """What the cheapest fitted run of the group costs by the cost model, in money."""
    own = fitted_runs(option.posterior, option.group)
    params, samples, unique = (
        own[name].values.astype(float) for name in ("params", "samples", "unique_samples")
    )
    return float(parts_of(option, Runs(params, unique, samples / unique)).total.min())


def require_reach(option: Option, money: float, *, far: bool, text: str) -> None:
    """Refuse a budget below the cheapest run ever trained or `DECADES` above it.

    `text` is the budget as it was asked for; one without a unit counts FLOP.
    """
    if far:
        return
    least, unit = cheapest_run(option), option.costs.currency
    bare = text.strip()[-1:].isdigit() and not option.costs.training_alone
    if money < least:
        meant = f" (without a unit it counts FLOP; did you mean {text.strip()} {unit}?)" * bare
        raise ValueError(
            f"budget {text}{meant} is {money:.3g} {unit}, below {least:.3g} {unit}, what the "
            f"cheapest run ever trained in {option.group} costs by {option.costs.name}: no run "
            "says what so little buys; give more, or --far if that is meant"
        )
    if money > least * 10.0**DECADES:
        meant = " (without a unit it counts FLOP)" * bare
        raise ValueError(
            f"budget {text}{meant} is {money:.3g} {unit}, {np.log10(money / least):.1f} decades "
            f"above the cheapest run ever trained in {option.group}, {least:.3g} {unit}: no law "
            f"has been seen to hold over more than {DECADES:g}; give less, or --far if that is "
            "meant"
        )


def require_budgets(option: Option, budget: ArrayLike) -> np.ndarray:
    """Budgets [money], shape (points,); refuses what does not pay for one parameter and one jet."""
    money = np.atleast_1d(np.asarray(budget, float))
    bad = money[~(np.isfinite(money) & (money >= option.spending.least))]
    if bad.size:
        unit = option.costs.currency
        raise ValueError(
            f"budget is {bad[0]:.3g} {unit}; it must be finite and at least "
            f"{option.spending.least:.3g} {unit}, what one parameter and one jet cost in "
            f"{option.name}; give a larger budget"
        )
    return money
