"""The figures that check a fit: residuals, forecasts of hidden runs one by one, back-tests.

They draw what `table` and `isoflop.inference.backtest` computed. An error is that of the forecast,
predicted over observed − 1, as in every table: positive where the forecast was pessimistic.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from isoflop.forecast.figures import (
    ERROR_LABEL,
    GROUPS_IN_AXES_LEGEND,
    draw_legend,
    new_axes,
    power_of_ten,
    styles_of,
)

APART = 3.0
"""Points by which the 95 % and the 68 % share of one forecast stand left and right of it."""


def check_figure(fitted: pd.DataFrame, held_out: pd.DataFrame | None = None) -> Figure:
    """Residuals of all runs; beside them, if any were kept apart, their forecasts one by one."""
    if held_out is None:
        figure = Figure(figsize=(6.4, 4.6), layout="constrained")
        residual_axes(fitted, ax=figure.subplots())
        return figure
    height = max(4.6, 1.6 + 0.2 * min(len(held_out), 60))
    figure = Figure(figsize=(10.0, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    residual_axes(fitted, held_out, ax=left)
    held_out_figure(held_out, ax=right)
    right.set_title("runs kept apart from the fit", fontsize=10)
    return figure


def residual_axes(
    fitted: pd.DataFrame, held_out: pd.DataFrame | None = None, ax: Axes | None = None
) -> Axes:
    """Error of the predicted loss of every run against compute, with 95 % intervals.

    An interval that does not reach zero missed its run. Filled markers are runs of the fit, open
    ones were kept apart.
    """
    ax = ax or new_axes()
    styles = styles_of(sorted(set(fitted["group"])))
    tables = [(fitted, True)] + ([] if held_out is None else [(held_out, False)])
    for table, filled in tables:
        for group, (colour, marker) in styles.items():
            runs = table[table["group"] == group]
            _draw_residuals(ax, runs, colour, marker, filled=filled)
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.set_xscale("log")
    ax.set_xlabel("training compute $C$ [FLOP]")
    ax.set_ylabel(ERROR_LABEL)
    ax.set_title("posterior-predictive check, 95 % intervals", fontsize=10)
    handles = [
        Line2D([], [], color=c, marker=m, ls="", ms=5, label=group)
        for group, (c, m) in styles.items()
    ]
    if held_out is not None:
        handles.append(Line2D([], [], color="0.3", marker="o", ls="", mfc="none", label="held out"))
    draw_legend(ax, handles, outside=len(styles) > GROUPS_IN_AXES_LEGEND)
    return ax


def held_out_figure(comparison: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Error of the predicted loss of each held-out run: median, 68 and 95 % interval."""
    count = len(comparison)
    ax = ax or new_axes(figsize=(6.4, 1.6 + 0.28 * min(count, 60)))
    styles = styles_of(sorted(set(comparison["group"])))
    shown = ["low_95", "low_68", "median", "high_68", "high_95"]
    relative = 100.0 * (comparison[shown].to_numpy() / comparison[["observed"]].to_numpy() - 1.0)
    for place, group in enumerate(comparison["group"]):
        draw_interval(ax, place, relative[place], *styles[group])
    ax.axvline(0.0, color="black", linewidth=0.8)
    ax.set_xlabel(ERROR_LABEL)
    labels = [
        f"$N$ = {power_of_ten(params)}, $C$ = {power_of_ten(flops)}"
        for params, flops in zip(comparison["params"], comparison["flops"], strict=True)
    ]
    ax.set_yticks(range(count), labels, fontsize=8)
    ax.set_ylim(-0.7, count - 0.3)
    handles = [
        Line2D([], [], color=c, marker=m, linestyle="-", markersize=5, label=group)
        for group, (c, m) in styles.items()
    ]
    handles.append(Line2D([], [], color="0.4", linewidth=3.5, label="68 %"))
    handles.append(Line2D([], [], color="0.4", linewidth=1.0, label="95 %"))
    draw_legend(ax, handles, outside=True)  # inside it would hide intervals
    return ax


def backtest_figure(rows: pd.DataFrame) -> Figure:
    """CRPS and held shares of back-tests against the factor of compute hidden, or by group.

    `rows` has the columns of a back-test's JSON. Each point is the mean over groups and tables of
    one hold-out factor, geometric for the CRPS, or where there is one factor the mean over tables
    of one group. The shares wanted are the dashed lines. A method that could not make all forecasts
    says how many its points are the mean of.
    """
    figure = Figure(figsize=(10.0, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    several = rows["holdout"].nunique() > 1
    along = "holdout" if several else "group"
    places = sorted(set(rows["holdout"])) if several else list(dict.fromkeys(rows["group"]))
    at = pd.Series(places if several else range(len(places)), index=places, dtype=float)
    mean = rows.assign(log_crps=np.log(rows["crps"]))
    made, lines = rows["method"].value_counts(), ("-", ":") if several else ("none", "none")
    methods = styles_of(list(dict.fromkeys(rows["method"])))
    for number, (method, (colour, marker)) in enumerate(methods.items()):
        part = f" ({made[method]} of {made.max()})" if made[method] < made.max() else ""
        style = {"color": colour, "marker": marker, "markersize": 5, "label": f"{method}{part}"}
        own = mean[mean["method"] == method].groupby(along, sort=False)
        found = own[["log_crps", "coverage_68", "coverage_95"]].mean()
        step = 0.0 if several else min(0.18, 0.8 / len(methods))
        x = at[found.index].to_numpy() + step * (number - (len(methods) - 1) / 2.0)
        left.plot(x, np.exp(found["log_crps"]), **style, ls=lines[0])
        drawn = right.plot(x, 100.0 * found["coverage_95"], **style, ls=lines[0])
        drawn += right.plot(x, 100.0 * found["coverage_68"], **style, ls=lines[1], mfc="none")
        # Often both are 100 %, and one would hide the other.
        for line, points in zip(drawn, (-APART, APART), strict=True):
            aside = ScaledTranslation(points / 72.0, 0.0, figure.dpi_scale_trans)
            line.set_transform(right.transData + aside)
    _dress_scores(left, right)
    for ax in (left, right):
        _mark_places(ax, at, factor=None if several else float(rows["holdout"].iloc[0]))
    handles = left.get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    return figure


def _dress_scores(crps: Axes, held: Axes) -> None:
    """Scales and words of the two panels, and the shares that are wanted."""
    low, high = crps.dataLim.intervaly
    if low == high:
        crps.set_ylim(low / 2.0, high * 2.0)
    crps.set_yscale("log")
    crps.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    crps.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    crps.yaxis.set_minor_locator(NullLocator())
    crps.set_ylabel("CRPS of the log loss [%]; lower is better")
    crps.set_title("error of the forecast of the hidden runs", fontsize=10)
    for wanted in (68.0, 95.0):
        held.axhline(wanted, color="black", linewidth=0.8, linestyle="--")
    held.set_ylim(-3.0, 103.0)
    held.set_ylabel("runs held by the interval [%]")
    held.set_title("95 % intervals (filled) and 68 % (open)", fontsize=10)


def _mark_places(ax: Axes, at: "pd.Series[float]", *, factor: float | None) -> None:
    """Ticks at the hold-out factors, or at the groups where all have one `factor`."""
    if factor is None:
        ax.set_xscale("log")
        ax.set_xticks(at, [f"{place:g}" for place in at])
        ax.set_xlabel("runs hidden: those above the largest compute over this factor")
    else:
        ax.set_xlim(-0.5, len(at) - 0.5)
        ax.set_xticks(at, [str(group) for group in at.index])
        if len(at) > 6:
            ax.tick_params("x", rotation=90, labelsize=8)
        ax.set_xlabel(f"group; hidden are runs above its largest compute over {factor:g}")
    ax.xaxis.set_minor_locator(NullLocator())


def _draw_residuals(
    ax: Axes, runs: pd.DataFrame, colour: str, marker: str, *, filled: bool
) -> None:
    """The median's error, with that of the interval's ends as a thin line."""
    low, median, high = (
        100.0 * (runs[name] / runs["observed"] - 1.0) for name in ("low_95", "median", "high_95")
    )
    ax.vlines(runs["flops"], low, high, color=colour, lw=0.8, alpha=0.3)
    ax.plot(
        runs["flops"],
        median,
        color=colour,
        marker=marker,
        ls="",
        ms=4 if filled else 6,
        mfc=colour if filled else "white",
    )


def draw_interval(ax: Axes, place: int, bounds: np.ndarray, colour: str, marker: str) -> None:
    """One run: thin line for 95 %, thick for 68 %, marker at the median."""
    low_95, low_68, median, high_68, high_95 = bounds
    ax.plot([low_95, high_95], [place] * 2, color=colour, lw=1.0)
    ax.plot([low_68, high_68], [place] * 2, color=colour, lw=3.5)
    ax.plot(median, place, color="white", marker=marker, mec=colour, ms=6)
