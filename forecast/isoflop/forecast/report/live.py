"""What the script of the page evaluates: draws of the law, plans, and tables on the slider's stops.

The loss, the best N and the best D are evaluated in the page, draw by draw, from the packed draws
and the standard deviates that the seed gives each draw; so the page has the whole distribution. The
plan of a stop, which a numerical search over all draws finds, is stored. What the loss is worth and
what the plan costs come from other modules with sampling and searches of their own: of these the
page holds the quantiles at each stop.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from isoflop.forecast.allocate import best_plan
from isoflop.forecast.fans import run_points
from isoflop.forecast.predict import (
    QUANTILES,
    Draws,
    deviates,
    extrapolation_decades,
    group_draws,
)
from isoflop.forecast.report.packing import pack
from isoflop.inference.verdict import distance_fault

SCHEMA = "isoflop.report/1"
LAW_COLUMNS = ("loss_inf", "log_A", "log_B", "alpha", "beta", "gamma")
MOST_DRAW_BYTES = 1_800_000
"""Text of packed draws that a page may hold; beyond it every k-th draw is kept."""
BYTES_PER_VALUE = 16.0 / 3.0


@dataclass(frozen=True)
class Live:
    """The data of the script, and what the rest of the page says of them."""

    data: dict[str, Any]
    """JSON object, read by `page.js`."""
    draws: int
    """Draws of the posterior."""
    stride: int
    """The page holds every `stride`-th of them."""


def live_data(
    posterior: xr.DataTree, groups: Sequence[str], budgets: Sequence[float], *, seed: int
) -> Live:
    """Everything the script needs for these groups and stops of the slider [FLOP]."""
    laws = [group_draws(posterior, name) for name in groups]
    draws = len(laws[0].alpha)
    stride = thinning(draws, len(laws))
    data = {
        "schema": SCHEMA,
        "quantiles": list(QUANTILES),
        "budgets": list(budgets),
        "draws": len(range(0, draws, stride)),
        "thinned": stride > 1,
        "ceiling": None if math.isinf(laws[0].ceiling) else laws[0].ceiling,
        "sigma_samples": laws[0].sigma_samples,
        "groups": [_group(posterior, law, budgets, stride=stride, seed=seed) for law in laws],
        "runs": _runs(posterior, groups),
    }
    return Live(data, draws, stride)


def thinning(draws: int, groups: int) -> int:
    """How many draws one kept draw stands for, so that the page stays small."""
    columns = len(LAW_COLUMNS) + 4 + 3
    return math.ceil(draws * groups * columns * BYTES_PER_VALUE / MOST_DRAW_BYTES)


def _group(
    posterior: xr.DataTree, law: Draws, budgets: Sequence[float], *, stride: int, seed: int
) -> dict[str, Any]:
    plans = [best_plan(law, flops) for flops in budgets]
    return {
        "name": law.group,
        "flops_per_param_sample": law.flops_per_param_sample,
        "smallest_flops": law.smallest_flops,
        "largest_flops": law.largest_flops,
        "columns": _columns(law, stride=stride, seed=seed),
        "walk": [pack(knot[::stride]) for knot in law.walk.T],
        "params": [plan.params for plan in plans],
        "at_bound": [plan.at_bound for plan in plans],
        "decades": [extrapolation_decades(flops, law.largest_flops) for flops in budgets],
        "too_far": [_too_far(posterior, law, flops) for flops in budgets],
    }


def _columns(law: Draws, *, stride: int, seed: int) -> dict[str, Any]:
    """Packed columns: the law, σ·t and its power of D, and κ·z."""
    own = deviates(law, seed=seed)
    columns = {name: getattr(law, name) for name in LAW_COLUMNS}
    columns["scatter"] = law.sigma * own.scatter
    columns["scatter_slope"] = law.sigma_slope
    columns["drift"] = law.kappa * own.drift
    return {name: pack(column[::stride]) for name, column in columns.items()}


def _too_far(posterior: xr.DataTree, law: Draws, flops: float) -> str:
    """Why a budget is too far from the runs to be forecast; empty if it is not."""
    return "; ".join(distance_fault(posterior, extrapolation_decades(flops, law.largest_flops)))


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
