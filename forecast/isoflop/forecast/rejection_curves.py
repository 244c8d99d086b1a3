"""What the figure of the rejections shows: bands against loss and compute, and the counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.stats import chi2

from isoflop.forecast.allocate import best_plans
from isoflop.forecast.predict import group_draws, group_names, predictive_draws, quantiles
from isoflop.forecast.rejection import link_draws, rejection_draws, working_points

POINTS = 40
PART_REJECTIONS = {
    "Hbb": (0.5, 10638.0),
    "Hcc": (0.5, 4149.0),
    "Hgg": (0.5, 123.0),
    "H4q": (0.5, 1864.0),
    "Hqql": (0.99, 5479.0),
    "Tbqq": (0.5, 32787.0),
    "Tbl": (0.995, 15873.0),
    "Wqq": (0.5, 543.0),
    "Zqq": (0.5, 402.0),
}
"""Signal efficiency and background rejection of ParT on JetClass, 100 M jets (arXiv:2202.03772)."""


@dataclass(frozen=True)
class Band:
    """Quantiles of the rejection of a new run on new jets along an axis, of one group."""

    group: str
    """Group of runs."""
    x: np.ndarray
    """Loss [nat] or compute [FLOP], shape (points,)."""
    quantiles: np.ndarray
    """`QUANTILES` of the rejection, shape (5, points)."""
    edge: float
    """End of the runs: smallest loss, or largest compute."""


@dataclass(frozen=True)
class Counts:
    """Rejections that were counted, of one group; arrays of shape (runs,)."""

    group: str
    """Group of runs."""
    loss: np.ndarray
    """Loss of the run, in nat."""
    flops: np.ndarray
    """Compute of the run, in FLOP."""
    low: np.ndarray
    """Rejection less its 68 % Poisson error."""
    middle: np.ndarray
    """Rejection; not finite where no jet passed, and then `low` is a limit."""
    high: np.ndarray
    """Rejection and its 68 % Poisson error; not finite where no jet passed."""


@dataclass(frozen=True)
class SignalCurves:
    """All that is drawn of one signal."""

    signal: str
    """Working point."""
    efficiency: float
    """Its signal efficiency."""
    against_loss: tuple[Band, ...]
    """One a group."""
    against_flops: tuple[Band, ...]
    """One a group, at the best N and D of each compute."""
    counts: tuple[Counts, ...]
    """One a group."""
    published: float | None
    """ParT's rejection at this efficiency, where the runs are of the real JetClass."""


def rejection_curves(
    posterior: xr.DataTree,
    budgets: Sequence[float],
    *,
    groups: Sequence[str] | None = None,
    signals: Sequence[str] | None = None,
) -> tuple[SignalCurves, ...]:
    """The curves of the signals, all by default, at fixed efficiency.

    Budgets [FLOP] stretch the compute axis. Raises `ValueError` where the posterior has no link to
    a rejection, or none of a signal that is asked for.
    """
    if "link" not in posterior.children or "rejection" not in posterior["link"].children:
        raise ValueError(
            "the posterior has no link from the loss to a rejection: its records have no working "
            "points; fit records with working_points.parquet beside them"
        )
    dataset = posterior["link/rejection"].to_dataset()
    shown = _chosen(signals, dataset["signal"].values.astype(str).tolist())
    names = [
        name
        for name in groups or group_names(posterior)
        if working_points(posterior, "rejection", name)
    ]
    budget_axis = {name: _along_flops(posterior, name, budgets) for name in names}
    lowest = {
        name: float(np.quantile(loss[:, -1], 0.16)) for name, (_, loss) in budget_axis.items()
    }
    real = "jetclass" in str(dataset.attrs.get("datasets", "")).lower()
    found = []
    efficiencies = dataset["at"].sel(signal=shown).values
    for signal, at in zip(shown, efficiencies, strict=True):
        known = PART_REJECTIONS.get(signal.split("@")[0], (0.0, 0.0))
        found.append(
            SignalCurves(
                signal=signal,
                efficiency=float(at),
                against_loss=tuple(_loss_band(posterior, n, signal, lowest[n]) for n in names),
                against_flops=tuple(
                    _flops_band(posterior, n, signal, *budget_axis[n]) for n in names
                ),
                counts=tuple(_counts(posterior, name, signal) for name in names),
                published=known[1] if real and np.isclose(known[0], at) else None,
            )
        )
    return tuple(found)


def _chosen(signals: Sequence[str] | None, have: list[str]) -> list[str]:
    """The signals asked for, in that order; every one must be in the posterior."""
    unknown = [name for name in signals or () if name not in have]
    if unknown:
        raise ValueError(f"unknown signal {unknown[0]!r}; this posterior has {', '.join(have)}")
    return list(signals or have)


def _along_flops(
    posterior: xr.DataTree, group: str, budgets: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Compute [FLOP] from the cheapest run to the largest budget, and the loss of a new run there.

    The loss is that of the best N and D, shape (draws, points).
    """
    draws = group_draws(posterior, group)
    flops = np.geomspace(draws.smallest_flops, max([draws.largest_flops, *budgets]), POINTS)
    plans = best_plans(draws, flops)
    params, unique = (
        np.array([getattr(p, n) for p in plans]) for n in ("params", "unique_samples")
    )
    return flops, predictive_draws(draws, params, unique_samples=unique, seed=0)


def _loss_band(posterior: xr.DataTree, group: str, signal: str, lowest: float) -> Band:
    """From the highest loss counted at to the lowest: counted, or of the largest budget."""
    dataset = posterior["link/rejection"].to_dataset().sel(group=group)
    link = link_draws(posterior, group, signal, kind="rejection")
    loss = np.linspace(min(lowest, link.lowest_loss), float(dataset["highest_loss"]), POINTS)
    each = np.broadcast_to(loss, (len(link.level), POINTS))
    return Band(group, loss, quantiles(rejection_draws(link, each)), link.lowest_loss)


def _flops_band(
    posterior: xr.DataTree, group: str, signal: str, flops: np.ndarray, loss: np.ndarray
) -> Band:
    link = link_draws(posterior, group, signal, kind="rejection")
    largest = group_draws(posterior, group).largest_flops
    return Band(group, flops, quantiles(rejection_draws(link, loss)), largest)


def _counts(posterior: xr.DataTree, group: str, signal: str) -> Counts:
    rows = posterior["link/rejection_counts"].to_dataset()
    wanted = (rows["row_group"].values.astype(str) == group) & (
        rows["row_signal"].values.astype(str) == signal
    )
    own = rows.isel(row=wanted)
    passed, tested = own["passed"].values, own["tested"].values
    # The central interval of a Poisson mean (Garwood 1936).
    fewest, most = chi2.ppf(0.16, 2 * passed) / 2.0, chi2.ppf(0.84, 2 * passed + 2) / 2.0
    seen = passed > 0
    middle, high = (
        np.divide(tested, count, out=np.full(len(tested), np.inf), where=seen)
        for count in (passed, fewest)
    )
    return Counts(group, own["loss"].values, own["flops"].values, tested / most, middle, high)
