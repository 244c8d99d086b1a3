"""Which runs to train next: those that most reduce the expected variance of a forecast.

Everything is linearised: see `beliefs` for what is believed of a run before it is trained,
`selection` for the choice and `bound` for what no choice could better. After a batch the posterior
should be fitted again.
"""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from isoflop.forecast.beliefs import believe
from isoflop.forecast.bound import least_variance
from isoflop.forecast.goals import Goal
from isoflop.forecast.selection import CHECK, RATE_FACTOR, Limits, Pick, choose

WORTH_NAMING = 0.01
"""Share of the variance that the runs left out of a design could take away together."""


@dataclass(frozen=True)
class Design:
    """The runs to train next and what they are expected to do."""

    goal: Goal
    """The forecast."""
    sd_now: float
    """Standard deviation of the forecast by the posterior, the scatter of a single run apart."""
    sd_least: float
    """Standard deviation below which no choice under the same limits could bring the forecast."""
    common: float
    """Share of the scatter that repeats of a cell have in common."""
    table: pd.DataFrame
    """A row a run in the order of choice: the candidate's columns, then `kind` (`new`, `seed` or
    `rate`), `seed`, `rate_factor`, `batch`, `spend` (cumulative, FLOP) and `expected_sd`."""

    @property
    def sd_after(self) -> float:
        """Standard deviation of the forecast expected after all of the runs."""
        return float(self.table["expected_sd"].iloc[-1]) if len(self.table) else self.sd_now


def design(
    posterior: xr.DataTree,
    candidates: pd.DataFrame,
    goal: Goal,
    limits: Limits,
    *,
    batch: int | None = None,
) -> Design:
    """Choose runs from a table of candidates under limits, to be trained `batch` at a time.

    Raises `ValueError` if there is no candidate or the spend buys none.
    """
    require_affordable(candidates, limits.spend)
    cells = candidates[candidates["flops"] <= limits.spend].reset_index(drop=True)
    beliefs = believe(posterior, cells, goal)
    costs = cells["flops"].to_numpy(float)
    picks = _without_tail(choose(beliefs, costs, limits))
    return Design(
        goal=goal,
        sd_now=float(np.sqrt(beliefs.covariance[0, 0])),
        sd_least=float(np.sqrt(least_variance(beliefs, costs, limits))),
        common=beliefs.common,
        table=_as_table(cells, picks, batch or max(len(picks), 1)),
    )


def to_json(found: Design) -> str:
    """The design as a JSON object: the forecast, its sd now, after and at the least, the runs."""
    goal = found.goal
    content = {
        "quantity": goal.quantity,
        "unit": goal.unit,
        "extrapolation_decades": goal.decades,
        "linearised": True,
        "sd_now": found.sd_now,
        "sd_after": found.sd_after,
        "sd_least": found.sd_least,
        "sd_of_a_single_run": goal.scatter,
        "scatter_common_to_repeats": found.common,
        "runs": json.loads(found.table.to_json(orient="records", double_precision=15)),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def require_affordable(candidates: pd.DataFrame, spend: float) -> None:
    """Raise `ValueError` if there is no candidate, or none that the spend [FLOP] buys."""
    if candidates.empty:
        raise ValueError("there is no candidate to choose from; widen the grid or name other cells")
    cheapest = candidates.iloc[int(candidates["flops"].to_numpy(float).argmin())]
    if cheapest["flops"] > spend:
        raise ValueError(
            f"a spend of {spend:.3g} FLOP buys no candidate: the cheapest is N = "
            f"{cheapest['params']:.3g} on {cheapest['unique_samples']:.3g} samples for "
            f"{cheapest['epochs']:g} epoch(s) in group {cheapest['group']!r} at "
            f"{cheapest['flops']:.3g} FLOP; spend at least that"
        )


def _without_tail(picks: list[Pick]) -> list[Pick]:
    """The runs up to one after which all others together take less than `WORTH_NAMING` away."""
    if not picks:
        return picks
    enough = picks[-1].variance / (1.0 - WORTH_NAMING)
    kept = next(n for n, pick in enumerate(picks, start=1) if pick.variance <= enough)
    return picks[:kept]


def _as_table(cells: pd.DataFrame, picks: list[Pick], batch: int) -> pd.DataFrame:
    chosen = cells.iloc[[pick.cell for pick in picks]].reset_index(drop=True)
    checks = np.array([pick.kind == CHECK for pick in picks], bool)
    repeat = np.array([pick.repeat for pick in picks], int)
    return chosen.assign(
        kind=np.where(checks, "rate", np.where(repeat > 0, "seed", "new")),
        seed=np.where(checks, 0, repeat),
        rate_factor=np.where(checks, RATE_FACTOR, 1.0),
        batch=1 + np.arange(len(picks)) // batch,
        spend=chosen["flops"].cumsum(),
        expected_sd=[np.sqrt(max(pick.variance, 0.0)) for pick in picks],
    )
