"""The curves of the forecast figures, computed here so that the figures only draw.

Bands are quantiles over the draws at `predict.QUANTILES`, arrays of shape (5, points).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from isoflop.forecast.allocate import best_plan, best_plans, optimal
from isoflop.forecast.predict import (
    Draws,
    group_draws,
    group_names,
    loss_draws,
    predictive_draws,
    quantiles,
)

FAN_POINTS = 21
CURVE_POINTS = 41
# An iso-FLOP curve spans this many decades of N on either side of its minimum.
CURVE_DECADES = 1.25


@dataclass(frozen=True)
class RunPoints:
    """Runs of one group as points; arrays of shape (runs,)."""

    group: str
    """Name of the group."""
    params: np.ndarray
    """N."""
    flops: np.ndarray
    """C, in FLOP."""
    loss: np.ndarray
    """Observed loss, in nat."""
    held_out: bool
    """Whether the runs were kept apart from the fit."""


@dataclass(frozen=True)
class Fan:
    """Loss of a new run at the best plan of each budget, one group."""

    group: str
    """Name of the group."""
    flops: np.ndarray
    """Budgets C, in FLOP, shape (points,)."""
    loss: np.ndarray
    """Quantiles of the loss [nat], shape (5, points)."""
    largest_flops: float
    """The most expensive fitted run of the group, in FLOP: beyond it lies extrapolation."""


@dataclass(frozen=True)
class IsoFlop:
    """Loss of the law along one iso-FLOP line, one group and one epoch."""

    flops: float
    """C of the line, in FLOP."""
    params: np.ndarray
    """N, shape (points,)."""
    loss: np.ndarray
    """Quantiles of the law's loss [nat], shape (5, points)."""
    best_params: np.ndarray
    """Quantiles of N* over the draws, shape (5,)."""
    best_loss: float
    """Median loss [nat] at the median N*."""
    extrapolated: bool
    """Whether C exceeds the most expensive fitted run of the group."""


@dataclass(frozen=True)
class OwnRun:
    """A run that is forecast and need not be the best of its compute in one pass, one group."""

    group: str
    """Name of the group."""
    flops: float
    """C, in FLOP."""
    params: float
    """N."""
    loss: np.ndarray
    """Quantiles of its loss [nat], shape (5,)."""


@dataclass(frozen=True)
class ForecastCurves:
    """Everything that the forecast figure draws."""

    budget_flops: tuple[float, ...]
    """The budgets that were asked for, in FLOP."""
    runs: tuple[RunPoints, ...]
    """Runs, a group at a time; those kept apart from the fit last."""
    fans: tuple[Fan, ...]
    """One fan for each group."""
    iso_group: str
    """Group whose iso-FLOP curves are shown."""
    isoflops: tuple[IsoFlop, ...]
    """Iso-FLOP curves of that group, cheapest first."""
    own: tuple[OwnRun, ...] = ()
    """Runs of other shapes or of more passes than the fans have, marked in both panels."""


def forecast_curves(
    posterior: xr.DataTree,
    flops: Sequence[float],
    *,
    groups: Sequence[str] | None = None,
    iso_group: str | None = None,
    curves: int = 4,
    seed: int = 0,
) -> ForecastCurves:
    """Compute the forecast figure for budgets `flops` [FLOP], for the given groups or all.

    The right panel has up to `curves` iso-FLOP curves within the runs of `iso_group` (by default
    the group of the lowest forecast at the largest budget) and one for each budget.
    """
    shown = tuple(groups or group_names(posterior))
    iso_group = iso_group or best_group(posterior, max(flops), shown)
    if iso_group not in shown:
        raise ValueError(
            f"iso-FLOP curves are asked of group {iso_group!r}, which is not among the groups "
            f"shown: {', '.join(shown)}; choose one of these"
        )
    draws = {name: group_draws(posterior, name) for name in shown}
    runs = tuple(points for points in run_points(posterior) if points.group in draws)
    last = max([*flops, *(points.flops.max() for points in runs)])
    own = draws[iso_group]
    ladder = np.geomspace(own.smallest_flops, own.largest_flops, curves + 1)[1:]
    # A line beside that of a budget would hide it.
    inside = [float(c) for c in ladder if all(abs(np.log10(c / b)) > 0.4 for b in flops)]
    return ForecastCurves(
        budget_flops=tuple(float(value) for value in flops),
        runs=runs,
        fans=tuple(
            fan(draws[name], min([draws[name].smallest_flops, *flops]), last_flops=last, seed=seed)
            for name in shown
        ),
        iso_group=iso_group,
        isoflops=tuple(isoflop(own, value) for value in sorted({*inside, *flops})),
    )


def best_group(posterior: xr.DataTree, flops: float, groups: Sequence[str]) -> str:
    """The group of the lowest median loss of the law at its best plan of `flops` [FLOP].

    A page or figure that shows one group first shows this one: it is what the budget would go to.
    """
    if len(groups) == 1:
        return groups[0]
    return min(groups, key=lambda name: _median_loss(group_draws(posterior, name), flops))


def _median_loss(draws: Draws, flops: float) -> float:
    plan = best_plan(draws, flops)
    return float(np.median(loss_draws(draws, plan.params, unique_samples=plan.unique_samples)))


def fan(draws: Draws, first_flops: float, *, last_flops: float, seed: int = 0) -> Fan:
    """The forecast fan of a group from `first_flops` to `last_flops` [FLOP]."""
    flops = np.geomspace(first_flops, last_flops, FAN_POINTS)
    plans = best_plans(draws, flops)
    loss = predictive_draws(
        draws,
        np.array([plan.params for plan in plans]),
        unique_samples=np.array([plan.unique_samples for plan in plans]),
        seed=seed,
    )
    return Fan(draws.group, flops, quantiles(loss), draws.largest_flops)


def isoflop(draws: Draws, flops: float) -> IsoFlop:
    """The iso-FLOP curve of a group at C = `flops` [FLOP], about its minimum."""
    best_params = quantiles(optimal(draws, flops).params)[:, 0]
    middle, top = best_params[2], flops / draws.flops_per_param_sample
    low, high = middle / 10**CURVE_DECADES, middle * 10**CURVE_DECADES
    params = np.geomspace(max(1.0, low), min(top, high), CURVE_POINTS)
    loss = loss_draws(
        draws, np.append(params, middle), unique_samples=top / np.append(params, middle)
    )
    bands = quantiles(loss)
    return IsoFlop(
        flops=float(flops),
        params=params,
        loss=bands[:, :-1],
        best_params=best_params,
        best_loss=float(bands[2, -1]),
        extrapolated=bool(flops > draws.largest_flops),
    )


def run_points(posterior: xr.DataTree) -> tuple[RunPoints, ...]:
    """The runs of a posterior by group, fitted ones first, then those kept apart."""
    fitted = posterior["constant_data"].to_dataset()
    fitted = fitted.assign(loss=posterior["observed_data"].to_dataset()["loss"])
    points = _points(fitted, held_out=False)
    if "predictions_constant_data" in posterior.children:
        held = posterior["predictions_constant_data"].to_dataset()
        points += _points(held, held_out=True)
    return tuple(points)


def _points(runs: xr.Dataset, *, held_out: bool) -> list[RunPoints]:
    group = runs["run_group"].values.astype(str)
    columns = {name: runs[name].values.astype(float) for name in ("params", "flops", "loss")}
    return [
        RunPoints(
            group=str(name),
            held_out=held_out,
            **{column: values[group == name] for column, values in columns.items()},
        )
        for name in np.unique(group)
    ]
