"""Rejection of each signal against loss and against D, and the D at which it reaches ParT's.

python studies/rejection/draw.py build/studies/posterior.nc
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from isoflop.files import writing
from isoflop.forecast.allocate import best_plans
from isoflop.forecast.figures import COLOURS, MARKERS, save_figure
from isoflop.forecast.predict import group_draws, group_names, predictive_draws, quantiles
from isoflop.forecast.rejection import LinkDraws, link_draws, rejection_draws
from isoflop.forecast.rejection_curves import (
    PART_REJECTIONS,
    Counts,
    SignalCurves,
    rejection_curves,
)
from isoflop.forecast.rejection_figure import rejection_axes
from isoflop.inference.posterior import load

HERE = Path(__file__).parent
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
COLUMNS = ["low_95", "low_68", "median", "high_68", "high_95"]


def main(path: str) -> None:
    """Compute the curves of GROUP along its compute-optimal path; write CSV and PNG."""
    posterior = load(path)
    samples, flops, loss = optimal_path(posterior)
    shown = samples <= SHOWN
    curves = rejection_curves(posterior, [float(flops[shown][-1])], groups=group_names(posterior))
    rows, bands = [], {}
    for one in curves:
        link = link_draws(posterior, GROUP, one.signal, kind="rejection")
        rejection = rejection_draws(link, loss)
        bands[one.signal] = quantiles(rejection[:, shown])
        rows.append(row_of(posterior, one, link, (samples, loss, rejection)))
    table = pd.DataFrame(rows)
    with writing(HERE / "rejection.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g")
    counted = {one.signal: samples_of_counts(posterior, one.signal) for one in curves}
    drawn = figure(curves, bands, samples[shown], counted, data_end(posterior))
    save_figure(drawn, HERE / "rejection.png")


def optimal_path(posterior: xr.DataTree) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """D and C of the best plan of each budget, (points,), and a new run's loss, (draws, points)."""
    draws = group_draws(posterior, GROUP)
    flops = np.geomspace(draws.smallest_flops, draws.largest_flops * 10.0**DECADES, STEPS)
    plans = best_plans(draws, flops)
    params, samples = (np.array([getattr(p, n) for p in plans]) for n in ("params", "samples"))
    return samples, flops, predictive_draws(draws, params, unique_samples=samples, seed=0)


def data_end(posterior: xr.DataTree) -> float:
    """Most jets that a run of GROUP has seen once."""
    runs = posterior["constant_data"].to_dataset()
    own = runs.isel(run=runs["run_group"].values.astype(str) == GROUP)
    once = own["samples"].values == own["unique_samples"].values
    return float(own["samples"].values[once].max())


def row_of(
    posterior: xr.DataTree,
    curves: SignalCurves,
    link: LinkDraws,
    path: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> dict[str, float | str]:
    """All that the page quotes of one signal."""
    samples, loss, rejection = path
    efficiency, reference = PART_REJECTIONS[curves.signal]
    best = best_counted(posterior, curves.signal)
    crossing = first_crossing(np.log10(samples), rejection, reference)
    falling = np.linspace(link.lowest_loss + 0.5, 0.0, 400)
    each = np.broadcast_to(falling, (len(loss), len(falling)))
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
        "path_ends_at": float(samples[-1]),
    }
    values = {
        "log10_samples": crossing,
        "loss_needed": np.where(np.isinf(needed), -np.inf, needed),
        "decades_per_nat": steepness / np.log(10.0),
    }
    for d in (data_end(posterior), *ASKED):
        nearest = int(np.argmin(np.abs(np.log(samples / d))))
        name = "at_data_end" if d not in ASKED else f"at_{d:.0e}"
        values[f"rejection_{name}"] = rejection[:, nearest]
        found[f"loss_{name}"] = float(np.median(loss[:, nearest]))
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


def best_counted(posterior: xr.DataTree, signal: str) -> dict[str, float]:
    """Background jets that passed the run of GROUP with the lowest loss, of those tested."""
    rows = posterior["link/rejection_counts"].to_dataset()
    own = rows.isel(row=mask(rows, signal))
    best = own.isel(row=int(np.argmin(own["loss"].values)))
    passed, tested = float(best["passed"]), float(best["tested"])
    return {"passed": passed, "tested": tested, "counted": tested / max(passed, 1.0)}


def samples_of_counts(posterior: xr.DataTree, signal: str) -> np.ndarray:
    """D of the run of each count of GROUP, NaN for runs over repeated jets."""
    rows = posterior["link/rejection_counts"].to_dataset()
    runs = posterior["constant_data"].to_dataset()
    once = runs["samples"].values == runs["unique_samples"].values
    known = dict(
        zip(runs["run"].values.astype(str), np.where(once, runs["samples"], np.nan), strict=True)
    )
    names = rows["run_id"].values[mask(rows, signal)].astype(str)
    return np.array([known.get(name, np.nan) for name in names])


def mask(rows: xr.Dataset, signal: str) -> np.ndarray:
    """Rows of GROUP and of the signal."""
    group = rows["row_group"].values.astype(str) == GROUP
    return np.asarray(group & (rows["row_signal"].values.astype(str) == signal))


def figure(
    curves: tuple[SignalCurves, ...],
    bands: dict[str, np.ndarray],
    samples: np.ndarray,
    counted: dict[str, np.ndarray],
    end: float,
) -> Figure:
    """Nine panels against loss, nine against D."""
    whole = Figure(figsize=(15.4, 7.6), layout="constrained")
    left, right = whole.subfigures(1, 2)
    groups = [band.group for band in curves[0].against_loss]
    styles = {name: (COLOURS[i], MARKERS[i]) for i, name in enumerate(groups)}
    left.suptitle("background rejection of a new run against loss", fontsize=11)
    right.suptitle(
        f"against D at the best N, one epoch, {GROUP}; shaded: beyond the runs", fontsize=11
    )
    panels = [part.subplots(3, 3).ravel() for part in (left, right)]
    for one, ax, bx in zip(curves, *panels, strict=True):
        rejection_axes(one, ax, axis="loss", styles=styles)
        own = next(c for c in one.counts if c.group == GROUP)
        samples_axes(bx, samples, bands[one.signal], end=end, colour=styles[GROUP][0])
        draw_counts(bx, counted[one.signal], own, *styles[GROUP])
        bx.set_title(ax.get_title(), fontsize=8, pad=3)
        for each in (ax, bx):
            reference = PART_REJECTIONS[one.signal][1]
            each.axhline(reference, color="black", lw=0.9, ls=(0, (4, 2)))
    for ax, bx in zip(*(row[6:] for row in panels), strict=True):
        ax.set_xlabel("loss $L$ [nat]", fontsize=9)
        bx.set_xlabel("jets $D$", fontsize=9)
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=c, marker=m, markersize=3, label=name)
        for name, (c, m) in styles.items()
    ]
    handles.append(Line2D([], [], color="0.4", ls=":", label="median beyond the runs"))
    handles += [Patch(color="0.4", alpha=a, label=t) for a, t in ((0.33, "68 %"), (0.13, "95 %"))]
    text = "ParT on JetClass (other jets), 100 M jets"
    handles.append(Line2D([], [], color="black", ls=(0, (4, 2)), label=text))
    whole.legend(handles=handles, loc="outside lower center", ncols=8, fontsize=9)
    return whole


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
    ax.tick_params(labelsize=7)


def draw_counts(ax: Axes, samples: np.ndarray, counts: Counts, colour: str, marker: str) -> None:
    """The counted rejections of one-epoch runs; an arrow where no jet passed."""
    seen = np.isfinite(counts.high)
    low, middle, high = counts.low[seen], counts.middle[seen], counts.high[seen]
    error = [middle - low, high - middle]
    style = {"color": colour, "markersize": 2.0, "linewidth": 0.5, "alpha": 0.6}
    ax.errorbar(samples[seen], middle, error, fmt=marker, **style)
    ax.plot(samples[~seen], counts.low[~seen], ls="", marker=r"$\uparrow$", color=colour)


if __name__ == "__main__":
    main(*sys.argv[1:])
