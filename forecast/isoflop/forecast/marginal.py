"""What one more of something is worth at a plan: jets, device time, passes.

Differences are taken draw by draw between the plan and the plan with one more, the law's error and
the scatter of runs shared, so that their intervals are those of the difference.
"""

from dataclasses import dataclass

import numpy as np

from isoflop.forecast.cost import prices
from isoflop.forecast.limits import DAY
from isoflop.forecast.option import Option, law_loss
from isoflop.forecast.plan import Plans
from isoflop.forecast.pricing import parts_of
from isoflop.forecast.spending import Runs

MILLION = 1e6
JETS = "1e6 jets"
PASS = "1 pass"


@dataclass(frozen=True)
class Marginal:
    """What one more of something changes, at each plan; arrays of shape (draws, points)."""

    more: str
    """What there is one more of: `1e6 jets`, `1 GPU-day` (or `1 device-day`) or `1 pass`."""
    spent_on: tuple[str, ...]
    """How it is spent, a word a point."""
    runs: Runs
    """The runs with one more."""
    factor: np.ndarray
    """Over what the plan has of it, shape (points,); far from 1 this is no small change."""
    price: np.ndarray
    """What it costs at the medians, in money, shape (points,)."""
    loss: np.ndarray
    """Loss of the run with one more [nat]."""


def marginals(plans: Plans) -> tuple[Marginal, ...]:
    """One more million jets, one more device-day (with a cost file), one more pass."""
    runs, option = plans.runs, plans.option
    more_jets = Runs(runs.params, runs.unique_samples + MILLION, runs.epochs)
    more_passes = Runs(runs.params, runs.unique_samples, runs.epochs + 1.0)
    count = len(plans.budget)
    found = [
        _marginal(
            plans,
            JETS,
            more_jets,
            factor=more_jets.unique_samples / runs.unique_samples,
            spent_on=("the same network and passes",) * count,
        ),
        _marginal(
            plans,
            PASS,
            more_passes,
            factor=more_passes.epochs / runs.epochs,
            spent_on=("the same network and jets",) * count,
        ),
    ]
    if not option.costs.training_alone:
        found.insert(1, _device_day(plans))
    return tuple(found)


def _device_day(plans: Plans) -> Marginal:
    """One more device-day of training on the same jets: a larger network or more passes."""
    runs, option = plans.runs, plans.option
    spent = plans.flops
    factor = (spent + DAY * prices(option.costs).speed) / spent
    larger = Runs(runs.params * factor, runs.unique_samples, runs.epochs)
    longer = Runs(runs.params, runs.unique_samples, runs.epochs * factor)
    worse = (_expected(option, larger) > _expected(option, longer)) | (
        larger.params > option.spending.most_params
    )
    chosen = Runs(
        np.where(worse, longer.params, larger.params),
        runs.unique_samples,
        np.where(worse, longer.epochs, larger.epochs),
    )
    words = tuple("more passes" if longest else "a larger network" for longest in worse)
    more = f"1 {option.costs.device.unit}-day"
    return _marginal(plans, more, chosen, factor=factor, spent_on=words)


def _expected(option: Option, runs: Runs) -> np.ndarray:
    return np.asarray(law_loss(option.draws, runs).mean(axis=0))


def _marginal(
    plans: Plans, more: str, runs: Runs, *, factor: np.ndarray, spent_on: tuple[str, ...]
) -> Marginal:
    price = parts_of(plans.option, runs).total - plans.parts.total
    return Marginal(more, spent_on, runs, factor, price, plans.option.predicted_loss(runs))
