"""The figures of the forecast: they draw what `fans` and `table` computed, and compute nothing.

Every function returns its Axes or Figure and accepts the Axes to draw on. No global state of
Matplotlib is used, so any backend will do.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

from isoflop.files import writing
from isoflop.forecast.fans import Fan, ForecastCurves, IsoFlop, RunPoints

# Okabe and Ito's palette without its yellow, which is too pale for points.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# Above this many groups the bands hide each other: only those of the iso-FLOP group are drawn.
GROUPS_WITH_BANDS = 4
GROUPS_IN_AXES_LEGEND = 6


def forecast_figure(curves: ForecastCurves) -> Figure:
    """Loss against compute with the forecast fan, and the iso-FLOP curves of one group."""
    figure = Figure(figsize=(11.0, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    forecast_axes(curves, left)
    isoflop_axes(curves, right)
    return figure


def forecast_axes(curves: ForecastCurves, ax: Axes | None = None) -> Axes:
    """Loss against training compute: runs, fans, the budgets and the extrapolated region."""
    ax = ax or _new_axes()
    styles = _styles([fan.group for fan in curves.fans])
    for points in curves.runs:
        if points.group in styles:
            _draw_runs(ax, points, *styles[points.group])
    few = len(curves.fans) <= GROUPS_WITH_BANDS
    for fan in curves.fans:
        bands = few or fan.group == curves.iso_group
        _draw_fan(ax, fan, styles[fan.group][0], bands=bands)
    ax.set_xscale("log")
    _plain_log_scale(ax)
    ax.set_xlabel("training compute $C$ [FLOP]")
    ax.set_ylabel("validation loss $L$ [nat]")
    ax.set_title("loss of a new run at the best N and D, one epoch", fontsize=10)
    _mark_extrapolation(ax, curves)
    _group_legend(ax, styles, curves, of="" if few else f" of {curves.iso_group}")
    return ax


def isoflop_axes(curves: ForecastCurves, ax: Axes | None = None) -> Axes:
    """Loss against N at fixed compute, minima marked, with the runs coloured by their compute."""
    ax = ax or _new_axes()
    runs = [points for points in curves.runs if points.group == curves.iso_group]
    flops = [line.flops for line in curves.isoflops]
    spread = np.concatenate([flops, *(points.flops for points in runs)])
    norm = LogNorm(spread.min(), spread.max())
    # The last quarter of viridis is too pale for lines on white.
    colours = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.75, 256)))
    for line in curves.isoflops:
        _draw_isoflop(ax, line, colours(norm(line.flops)))
    for points in runs:
        face = "none" if points.held_out else colours(norm(points.flops))
        ax.scatter(
            points.params,
            points.loss,
            s=16,
            facecolors=face,
            edgecolors=colours(norm(points.flops)),
            linewidths=0.9,
            zorder=3,
        )
    ax.set_xscale("log")
    _plain_log_scale(ax)
    ax.margins(x=0.12, y=0.06)
    ax.set_xlabel("parameters $N$")
    ax.set_ylabel("validation loss $L$ [nat]")
    ax.set_title(f"iso-FLOP curves of {curves.iso_group}, one epoch", fontsize=10)
    ax.legend(handles=_isoflop_handles(runs), fontsize=8, frameon=False, loc="upper right")
    return ax


def held_out_figure(comparison: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Observed over predicted loss of each held-out run, with the predicted intervals."""
    count = len(comparison)
    ax = ax or _new_axes(figsize=(6.4, 1.6 + 0.28 * min(count, 60)))
    styles = _styles(sorted(set(comparison["group"])))
    shown = ["low_95", "low_68", "observed", "high_68", "high_95"]
    relative = 100.0 * (comparison[shown].to_numpy() / comparison[["median"]].to_numpy() - 1.0)
    for place, group in enumerate(comparison["group"]):
        _draw_interval(ax, place, relative[place], *styles[group])
    ax.axvline(0.0, color="black", linewidth=0.8)
    ax.set_xlabel("observed over predicted loss − 1 [%]")
    labels = [
        f"$N$ = {_power(params)}, $C$ = {_power(flops)}"
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
    _legend(ax, handles, outside=True)  # inside it would hide intervals
    return ax


def residual_axes(
    fitted: pd.DataFrame, held_out: pd.DataFrame | None = None, ax: Axes | None = None
) -> Axes:
    """Observed over predicted loss of every run against compute, with 95 % intervals.

    Filled markers are runs of the fit, open ones were kept apart.
    """
    ax = ax or _new_axes()
    styles = _styles(sorted(set(fitted["group"])))
    tables = [(fitted, True)] + ([] if held_out is None else [(held_out, False)])
    for table, filled in tables:
        for group, (colour, marker) in styles.items():
            runs = table[table["group"] == group]
            _draw_residuals(ax, runs, colour, marker, filled=filled)
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.set_xscale("log")
    ax.set_xlabel("training compute $C$ [FLOP]")
    ax.set_ylabel("observed over predicted loss − 1 [%]")
    ax.set_title("posterior-predictive check, 95 % intervals", fontsize=10)
    handles = [
        Line2D([], [], color=c, marker=m, ls="", ms=5, label=group)
        for group, (c, m) in styles.items()
    ]
    if held_out is not None:
        handles.append(Line2D([], [], color="0.3", marker="o", ls="", mfc="none", label="held out"))
    _legend(ax, handles, outside=len(styles) > GROUPS_IN_AXES_LEGEND)
    return ax


def check_figure(fitted: pd.DataFrame, held_out: pd.DataFrame | None = None) -> Figure:
    """Residuals of all runs; beside them, if any were kept apart, their forecasts one by one."""
    if held_out is None:
        figure = Figure(figsize=(6.4, 4.6), layout="constrained")
        residual_axes(fitted, ax=figure.subplots())
        return figure
    height = max(4.6, 1.6 + 0.2 * min(len(held_out), 60))
    figure = Figure(figsize=(12.0, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    residual_axes(fitted, held_out, ax=left)
    held_out_figure(held_out, ax=right)
    right.set_title("runs kept apart from the fit", fontsize=10)
    return figure


def backtest_figure(rows: pd.DataFrame) -> Figure:
    """CRPS and held shares of back-tests against the factor of compute that was hidden.

    `rows` has the columns of a back-test's JSON. Each point is the mean over groups and tables of
    one hold-out factor, geometric for the CRPS; the shares wanted are the dashed lines.
    """
    figure = Figure(figsize=(11.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    factors = sorted(set(rows["holdout"]))
    mean = rows.assign(log_crps=np.log(rows["crps"]))
    for method, (colour, marker) in _styles(list(dict.fromkeys(rows["method"]))).items():
        own = mean[mean["method"] == method].groupby("holdout")
        style = {"color": colour, "marker": marker, "markersize": 5, "label": method}
        score = own["log_crps"].mean()
        left.plot(score.index, np.exp(score), **style)
        held = own[["coverage_68", "coverage_95"]].mean()
        right.plot(held.index, 100.0 * held["coverage_95"], **style)
        right.plot(held.index, 100.0 * held["coverage_68"], **style, ls=":", mfc="none")
    left.set_yscale("log")
    left.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    left.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    left.yaxis.set_minor_locator(NullLocator())
    left.set_ylabel("CRPS of the log loss [%], lower is better")
    for wanted in (68.0, 95.0):
        right.axhline(wanted, color="black", linewidth=0.8, linestyle="--")
    right.set_ylim(-3.0, 103.0)
    right.set_ylabel("runs held by the interval [%]")
    right.set_title("95 % intervals (full lines) and 68 % (dotted)", fontsize=10)
    left.set_title("error of the forecast of the hidden runs", fontsize=10)
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_xticks(factors, [f"{factor:g}" for factor in factors])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel("runs hidden: those above the largest compute over this factor")
    _legend(left, left.get_legend_handles_labels()[0], outside=True)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure, whole or not at all; the suffix chooses the format."""
    require_figure_format(path)
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def require_figure_format(path: str | Path) -> None:
    """Raise `ValueError` if the suffix is no figure format."""
    suffix = Path(path).suffix.removeprefix(".").lower()
    if suffix not in FigureCanvasAgg.get_supported_filetypes():
        raise ValueError(
            f"cannot draw {path}: {suffix or 'no suffix'!r} is no figure format; "
            "use .png, .pdf or .svg"
        )


def _draw_residuals(
    ax: Axes, runs: pd.DataFrame, colour: str, marker: str, *, filled: bool
) -> None:
    """Observed over median, with the predicted interval around zero as a thin line."""
    median = runs["median"]
    low, high = (100.0 * (runs[name] / median - 1.0) for name in ("low_95", "high_95"))
    ax.vlines(runs["flops"], low, high, color=colour, lw=0.8, alpha=0.3)
    ax.plot(
        runs["flops"],
        100.0 * (runs["observed"] / median - 1.0),
        color=colour,
        marker=marker,
        ls="",
        ms=4 if filled else 6,
        mfc=colour if filled else "white",
    )


def _new_axes(figsize: tuple[float, float] = (5.8, 4.6)) -> Axes:
    return Figure(figsize=figsize, layout="constrained").subplots()


def _styles(groups: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each group; both change, so that neither is needed alone."""
    return {
        group: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
        for i, group in enumerate(groups)
    }


def _draw_runs(ax: Axes, points: RunPoints, colour: str, marker: str) -> None:
    ax.scatter(
        points.flops,
        points.loss,
        s=24 if points.held_out else 14,
        marker=marker,
        facecolors="none" if points.held_out else colour,
        edgecolors=colour,
        linewidths=1.1 if points.held_out else 0.0,
        alpha=1.0 if points.held_out else 0.55,
        zorder=3,
    )


def _draw_fan(ax: Axes, fan: Fan, colour: str, *, bands: bool) -> None:
    if bands:
        ax.fill_between(fan.flops, fan.loss[0], fan.loss[4], color=colour, alpha=0.13, lw=0)
        ax.fill_between(fan.flops, fan.loss[1], fan.loss[3], color=colour, alpha=0.28, lw=0)
    within = fan.flops <= fan.largest_flops
    # The dashes start at the last point within, so that the line has no gap.
    beyond = np.append(~within[1:], True)
    ax.plot(fan.flops[within], fan.loss[2, within], color=colour, linewidth=1.4, zorder=4)
    ax.plot(fan.flops[beyond], fan.loss[2, beyond], color=colour, lw=1.4, ls="--", zorder=4)


def _mark_extrapolation(ax: Axes, curves: ForecastCurves) -> None:
    """Shade what lies beyond the fitted runs of every group shown, and mark the budgets."""
    start = max(fan.largest_flops for fan in curves.fans)
    end = max(fan.flops[-1] for fan in curves.fans)
    low = min(fan.flops[0] for fan in curves.fans)
    ax.set_xlim(low / 2.0, end * 2.0)
    for budget in curves.budget_flops:
        ax.axvline(budget, color="black", linewidth=0.9, linestyle=":")
        ax.annotate(
            f"budget {_power(budget)}",
            (budget, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(-3, 0),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="top",
            fontsize=8,
        )
    if end < 1.01 * start:
        return
    ax.axvspan(start, end * 2.0, color="0.5", alpha=0.13, linewidth=0, zorder=0)
    ax.annotate(
        "extrapolated",
        (start, 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(4, 0),
        textcoords="offset points",
        fontsize=8,
        style="italic",
        color="0.3",
    )


def _draw_isoflop(ax: Axes, line: IsoFlop, colour: tuple[float, ...]) -> None:
    ax.fill_between(line.params, line.loss[1], line.loss[3], color=colour, alpha=0.25, lw=0)
    style = "--" if line.extrapolated else "-"
    ax.plot(line.params, line.loss[2], color=colour, linewidth=1.4, linestyle=style)
    low, middle, high = line.best_params[[1, 2, 3]]
    ax.errorbar(
        middle,
        line.best_loss,
        xerr=[[middle - low], [high - middle]],
        color=colour,
        marker="D",
        markersize=4.5,
        markeredgecolor="black",
        capsize=2,
        zorder=5,
    )
    ax.annotate(
        _power(line.flops) + " FLOP",
        (line.params[-1], line.loss[3, -1]),
        xytext=(0, 2),
        textcoords="offset points",
        fontsize=7.5,
        color=colour,
        ha="center",
        va="bottom",
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
        zorder=6,
    )


def _draw_interval(ax: Axes, place: int, bounds: np.ndarray, colour: str, marker: str) -> None:
    """One run: thin line for 95 %, thick for 68 %, marker at what was observed."""
    low_95, low_68, observed, high_68, high_95 = bounds
    ax.plot([low_95, high_95], [place] * 2, color=colour, lw=1.0)
    ax.plot([low_68, high_68], [place] * 2, color=colour, lw=3.5)
    ax.plot(observed, place, color="white", marker=marker, mec=colour, ms=6)


def _isoflop_handles(runs: Sequence[RunPoints]) -> list[Line2D]:
    handles = [
        Line2D([], [], color="0.3", marker="D", ms=4.5, mec="black", label="best $N$, 68 %"),
        Line2D([], [], color="0.3", marker="o", ms=4, ls="", label="run, coloured by $C$"),
        Line2D([], [], color="0.3", marker="o", ms=4, ls="", mfc="none", label="held out"),
    ]
    return handles if any(points.held_out for points in runs) else handles[:2]


def _group_legend(
    ax: Axes, styles: dict[str, tuple[str, str]], curves: ForecastCurves, *, of: str
) -> None:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=c, marker=m, linestyle="-", markersize=5, label=group)
        for group, (c, m) in styles.items()
    ]
    if any(points.held_out for points in curves.runs):
        handles.append(
            Line2D([], [], color="0.3", marker="o", mfc="none", linestyle="", label="held out")
        )
    colour = styles[curves.iso_group][0] if of else "0.3"
    handles.append(Patch(color=colour, alpha=0.4, linewidth=0, label=f"68 %{of}"))
    handles.append(Patch(color=colour, alpha=0.15, linewidth=0, label=f"95 %{of}"))
    _legend(ax, handles, outside=len(styles) > GROUPS_IN_AXES_LEGEND)


def _legend(ax: Axes, handles: Sequence[Line2D | Patch], *, outside: bool) -> None:
    """A legend within the axes, or below them in columns when it is long."""
    if outside:
        ax.legend(
            handles=handles,
            fontsize=7,
            frameon=False,
            ncols=4,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.14),
        )
    else:
        ax.legend(handles=handles, fontsize=8, frameon=False, loc="best")


def _plain_log_scale(ax: Axes) -> None:
    """A logarithmic loss axis with plain numbers: losses rarely span a decade."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.yaxis.set_minor_locator(NullLocator())


def _power(value: float) -> str:
    """A number as m × 10^k in mathtext; m is left out when it is 1."""
    exponent = math.floor(math.log10(value))
    mantissa = f"{value / 10**exponent:.1f}".removesuffix(".0")
    if mantissa == "10":
        mantissa, exponent = "1", exponent + 1
    power = f"10^{{{exponent}}}"
    return f"${power}$" if mantissa == "1" else f"${mantissa}\\times{power}$"
