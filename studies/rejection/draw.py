"""Rejection of each signal against loss and against D, and the D at which it reaches ParT's.

    python -m studies.rejection.draw build/studies/posterior.nc

writes rejection.csv and rejection.png beside this script.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from studies.study import COLUMNS, once_through, read_posterior, write_study

from isoflop.forecast.allocate import best_plans
from isoflop.forecast.figures import styles_of
from isoflop.forecast.predict import group_draws, group_names, predictive_draws, quantiles
from isoflop.forecast.rejection import LinkDraws, link_draws, rejection_draws
from isoflop.forecast.rejection_curves import (
    PART_REJECTIONS,
    SignalCurves,
    rejection_curves,
)
from isoflop.forecast.rejection_figure import draw_counts, rejection_axes

GROUP = "full-128"
"""The inputs of Particle Transformer: all 17 features of up to 128 particles."""
JETCLASS = 1e8
"""Training jets of JetClass."""
ASKED = (1e6, JETCLASS, 1e10)
"""D by which the reference may be reached."""
DECADES = 11
"""How far beyond the dearest run the path is followed for the crossing."""
SHOWN = 1e9
"""Largest D of the figure."""
STEPS = 12 * DECADES


@dataclass(frozen=True)
class BestPath:
    """The best plan of GROUP at each budget, one epoch."""

    samples: np.ndarray
    """D in jets, shape (points,)."""
    flops: np.ndarray
    """Budget [FLOP], shape (points,)."""
    loss: np.ndarray
    """Loss of a new run [nat], shape (draws, points)."""

    @property
    def shown(self) -> np.ndarray:
        """Which points the figure shows."""
        return self.samples <= SHOWN


@dataclass(frozen=True)
class Signal:
    """One signal against the loss, and along the path."""

    curves: SignalCurves
    """Rejection against the loss, with the counts."""
    link: LinkDraws
    """The link of GROUP."""
    rejection: np.ndarray
    """Rejection of a new run along the path, shape (draws, points)."""

    @property
    def reference(self) -> float:
        """ParT's rejection."""
        return PART_REJECTIONS[self.curves.signal][1]


def main() -> None:
    """Write the table and the figure."""
    posterior = read_posterior(__doc__)
    path = optimal_path(posterior)
    signals = signals_of(posterior, path)
    table = pd.DataFrame([row_of(posterior, path, one) for one in signals])
    write_study(__file__, table, figure_of(posterior, path, signals), digits=5)


def optimal_path(posterior: xr.DataTree) -> BestPath:
    """The plans from the cheapest run of GROUP to DECADES beyond the dearest."""
    draws = group_draws(posterior, GROUP)
    flops = np.geomspace(draws.smallest_flops, draws.largest_flops * 10.0**DECADES, STEPS)
    plans = best_plans(draws, flops)
    params, samples = (np.array([getattr(p, n) for p in plans]) for n in ("params", "samples"))
    loss = predictive_draws(draws, params, unique_samples=samples, seed=0)
    return BestPath(samples, flops, loss)


def signals_of(posterior: xr.DataTree, path: BestPath) -> list[Signal]:
    """Every signal, with the rejection that the path reaches."""
    end = float(path.flops[path.shown][-1])
    found = []
    for curves in rejection_curves(posterior, [end], groups=group_names(posterior)):
        link = link_draws(posterior, GROUP, curves.signal, kind="rejection")
        found.append(Signal(curves, link, rejection_draws(link, path.loss)))
    return found


def data_end(posterior: xr.DataTree) -> float:
    """Most jets that a run of GROUP has seen once."""
    once = once_through(posterior)
    return float(once.loc[once["group"] == GROUP, "samples"].max())


def row_of(posterior: xr.DataTree, path: BestPath, one: Signal) -> dict[str, float | str]:
    """All that the page quotes of one signal."""
    curves, link = one.curves, one.link
    efficiency, reference = PART_REJECTIONS[curves.signal]
    best = lowest_counted(posterior, one)
    crossing = first_crossing(np.log10(path.samples), one.rejection, reference)
    falling = np.linspace(link.lowest_loss + 0.5, 0.0, 400)
    each = np.broadcast_to(falling, (len(path.loss), len(falling)))
    needed = first_crossing(falling, rejection_draws(link, each), reference)
    steepness = link.slope[:, -2]  # of the last segment above the lowest loss counted at
    found: dict[str, float | str] = {
        "signal": curves.signal,
        "efficiency": efficiency,
        **best,
        "published": reference,
        "lowest_loss": link.lowest_loss,
        **{f"reached_by_{d:.0e}": float((crossing <= np.log10(d)).mean()) for d in ASKED},
        "not_within_path": float(np.isinf(crossing).mean()),
        "path_ends_at": float(path.samples[-1]),
    }
    values = {
        "log10_samples": crossing,
        "loss_needed": np.where(np.isinf(needed), -np.inf, needed),
        "decades_per_nat": steepness / np.log(10.0),
    }
    for d in (data_end(posterior), *ASKED):
        nearest = int(np.argmin(np.abs(np.log(path.samples / d))))
        name = "at_data_end" if d not in ASKED else f"at_{d:.0e}"
        values[f"rejection_{name}"] = one.rejection[:, nearest]
        found[f"loss_{name}"] = float(np.median(path.loss[:, nearest]))
    for name, draws in values.items():
        # A draw that never crosses is farther than any: the quantile of an order, not a mean.
        band = np.quantile(draws, (0.025, 0.16, 0.5, 0.84, 0.975), method="nearest")
        found |= {f"{name}_{q}": float(v) for q, v in zip(COLUMNS, band, strict=True)}
    return found


def first_crossing(x: np.ndarray, rejection: np.ndarray, reference: float) -> np.ndarray:
    """Where each draw first reaches the reference along x, shape (draws,); ∞ where it does not."""
    above = rejection >= reference
    found = np.where(above.any(axis=1), above.argmax(axis=1), 0)
    rows, before = np.arange(len(found)), np.maximum(found - 1, 0)
    low, high = (np.log(rejection[rows, at]) for at in (before, found))
    step = np.divide(np.log(reference) - low, high - low, out=np.ones(len(low)), where=high > low)
    at = x[before] + np.clip(step, 0.0, 1.0) * (x[found] - x[before])
    return np.where(above.any(axis=1), at, np.inf)


def lowest_counted(posterior: xr.DataTree, one: Signal) -> dict[str, float]:
    """The counts of the two runs of GROUP with the lowest losses, and the link at the lowest.

    `share_below_counted` is that of new runs at the lowest loss that reject less than was counted.
    """
    rows = posterior["link/rejection_counts"].to_dataset()
    own = rows.isel(row=mask(rows, one.curves.signal))
    first, second = (own.isel(row=int(i)) for i in np.argsort(own["loss"].values)[:2])
    counted = [float(run["tested"]) / max(float(run["passed"]), 1.0) for run in (first, second)]
    loss = np.full((len(one.link.level), 1), float(first["loss"]))
    expected = rejection_draws(one.link, loss)[:, 0]
    low, middle, high = np.quantile(expected, (0.16, 0.5, 0.84))
    return {
        "passed": float(first["passed"]),
        "tested": float(first["tested"]),
        "counted": counted[0],
        "link_at_lowest_low_68": float(low),
        "link_at_lowest_median": float(middle),
        "link_at_lowest_high_68": float(high),
        "share_below_counted": float((expected < counted[0]).mean()),
        "second_loss": float(second["loss"]),
        "second_passed": float(second["passed"]),
        "second_counted": counted[1],
    }


def samples_of_counts(posterior: xr.DataTree, signal: str) -> np.ndarray:
    """D of the run of each count of GROUP, NaN for runs over repeated jets."""
    rows = posterior["link/rejection_counts"].to_dataset()
    once = once_through(posterior)
    known = dict(zip(once["run"].astype(str), once["samples"], strict=True))
    names = rows["run_id"].values[mask(rows, signal)].astype(str)
    return np.array([known.get(name, np.nan) for name in names])


def mask(rows: xr.Dataset, signal: str) -> np.ndarray:
    """Rows of GROUP and of the signal."""
    group = rows["row_group"].values.astype(str) == GROUP
    return np.asarray(group & (rows["row_signal"].values.astype(str) == signal))


def figure_of(posterior: xr.DataTree, path: BestPath, signals: list[Signal]) -> Figure:
    """Nine panels against loss, and beneath them nine against D."""
    figure = Figure(figsize=(10.0, 14.2), layout="constrained")
    upper, lower = figure.subfigures(2, 1)
    groups = [band.group for band in signals[0].curves.against_loss]
    styles = styles_of(groups)
    upper.suptitle("background rejection of a new run against its loss", fontsize=11)
    lower.suptitle(
        f"against its jets D, N compute-optimal, one epoch, {GROUP}; shaded: beyond the runs",
        fontsize=11,
    )
    panels = [part.subplots(3, 3).ravel() for part in (upper, lower)]
    end = data_end(posterior)
    for one, ax, bx in zip(signals, *panels, strict=True):
        rejection_axes(one.curves, ax, axis="loss", styles=styles)
        band = quantiles(one.rejection[:, path.shown])
        samples_axes(bx, path.samples[path.shown], band, end=end, colour=styles[GROUP][0])
        own = next(counts for counts in one.curves.counts if counts.group == GROUP)
        draw_counts(bx, own, samples_of_counts(posterior, one.curves.signal), *styles[GROUP])
        bx.set_title(ax.get_title(), fontsize=9, pad=3)
        for each in (ax, bx):
            each.axhline(one.reference, color="black", lw=0.9, ls=(0, (4, 2)))
    for ax, bx in zip(*(row[6:] for row in panels), strict=True):
        ax.set_xlabel("loss $L$ [nat]", fontsize=9)
        bx.set_xlabel("jets $D$", fontsize=9)
    for ax in (*panels[0][::3], *panels[1][::3]):
        ax.set_ylabel("background rejection", fontsize=9)
    figure.legend(handles=handles_of(styles), loc="outside lower center", ncols=4, fontsize=9)
    return figure


def handles_of(styles: dict[str, tuple[str, str]]) -> list[Line2D | Patch]:
    """What the legend explains."""
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=c, marker=m, markersize=4, label=name)
        for name, (c, m) in styles.items()
    ]
    handles.append(Line2D([], [], color="0.4", ls=":", label="median beyond the runs"))
    handles += [Patch(color="0.4", alpha=a, label=t) for a, t in ((0.33, "68 %"), (0.13, "95 %"))]
    text = "ParT on JetClass (other jets), 100 M jets"
    return [*handles, Line2D([], [], color="black", ls=(0, (4, 2)), label=text)]


def samples_axes(
    ax: Axes, samples: np.ndarray, band: np.ndarray, *, end: float, colour: str
) -> None:
    """The band of a new run's rejection against D; shaded beyond the D of every run."""
    low_95, low_68, median, high_68, high_95 = band
    ax.fill_between(samples, low_95, high_95, color=colour, alpha=0.13, lw=0)
    ax.fill_between(samples, low_68, high_68, color=colour, alpha=0.22, lw=0)
    within = samples <= end
    ax.plot(samples[within], median[within], color=colour, lw=1.2)
    ax.plot(samples, median, color=colour, lw=1.0, ls=":")
    ax.axvspan(end, samples[-1], color="0.5", alpha=0.10, lw=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(samples[0], samples[-1])
    ax.tick_params(labelsize=8)


if __name__ == "__main__":
    main()
