"""The figure of the rejections: one panel a signal, against loss and against compute."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from isoflop.forecast.figures import COLOURS, MARKERS
from isoflop.forecast.rejection_curves import Band, Counts, SignalCurves

COLUMNS = 3
PANEL = (2.5, 2.1)
"""Width and height of a panel, in inches."""


def rejection_figure(curves: tuple[SignalCurves, ...]) -> Figure:
    """Rejection of each signal: against loss on the left, against compute on the right."""
    across = min(COLUMNS, len(curves))
    down = -(-len(curves) // across)
    size = (2 * across * PANEL[0] + 0.4, down * PANEL[1] + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    halves = figure.subfigures(1, 2, squeeze=False)[0]
    groups = [band.group for band in curves[0].against_loss]
    styles = {
        group: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
        for i, group in enumerate(groups)
    }
    titles = ("against loss", "against compute, best N and D, one epoch")
    for part, axis, title in zip(halves, ("loss", "flops"), titles, strict=True):
        part.suptitle(f"background rejection of a new run {title}", fontsize=10)
        panels = np.atleast_1d(part.subplots(down, across, squeeze=False)).ravel()
        for ax in panels[len(curves) :]:
            ax.set_visible(False)
        for ax, one in zip(panels, curves, strict=False):
            rejection_axes(one, ax, axis=axis, styles=styles)
        last_row = panels[max(0, len(curves) - across) : len(curves)]
        for ax in last_row:
            ax.set_xlabel("loss $L$ [nat]" if axis == "loss" else "compute $C$ [FLOP]", fontsize=8)
    figure.legend(handles=_handles(styles, curves), loc="outside lower center", ncols=8, fontsize=8)
    return figure


def rejection_axes(
    curves: SignalCurves, ax: Axes, *, axis: str, styles: dict[str, tuple[str, str]]
) -> Axes:
    """One signal on one panel; `axis` is `loss` or `flops`. Bands are pale beyond the runs."""
    bands = curves.against_loss if axis == "loss" else curves.against_flops
    for band in bands:
        _draw_band(ax, band, styles[band.group][0], falling=axis == "loss")
    for counts in curves.counts:
        _draw_counts(ax, counts, getattr(counts, axis), *styles[counts.group])
    if curves.published is not None:
        ax.axhline(curves.published, color="black", linewidth=0.9, linestyle=(0, (4, 2)))
    ax.set_yscale("log")
    if axis == "loss":
        ax.invert_xaxis()  # better to the right on both sides
    else:
        ax.set_xscale("log")
    ax.set_title(f"{curves.signal} at {100 * curves.efficiency:g} %", fontsize=8, pad=3)
    ax.tick_params(labelsize=7)
    return ax


def _draw_band(ax: Axes, band: Band, colour: str, *, falling: bool) -> None:
    low_95, low_68, median, high_68, high_95 = band.quantiles
    inside = band.x >= band.edge if falling else band.x <= band.edge
    ax.fill_between(band.x, low_95, high_95, color=colour, alpha=0.13, linewidth=0)
    ax.fill_between(band.x, low_68, high_68, color=colour, alpha=0.22, linewidth=0)
    ax.plot(band.x[inside], median[inside], color=colour, linewidth=1.2)
    ax.plot(band.x, median, color=colour, linewidth=1.0, linestyle=":")


def _draw_counts(ax: Axes, counts: Counts, x: np.ndarray, colour: str, marker: str) -> None:
    seen = np.isfinite(counts.high)
    low, middle, high = counts.low[seen], counts.middle[seen], counts.high[seen]
    ax.errorbar(
        x[seen],
        middle,
        [middle - low, high - middle],
        fmt=marker,
        color=colour,
        markersize=1.8,
        linewidth=0.5,
        alpha=0.6,
    )
    ax.plot(x[~seen], counts.low[~seen], linestyle="", marker=r"$\uparrow$", color=colour)


def _handles(
    styles: dict[str, tuple[str, str]], curves: tuple[SignalCurves, ...]
) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=colour, marker=marker, markersize=3, label=group)
        for group, (colour, marker) in styles.items()
    ]
    handles.append(Line2D([], [], color="0.4", linestyle=":", label="beyond the runs"))
    handles += [Patch(color="0.4", alpha=a, label=t) for a, t in ((0.33, "68 %"), (0.13, "95 %"))]
    if any(one.published is not None for one in curves):
        label = "ParT, 100 M jets (arXiv:2202.03772)"
        handles.append(Line2D([], [], color="black", linestyle=(0, (4, 2)), label=label))
    return handles
