"""The answer to a planning question: the best plan of every option, side by side.

`advise` gathers what `plan`, `target`, `marginal` and `compare` compute; `to_json` writes it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isoflop.forecast.compare import Comparison, Curve, compare
from isoflop.forecast.cost import PARTS, prices
from isoflop.forecast.limits import BYTES_PER_PARAM, DAY
from isoflop.forecast.marginal import Marginal, marginals
from isoflop.forecast.money import in_unit, units_of
from isoflop.forecast.option import Option
from isoflop.forecast.plan import (
    DECADES,
    TOLERANCE,
    WITHIN,
    Plans,
    cheapest_run,
    make_plans,
    require_reach,
)
from isoflop.forecast.predict import QUANTILES, quantiles
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
    plans are best in, the target's or the loss if not given. Raises `ValueError` for options in
    different currencies and for budgets out of reach of the runs.
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
            require_reach(option, budget, far=far, text=text or f"{budget:g}")
    answers = tuple(
        _answer(option, budget, target, quantity, within=within, tolerance=tolerance)
        for option in options
    )
    money = [float(one.plans.budget[0]) for one in answers if one.plans is not None]
    if not money:
        return Advice(quantity, budget, answers, (), ())
    budgets, place = _budgets(options, budget or min(money))
    curves = tuple(_curve(option, budgets, quantity, within) for option in options)
    return Advice(quantity, budget, answers, curves, compare(curves, place=place))


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


def to_json(advice: Advice) -> str:
    """The advice as JSON.

    `quantity`, `currency`, `budget` (money or null), `options`, `comparisons`. Each option has
    `option`, `group`, `costs`, `plan` (null if there is none) and `target` (null if none was asked
    for). A plan has `params`, `unique_samples`, `epochs`, `samples`, `flops`,
    `extrapolation_decades`, `most_passes_fitted`, `bounds`, `tolerance`, `as_good` (ranges of
    plans within it), `budget`, `spent` (planned at the medians), `budget_in` (other units), `cost`
    (quantiles of every part and of the total, `shares` at the medians, `within_budget`),
    `resources`, `outcomes` (quantiles), `regret` (of the loss) and `marginal` (`more`, `spent_on`,
    `factor`, `price`, and the `change` of every outcome). A target has `quantity`, `value`,
    `probability`, `reached_by_plan`, `cheapest` (`params`, `unique_samples`, `epochs`, `budget`,
    `probability`; or null), `beyond_limit` and `sentence`. A comparison has `first`, `second`,
    `quantity`, `budget`, `probability`, `low`, `high`, `crossing` (quantiles of the budget, null
    in it for beyond `low` or `high`; null if they do not cross) and `sentence`.
    """
    content = {
        "quantity": advice.quantity,
        "currency": advice.answers[0].option.costs.currency,
        "budget": advice.budget,
        "options": [_answer_json(answer) for answer in advice.answers],
        "comparisons": [_comparison_json(one) for one in advice.comparisons],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def summary(drawn: np.ndarray) -> dict[str, float]:
    """Quantiles of draws, shape (draws,) or (draws, 1)."""
    names = ("low_95", "low_68", "median", "high_68", "high_95")
    values = quantiles(np.asarray(drawn).reshape(len(drawn), -1))[:, 0]
    return dict(zip(names, map(float, values), strict=True))


def outcomes(option: Option, loss: np.ndarray) -> dict[str, np.ndarray]:
    """Draws of everything that a loss is worth in an option."""
    return option.worth(loss, [one.name for one in option.quantities])


def resources(plans: Plans) -> dict[str, float]:
    """What the run of a plan takes, at the medians: device-hours, core-hours, disk, memory, …"""
    option, (params, unique, _) = plans.option, plans.runs.at(0)
    found = {"memory_byte": params * BYTES_PER_PARAM}
    if option.costs.training_alone:
        return found
    at = prices(option.costs)
    hours = float(plans.flops[0]) / at.speed / 3600.0
    power = option.costs.device.power
    found |= {
        "device_hours": hours,
        "device_days": hours * 3600.0 / DAY,
        "core_hours": unique * at.core_seconds / 3600.0,
        "disk_byte": unique * option.costs.storage.size.median,
    }
    if power is not None:
        overhead = option.costs.energy.overhead.median if option.costs.energy else 1.0
        found["training_kWh"] = hours * power.median * overhead / 1000.0
    return found


def equivalents(option: Option, money: float) -> dict[str, float]:
    """Money in every unit that the cost model knows."""
    return {unit: in_unit(option.costs, money, unit) for unit in units_of(option.costs)}


def shares(plans: Plans) -> dict[str, float]:
    """Share of every part in the cost at the medians."""
    total = float(plans.parts.total[0])
    return {name: float(np.ravel(getattr(plans.parts, name))[0]) / total for name in PARTS}


def changes(plans: Plans, marginal: Marginal) -> dict[str, np.ndarray]:
    """Draws of what one more changes in every outcome, shape (draws, 1)."""
    before, after = outcomes(plans.option, plans.loss), outcomes(plans.option, marginal.loss)
    return {name: after[name] - before[name] for name in before}


def _answer_json(answer: Answer) -> dict[str, Any]:
    return {
        "option": answer.option.name,
        "group": answer.option.group,
        "costs": answer.option.costs.name,
        "plan": None if answer.plans is None else _plan_json(answer),
        "target": None if answer.cheapest is None else _target_json(answer.cheapest, answer.reach),
    }


def _plan_json(answer: Answer) -> dict[str, Any]:
    plans = answer.plans
    assert plans is not None
    params, unique, epochs = plans.runs.at(0)
    drawn = plans.cost_draws
    cost: dict[str, Any] = {name: summary(getattr(drawn, name)) for name in PARTS}
    cost |= {"total": summary(drawn.total), "shares": shares(plans)}
    cost["within_budget"] = float((drawn.total <= plans.budget).mean())
    as_good = {name: values[:, 0].tolist() for name, values in vars(plans.ranges).items()}
    return {
        "params": params,
        "unique_samples": unique,
        "epochs": epochs,
        "samples": unique * epochs,
        "flops": float(plans.flops[0]),
        "extrapolation_decades": plans.decades(),
        "most_passes_fitted": plans.option.most_passes,
        "bounds": list(plans.bounds()),
        "tolerance": plans.tolerance,
        "as_good": as_good,
        "budget": float(plans.budget[0]),
        "spent": float(plans.parts.total[0]),
        "budget_in": equivalents(plans.option, float(plans.budget[0])),
        "cost": cost,
        "resources": resources(plans),
        "outcomes": {
            name: summary(values) for name, values in outcomes(plans.option, plans.loss).items()
        },
        "regret": summary(plans.regret) | {"mean": float(plans.regret.mean())},
        "marginal": [_marginal_json(plans, one) for one in answer.marginals],
    }


def _marginal_json(plans: Plans, marginal: Marginal) -> dict[str, Any]:
    return {
        "more": marginal.more,
        "spent_on": marginal.spent_on[0],
        "factor": float(marginal.factor[0]),
        "price": float(marginal.price[0]),
        "change": {name: summary(values) for name, values in changes(plans, marginal).items()},
    }


def _target_json(cheapest: Cheapest, reach: float | None) -> dict[str, Any]:
    found = None
    if cheapest.plans is not None:
        params, unique, epochs = cheapest.plans.runs.at(0)
        found = {
            "params": params,
            "unique_samples": unique,
            "epochs": epochs,
            "budget": float(cheapest.plans.budget[0]),
            "probability": cheapest.probability,
        }
    return {
        **asdict(cheapest.target),
        "reached_by_plan": reach,
        "cheapest": found,
        "beyond_limit": cheapest.beyond,
        "sentence": cheapest.sentence,
    }


def _comparison_json(one: Comparison) -> dict[str, Any]:
    crossing = None
    if one.crossing is not None:
        names = [f"{q:g}" for q in QUANTILES]
        inside = [float(v) if one.low <= v <= one.high else None for v in one.crossing]
        crossing = dict(zip(names, inside, strict=True))
    return {
        "first": one.first,
        "second": one.second,
        "quantity": one.quantity,
        "budget": one.budget,
        "probability": one.probability,
        "crossing": crossing,
        "low": one.low,
        "high": one.high,
        "sentence": one.sentence,
    }
