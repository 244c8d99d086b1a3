"""What new runs shall make certain: a forecast as draws, and how it moves with the law's error.

`loss` is that of the best plan of a budget, `params_opt` the logarithm of the best N; every
physics quantity that the posterior knows follows from the loss of that plan.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from isoflop.forecast.allocate import Plan, best_per_draw, best_plan
from isoflop.forecast.predict import (
    Draws,
    extrapolation_decades,
    group_draws,
    loss_draws,
    scatter_scale,
)

QUANTITIES = ("loss", "params_opt")
"""Forecasts that every posterior has."""

STEP = 1e-3
"""Step in log loss of the slopes of what a loss is worth."""

Worth = Callable[[np.ndarray], np.ndarray]
"""What a loss [nat] is worth, (draws, points) → the same; draw i of it with draw i of the law."""


@dataclass(frozen=True)
class Goal:
    """A forecast t whose variance new runs shall reduce."""

    quantity: str
    """Its name."""
    unit: str
    """Its unit: `nat` for a loss, `ln` for a logarithm, empty for a pure number."""
    values: np.ndarray
    """t by the law and its error within the runs, shape (draws,)."""
    runs: pd.DataFrame
    """The runs it is about, columns as of candidates; none if the law's error does not move it."""
    slopes: np.ndarray
    """∂t/∂(log loss) at each of these, shape (draws, runs)."""
    shape: float
    """log₁₀(N/D) of the run it is about."""
    decades: float
    """Decades of compute beyond the dearest fitted run of the group."""
    scatter: float
    """Scale of the scatter of t by that of a single run, which no other run removes."""


def make_goal(
    posterior: xr.DataTree,
    flops: float,
    *,
    group: str,
    quantity: str = "loss",
    worth: Worth | None = None,
    unique_cap: float | None = None,
) -> Goal:
    """The forecast of a quantity at a budget [FLOP], spent by the best plan of a group.

    `worth` gives any other quantity than `QUANTITIES` from the loss of the plan. Raises
    `ValueError` for an unknown group or quantity, with the names there are.
    """
    draws = group_draws(posterior, group)
    if quantity not in QUANTITIES and worth is None:
        raise ValueError(f"unknown quantity {quantity!r}; choose one of {', '.join(QUANTITIES)}")
    plan = best_plan(draws, flops, unique_cap=unique_cap)
    decades = extrapolation_decades(flops, draws.largest_flops)
    shape = float(np.log10(plan.params / plan.samples))
    if quantity == "params_opt":
        best = np.log(best_per_draw(draws, flops, unique_cap=unique_cap).params[:, 0])
        nowhere = pd.DataFrame({name: [] for name in ("group", *_RUN)}).astype({"group": str})
        return Goal(quantity, "ln", best, nowhere, np.zeros((len(best), 0)), shape, decades, 0.0)
    loss = loss_draws(draws, plan.params, unique_samples=plan.unique_samples, epochs=plan.epochs)
    values, slopes = (loss, loss) if worth is None else (worth(loss), _slopes(worth, loss))
    # From the loss to the V of which the law speaks: d(log L)/d(log V) with L = V/(1 + V/c).
    slopes = slopes * (1.0 - loss / draws.ceiling)
    scatter = float(np.median(np.abs(slopes[:, 0]) * _scatter(draws, plan)))
    unit = "nat" if worth is None else ""
    return Goal(
        quantity, unit, values[:, 0], _as_table(draws, plan), slopes, shape, decades, scatter
    )


def _slopes(worth: Worth, loss: np.ndarray) -> np.ndarray:
    """∂t/∂(log loss) of each draw, by central differences; shape of the loss."""
    up, down = (worth(loss * np.exp(step)) for step in (STEP, -STEP))
    return np.asarray((up - down) / (2.0 * STEP))


_RUN = ("params", "unique_samples", "epochs", "flops")


def _as_table(draws: Draws, plan: Plan) -> pd.DataFrame:
    return pd.DataFrame([{"group": draws.group} | {name: getattr(plan, name) for name in _RUN}])


def _scatter(draws: Draws, plan: Plan) -> np.ndarray:
    """Scale of the scatter of a run of this plan, shape (draws,)."""
    size = {"unique_samples": plan.unique_samples, "epochs": plan.epochs}
    return scatter_scale(draws, plan.params, **size)[:, 0]
