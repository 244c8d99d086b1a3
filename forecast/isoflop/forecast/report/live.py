"""What the script of the page evaluates: draws of the law, plans, and tables on the slider's stops.

The loss, the best N and the best D are evaluated in the page, draw by draw, from the packed draws
and the standard deviates that the seed gives each draw; so the page has the whole distribution. The
plan of a stop, which a numerical search over all draws finds, is stored. What the loss is worth and
what the plan costs come from other modules with sampling and searches of their own: of these the
page holds the quantiles at each stop, as the forecast table has them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from isoflop.forecast.cost import PARTS, cost_draws, prices
from isoflop.forecast.costmodel import Costs
from isoflop.forecast.fans import run_points
from isoflop.forecast.names import label
from isoflop.forecast.predict import QUANTILES, Draws, deviates, group_draws, quantiles
from isoflop.forecast.rejection import lowest_loss
from isoflop.forecast.report.packing import pack, pack_exactly
from isoflop.forecast.significance import Scenario
from isoflop.forecast.table import ForecastRow, forecast_budget
from isoflop.inference.laws import KNOTS, SIDES
from isoflop.inference.verdict import distance_fault

SCHEMA = "isoflop.report/1"
LAW_COLUMNS = ("loss_inf", "log_A", "log_B", "alpha", "beta", "gamma")
ERROR_COLUMNS = 4
"""Columns of the scatter and of the drift beside those (`_columns`)."""
EVALUATED = ("loss", "params_opt", "samples_opt")
"""Quantities that the page evaluates from the draws."""
MOST_DRAW_BYTES = 1_800_000
"""Text of packed draws that a page may hold; beyond it every k-th draw is kept."""
BYTES_PER_VALUE = 16.0 / 3.0


@dataclass(frozen=True)
class Stop:
    """A stop of the slider in one group."""

    rows: tuple[ForecastRow, ...]
    """Its rows of the forecast table."""
    costs: dict[str, np.ndarray]
    """`QUANTILES` of what its plan costs, by part and in all; empty without a cost model."""

    def values(self, quantity: str) -> list[float]:
        """`QUANTILES` of a quantity."""
        return [row.value for row in self.rows if row.quantity == quantity]


@dataclass(frozen=True)
class Question:
    """What the report is asked about."""

    groups: tuple[str, ...]
    """Groups, in the posterior's order."""
    budgets: tuple[float, ...]
    """Stops of the slider, in FLOP."""
    seed: int
    """Seed of the scatter of runs and of the prices."""
    scenario: Scenario | None = None
    """Analysis that the tagger serves."""
    costs: Costs | None = None
    """Cost model of the plans."""


Stops = dict[str, list[Stop]]
"""The stops of the slider by group."""


def find_stops(posterior: xr.DataTree, question: Question) -> Stops:
    """The forecast table at every stop, and what its plan costs."""
    return {
        group: [_stop(posterior, group, flops, question) for flops in question.budgets]
        for group in question.groups
    }


def live_data(posterior: xr.DataTree, question: Question, stops: Stops) -> dict[str, Any]:
    """Everything that the script needs, as a JSON object."""
    laws = [group_draws(posterior, name) for name in question.groups]
    draws = len(laws[0].alpha)
    stride = thinning(draws, len(laws))
    return {
        "schema": SCHEMA,
        "quantiles": list(QUANTILES),
        "budgets": list(question.budgets),
        "draws": len(range(0, draws, stride)),
        "stride": stride,
        "ceiling": None if math.isinf(laws[0].ceiling) else laws[0].ceiling,
        "sigma_samples": laws[0].sigma_samples,
        "device": _device(question.costs),
        "groups": [
            _group(posterior, law, stops[law.group], question, stride=stride) for law in laws
        ],
        "runs": _runs(posterior, question.groups),
    }


def thinning(draws: int, groups: int) -> int:
    """How many draws one kept draw stands for, so that the page stays small."""
    columns = len(LAW_COLUMNS) + KNOTS + SIDES + ERROR_COLUMNS
    return math.ceil(draws * groups * columns * BYTES_PER_VALUE / MOST_DRAW_BYTES)


def _stop(posterior: xr.DataTree, group: str, flops: float, question: Question) -> Stop:
    rows = tuple(
        forecast_budget(
            posterior, flops, groups=[group], scenario=question.scenario, seed=question.seed
        )
    )
    if question.costs is None:
        return Stop(rows, {})
    law = group_draws(posterior, group)
    parts = cost_draws(
        question.costs,
        len(law.alpha),
        params=rows[0].params,
        unique_samples=rows[0].unique_samples,
        epochs=rows[0].epochs,
        flops_per_param_sample=law.flops_per_param_sample,
        seed=question.seed,
    )
    return Stop(rows, {name: quantiles(getattr(parts, name))[:, 0] for name in (*PARTS, "total")})


def _group(
    posterior: xr.DataTree, law: Draws, stops: list[Stop], question: Question, *, stride: int
) -> dict[str, Any]:
    plans = [stop.rows[0] for stop in stops]
    faults = [distance_fault(posterior, plan.extrapolation_decades) for plan in plans]
    return {
        "name": law.group,
        "flops_per_param_sample": law.flops_per_param_sample,
        "smallest_flops": law.smallest_flops,
        "largest_flops": law.largest_flops,
        "columns": _columns(law, stride=stride, seed=question.seed),
        "walk": [pack(knot[::stride]) for knot in law.walk.T],
        "walls": [pack(side[::stride]) for side in law.walls.T],
        "valley": {name: [value] for name, value in law.valley.items()},
        "params": [plan.params for plan in plans],
        "at_bound": [min(plan.params, plan.samples) <= 1.0 for plan in plans],
        "decades": [plan.extrapolation_decades for plan in plans],
        "too_far": ["; ".join(fault) for fault in faults],
        "worth": _worth(posterior, stops, question.scenario),
        "lowest_counted_loss": lowest_loss(posterior, "rejection", law.group),
        "costs": _costs(stops),
        "currency": question.costs.currency if question.costs else "",
    }


def _device(costs: Costs | None) -> dict[str, Any] | None:
    """What the cost model trains on: its name, the unit of its hours and its median speed."""
    if costs is None:
        return None
    device, speed = costs.device, float(prices(costs).speed)
    return {"name": device.name, "unit": f"{device.unit}-h", "flops_per_second": speed}


def _columns(law: Draws, *, stride: int, seed: int) -> dict[str, Any]:
    """Packed columns: the law, σ·t and its power of D, ρ·t, and κ·z."""
    own = deviates(law, seed=seed)
    columns = {name: getattr(law, name) for name in LAW_COLUMNS}
    columns["scatter"] = law.sigma * own.scatter
    columns["scatter_slope"] = law.sigma_slope
    columns["scatter_off"] = law.rho * own.scatter
    columns["drift"] = law.kappa * own.drift
    return {name: pack(column[::stride]) for name, column in columns.items()}


def _worth(
    posterior: xr.DataTree, stops: list[Stop], scenario: Scenario | None
) -> list[dict[str, Any]]:
    """What the loss is worth, a quantity with its quantiles at each stop, shape (stops, 5)."""
    units = {row.quantity: row.unit for row in stops[0].rows if row.quantity not in EVALUATED}
    return [
        {
            "name": name,
            "label": label(name, posterior, scenario),
            "unit": unit,
            **pack_exactly(np.array([stop.values(name) for stop in stops])),
        }
        for name, unit in units.items()
    ]


def _costs(stops: list[Stop]) -> list[dict[str, Any]]:
    """What the plan costs, a part with its quantiles at each stop, shape (stops, 5)."""
    return [
        {"name": name, **pack_exactly(np.array([stop.costs[name] for stop in stops]))}
        for name in stops[0].costs
    ]


def _runs(posterior: xr.DataTree, groups: Sequence[str]) -> list[dict[str, Any]]:
    """The runs of the chart, a group at a time."""
    return [
        {
            "group": groups.index(points.group),
            "held_out": points.held_out,
            "flops": np.asarray(points.flops).tolist(),
            "loss": np.asarray(points.loss).tolist(),
        }
        for points in run_points(posterior)
        if points.group in groups
    ]
