"""Intervals that the pictures of the report draw: parameters before and after the runs, refits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from isoflop.forecast.predict import QUANTILES
from isoflop.inference.posterior import LAW_VARIABLES

SHOWN = ("loss_inf", "alpha", "beta", "gamma", "omega")


@dataclass(frozen=True)
class ParameterIntervals:
    """One parameter of the law in each group."""

    symbol: str
    """As in tables and figures."""
    unit: str
    """Unit, empty for a pure number."""
    groups: tuple[str, ...]
    """Names of the groups."""
    after: np.ndarray
    """`QUANTILES` of the posterior, shape (5, groups)."""
    before: np.ndarray | None
    """`QUANTILES` of the prior, shape (5, groups); None where the fit has none, as a bootstrap."""


def parameter_intervals(
    posterior: xr.DataTree, groups: Sequence[str]
) -> tuple[ParameterIntervals, ...]:
    """The law's parameters that this fit left free."""
    draws = posterior["posterior"].to_dataset().sel(group=list(groups))
    prior = None
    if "prior" in posterior.children:
        prior = posterior["prior"].to_dataset().sel(group=list(groups))
    return tuple(
        ParameterIntervals(
            symbol=LAW_VARIABLES[name].symbol,
            unit=LAW_VARIABLES[name].unit,
            groups=tuple(groups),
            after=_intervals(draws[name]),
            before=None if prior is None else _intervals(prior[name]),
        )
        for name in SHOWN
        if float(draws[name].std()) > 0.0
    )


def _intervals(draws: xr.DataArray) -> np.ndarray:
    values = draws.transpose("chain", "draw", "group").values
    return np.asarray(np.quantile(values.reshape(-1, values.shape[-1]), QUANTILES, axis=0))
