"""Background rejection and signal efficiency at a loss, for every draw of the link.

The link (`isoflop.inference.link`) says how often jets pass a tagger of a given loss. Arrays have
the draws first, shape (draws, points). A new tagger scatters about the link, by one normal a draw
that all its points share, so that intervals along a curve are smooth. So do the jets that the runs
were counted on: the tagger is to serve on others.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from isoflop.inference import rates

KINDS = ("rejection", "efficiency")
"""At fixed signal efficiency the rejection varies, at fixed rejection the efficiency."""


@dataclass(frozen=True)
class LinkDraws:
    """The link of one working point in one group, draw by draw; arrays of shape (draws,)."""

    kind: str
    """`rejection` or `efficiency`."""
    signal: str
    """Name of the working point, as `Hbb`."""
    at: float
    """What is held fixed: the signal efficiency, or the background rejection."""
    centre: float
    """Loss at which the level is quoted, in nat."""
    level: np.ndarray
    """log R, or logit ε, at the centre."""
    slope: np.ndarray
    """How fast it rises as the loss falls, per nat, from high to low losses; (draws, segments)."""
    knots: np.ndarray
    """Losses between the segments, in nat, from high to low; shape (segments − 1,)."""
    scatter: np.ndarray
    """Standard deviation of runs about it, at the centre."""
    scatter_slope: np.ndarray
    """Rise of the logarithm of that with the loss, per nat."""
    tested: float
    """Jets that each run was counted on."""
    cut_error: float
    """Standard error of log R, or logit ε, by the jets that set the cut."""
    lowest_loss: float
    """Smallest loss of a run of the group in the fit, in nat."""

    def mean(self, loss: np.ndarray) -> np.ndarray:
        """The link's log R (before its floor at R = 1) or logit ε; shape of `loss`."""
        columns = self.level[:, None], self.slope[:, None, :], self.knots - self.centre
        return np.asarray(rates.transformed(loss - self.centre, *columns))

    def deviation(self, loss: np.ndarray, *, seed: int) -> np.ndarray:
        """What a new tagger adds to `mean`, shape of `loss`."""
        step = self._normal("", seed)
        scale = rates.scatter(
            loss - self.centre, self.scatter[:, None], self.scatter_slope[:, None]
        )
        return np.asarray(scale * step[:, None])

    def other_jets(self, mean: np.ndarray, *, seed: int) -> np.ndarray:
        """What other jets than those of the runs may differ by from a `mean`, of its shape.

        All groups share it, for their runs were counted on the same jets. Below the lowest loss
        that was counted at, where the mean is higher, it stays as it is there.
        """
        at_lowest = self.mean(np.full((1, 1), self.lowest_loss))
        u = np.minimum(mean, at_lowest)
        error = np.hypot(rates.counting_error(u, self.tested, self.kind), self.cut_error)
        return np.asarray(error * np.clip(self._normal("jets:", seed), -5.0, 5.0)[:, None])

    def _normal(self, what: str, seed: int) -> np.ndarray:
        """One standard normal a draw, that of the working point alone, shape (draws,)."""
        own = zlib.crc32(f"{what}{self.kind}:{self.signal}".encode())
        return np.random.default_rng([seed, own]).standard_normal(len(self.level))


def working_points(posterior: xr.DataTree, kind: str, group: str) -> tuple[str, ...]:
    """Names of the working points of a kind that a group has a link for; may be empty."""
    dataset = _dataset(posterior, kind)
    if dataset is None or group not in dataset["group"].values:
        return ()
    return tuple(map(str, dataset["signal"].values))


def fixed_values(posterior: xr.DataTree, kind: str) -> dict[str, float]:
    """What is held fixed at each working point: signal efficiency, or background rejection."""
    dataset = _dataset(posterior, kind)
    if dataset is None:
        return {}
    at = zip(dataset["signal"].values, dataset["at"].values, strict=True)
    return {str(name): float(value) for name, value in at}


def link_summary(posterior: xr.DataTree) -> dict[str, dict[str, Any]]:
    """What each kind of link was fitted to: signals, number of runs, range of their loss [nat]."""
    found = {kind: _dataset(posterior, kind) for kind in KINDS}
    return {
        kind: {
            "signals": [str(name) for name in one["signal"].values],
            "runs": int(one.attrs["runs"]),
            "lowest_loss": float(one["lowest_loss"].min()),
            "highest_loss": float(one["highest_loss"].max()),
        }
        for kind, one in found.items()
        if one is not None
    }


def lowest_loss(posterior: xr.DataTree, kind: str, group: str) -> float | None:
    """Smallest loss [nat] that a link has seen in a group; None without a link."""
    dataset = _dataset(posterior, kind)
    if dataset is None or group not in dataset["group"].values:
        return None
    return float(dataset["lowest_loss"].sel(group=group))


def link_draws(posterior: xr.DataTree, group: str, signal: str, *, kind: str) -> LinkDraws:
    """The link of a working point in a group; `ValueError` says what is missing and what to do."""
    dataset = _dataset(posterior, kind)
    fixed, column = ("efficiency", "efficiency") if kind == "rejection" else ("rejection",) * 2
    if dataset is None:
        raise ValueError(
            f"the posterior has no link from the loss to the {kind} of {signal}: its records have "
            f"no working points at fixed {fixed}; measure them (column `{column}` of "
            "working_points.parquet) and fit again"
        )
    names = tuple(map(str, dataset["signal"].values))
    if signal not in names:
        raise ValueError(
            f"signal {signal!r} has no working points at fixed {fixed}; the records have "
            f"{', '.join(names)}"
        )
    groups = tuple(map(str, dataset["group"].values))
    if group not in groups:
        raise ValueError(
            f"group {group!r} has no working points at fixed {fixed}; "
            f"those with some are {', '.join(groups)}"
        )
    own = dataset.sel(group=group, signal=signal)
    draws: dict[str, Any] = {name: _flat(own[name]) for name in rates.PARAMETERS}
    return LinkDraws(
        kind=kind,
        signal=signal,
        at=float(own["at"]),
        knots=np.asarray(own["knots"].values, float),
        centre=float(own["centre"]),
        tested=float(own["tested"]),
        cut_error=float(own["cut_error"]),
        lowest_loss=float(own["lowest_loss"]),
        **draws,
    )


def rejection_draws(link: LinkDraws, loss: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Background rejection of a new tagger of this loss [nat] on new jets, (draws, points)."""
    u = link.mean(loss)
    u += link.other_jets(u, seed=seed)
    u += link.deviation(loss, seed=seed)
    return np.asarray(rates.rejection(u))


def _flat(draws: xr.DataArray) -> np.ndarray:
    """The chains joined, shape (draws, ...)."""
    values = np.asarray(draws.values, float)
    return values.reshape(-1, *values.shape[2:])


def _dataset(posterior: xr.DataTree, kind: str) -> xr.Dataset | None:
    path = f"link/{kind}"
    if "link" not in posterior.children or kind not in posterior["link"].children:
        return None
    return posterior[path].to_dataset()
