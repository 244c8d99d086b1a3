"""The advice of `isoflop plan` as JSON."""

import json
from dataclasses import asdict
from typing import Any

from isoflop.forecast.account import changes, equivalents, outcomes, resources, shares, summary
from isoflop.forecast.advice import Advice, Answer
from isoflop.forecast.compare import Comparison
from isoflop.forecast.cost import PARTS
from isoflop.forecast.marginal import Marginal
from isoflop.forecast.plan import Plans
from isoflop.forecast.predict import QUANTILES
from isoflop.forecast.target import Cheapest


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
