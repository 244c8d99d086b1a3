"""The figures of a forecast: its fan against compute, and the iso-FLOP curves.

They draw what `fans` computed.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FormatStrFormatter, MaxNLocator, NullLocator

from isoflop.forecast.fans import Fan, ForecastCurves, IsoFlop, OwnRun, RunPoints
from isoflop.forecast.figures import (
    GROUPS_IN_AXES_LEGEND,
    draw_legend,
    new_axes,
    power_of_ten,
    styles_of,
)

Colour = tuple[float, float, float, float]
# The iso-FLOP panel ends this factor above the highest loss of a run.
ROOM_ABOVE = 1.15
# Above this many groups the bands hide each other: only those of the iso-FLOP group are drawn.
GROUPS_WITH_BANDS = 4


def forecast_figure(curves: ForecastCurves) -> Figure:
    """Loss against compute with the forecast fan, and the iso-FLOP curves of one group."""
    figure = Figure(figsize=(10.0, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    forecast_axes(curves, left)
    isoflop_axes(curves, right)
    return figure


def forecast_axes(curves: ForecastCurves, ax: Axes | None = None) -> Axes:
    """Loss against training compute: runs, fans, the budgets and the extrapolated region."""
    ax = ax or new_axes()
    styles = styles_of([fan.group for fan in curves.fans])
    for points in curves.runs:
        if points.group in styles:
            _draw_runs(ax, points, *styles[points.group])
    few = len(curves.fans) <= GROUPS_WITH_BANDS
    for fan in curves.fans:
        bands = few or fan.group == curves.iso_group
        _draw_fan(ax, fan, styles[fan.group][0], bands=bands)
    for run in curves.own:
        _draw_own(ax, run, run.flops, styles[run.group][0])
    ax.set_xscale("log")
    _plain_log_scale(ax)
    ax.set_xlabel("training compute $C$ [FLOP]")
    ax.set_ylabel("validation loss $L$ [nat]")
    ax.set_title("loss of a new run at the best N and D, one epoch", fontsize=10)
    _mark_extrapolation(ax, curves)
    _group_legend(ax, styles, curves, of="" if few else f" of {curves.iso_group}")
    return ax


def isoflop_axes(curves: ForecastCurves, ax: Axes | None = None) -> Axes:
    """Loss against N at fixed compute, minima marked, with the runs coloured by their compute.

    The legend lies below, where it hides no run.
    """
    ax = ax or new_axes()
    runs = [points for points in curves.runs if points.group == curves.iso_group]
    own = [run for run in curves.own if run.group == curves.iso_group]
    # The runs span the colours: a budget far beyond them would leave the lines within all alike.
    spread = np.concatenate([points.flops for points in runs] or [np.array(curves.budget_flops)])
    norm = LogNorm(spread.min(), spread.max(), clip=True)
    # The last half of viridis is too pale for lines on white.
    colours = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.55, 256)))
    for line in curves.isoflops:
        _draw_isoflop(ax, line, colours(norm(line.flops)))
    for run in own:
        _draw_own(ax, run, run.params, colours(norm(run.flops)))
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
    ax.margins(x=0.04, y=0.06)
    losses = np.concatenate([points.loss for points in runs] or [np.zeros(0)])
    losses = np.append(losses, [run.loss[4] for run in own])
    if np.isfinite(losses).any():  # the law at sizes that no run has would squeeze them
        ax.set_ylim(top=ROOM_ABOVE * np.nanmax(losses))
    ax.set_xlabel("parameters $N$")
    ax.set_ylabel("validation loss $L$ [nat]")
    ax.set_title(f"iso-FLOP curves of {curves.iso_group}, one epoch", fontsize=10)
    lines = [_isoflop_handle(line, colours(norm(line.flops))) for line in curves.isoflops]
    handles = [*lines, *_run_handles(runs), *([_own_handle()] if own else [])]
    draw_legend(ax, handles, outside=True)
    return ax


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


def _draw_own(ax: Axes, run: OwnRun, x: float, colour: Colour | str) -> None:
    """A square at the median with bars of 68 and 95 %."""
    ax.plot([x, x], run.loss[[0, 4]], color="black", lw=1.0, zorder=6)
    ax.plot([x, x], run.loss[[1, 3]], color="black", lw=2.6, zorder=6)
    ax.plot(x, run.loss[2], "s", color=colour, mec="black", ms=6, zorder=7)


def _own_handle() -> Line2D:
    return Line2D([], [], color="black", marker="s", mfc="0.6", ms=6, label="the run asked for")


def _mark_extrapolation(ax: Axes, curves: ForecastCurves) -> None:
    """Shade what lies beyond the fitted runs of every group shown, and mark the budgets."""
    start = max(fan.largest_flops for fan in curves.fans)
    end = max(fan.flops[-1] for fan in curves.fans)
    low = min(fan.flops[0] for fan in curves.fans)
    ax.set_xlim(low / 2.0, end * 2.0)
    for budget in curves.budget_flops:
        ax.axvline(budget, color="black", linewidth=0.9, linestyle=":")
        ax.annotate(
            f"budget {power_of_ten(budget)}",
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


def _draw_isoflop(ax: Axes, line: IsoFlop, colour: Colour) -> None:
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


def _isoflop_handle(line: IsoFlop, colour: Colour) -> Line2D:
    label = power_of_ten(line.flops) + " FLOP"
    return Line2D([], [], color=colour, ls="--" if line.extrapolated else "-", label=label)


def _run_handles(runs: Sequence[RunPoints]) -> list[Line2D]:
    handles = [
        Line2D([], [], color="0.3", marker="D", ms=4.5, mec="black", label="best $N$, 68 %"),
        Line2D([], [], color="0.3", marker="o", ms=4, ls="", label="run, colour: $C$"),
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
    handles += [_own_handle()] if curves.own else []
    draw_legend(ax, handles, outside=len(styles) > GROUPS_IN_AXES_LEGEND)


def _plain_log_scale(ax: Axes) -> None:
    """A logarithmic loss axis with plain numbers: losses rarely span a decade."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.yaxis.set_minor_locator(NullLocator())
