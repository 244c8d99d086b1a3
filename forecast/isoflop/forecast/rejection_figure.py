"""The figure of the rejections: two panels a signal, against loss and against compute beneath."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from isoflop.forecast.figures import styles_of
from isoflop.forecast.rejection_curves import Band, Counts, SignalCurves

COLUMNS = 4
WIDTH, ROW = 10.0, 2.2
"""Width of the figure and height of a row of panels, in inches."""
SYMBOLS = {
    "Hbb": r"$H\to b\bar{b}$",
    "Hcc": r"$H\to c\bar{c}$",
    "Hgg": r"$H\to gg$",
    "H4q": r"$H\to 4q$",
    "Hqql": r"$H\to \ell\nu qq^\prime$",
    "Tbqq": r"$t\to bqq^\prime$",
    "Tbl": r"$t\to b\ell\nu$",
    "Wqq": r"$W\to qq^\prime$",
    "Zqq": r"$Z\to q\bar{q}$",
}
"""Signals of JetClass as physics writes them."""


def rejection_figure(curves: tuple[SignalCurves, ...]) -> Figure:
    """Rejection of each signal against loss, and beneath it against compute."""
    across = min(COLUMNS, len(curves))
    # Rows as full as they can be: nine signals are three times three, not 4, 4 and 1.
    across = -(-len(curves) // -(-len(curves) // across))
    down = -(-len(curves) // across)
    figure = Figure(figsize=(WIDTH, 2 * ROW * down + 0.9), layout="constrained")
    styles = styles_of([band.group for band in curves[0].against_loss])
    panels = figure.subplots(2 * down, across, squeeze=False)
    for ax in panels.ravel():
        ax.set_visible(False)
    for i, one in enumerate(curves):
        row, column = divmod(i, across)
        upper, lower = panels[2 * row, column], panels[2 * row + 1, column]
        rejection_axes(one, upper, axis="loss", styles=styles).set_visible(True)
        rejection_axes(one, lower, axis="flops", styles=styles).set_visible(True)
        upper.set_xlabel("loss $L$ [nat]", fontsize=9)
        lower.set_xlabel("compute $C$ [FLOP]", fontsize=9)
    for ax in panels[:, 0]:
        ax.set_ylabel("background rejection", fontsize=9)
    figure.suptitle("a new run, by its loss and by its compute at the best N and D", fontsize=10)
    figure.legend(handles=_handles(styles, curves), loc="outside lower center", ncols=4, fontsize=9)
    return figure


def signal_name(signal: str) -> str:
    """A signal as physics writes it, with the name that it has in tables."""
    return f"{SYMBOLS[signal]} ({signal})" if signal in SYMBOLS else signal


def rejection_axes(
    curves: SignalCurves, ax: Axes, *, axis: str, styles: dict[str, tuple[str, str]]
) -> Axes:
    """One signal on one panel; `axis` is `loss` or `flops`. Bands are pale beyond the runs."""
    bands = curves.against_loss if axis == "loss" else curves.against_flops
    for band in bands:
        _draw_band(ax, band, styles[band.group][0], falling=axis == "loss")
    for counts in curves.counts:
        draw_counts(ax, counts, getattr(counts, axis), *styles[counts.group])
    if curves.published is not None:
        ax.axhline(curves.published, color="black", linewidth=0.9, linestyle=(0, (4, 2)))
    ax.set_yscale("log")
    if axis == "loss":
        ax.invert_xaxis()  # better to the right on both sides
    else:
        ax.set_xscale("log")
    ax.set_title(f"{signal_name(curves.signal)}, {100 * curves.efficiency:g} %", fontsize=9, pad=3)
    ax.tick_params(labelsize=8)
    return ax


def _draw_band(ax: Axes, band: Band, colour: str, *, falling: bool) -> None:
    low_95, low_68, median, high_68, high_95 = band.quantiles
    inside = band.x >= band.edge if falling else band.x <= band.edge
    ax.fill_between(band.x, low_95, high_95, color=colour, alpha=0.13, linewidth=0)
    ax.fill_between(band.x, low_68, high_68, color=colour, alpha=0.22, linewidth=0)
    ax.plot(band.x[inside], median[inside], color=colour, linewidth=1.4)
    ax.plot(band.x, median, color=colour, linewidth=1.2, linestyle=":")


def draw_counts(ax: Axes, counts: Counts, x: np.ndarray, colour: str, marker: str) -> None:
    """Counted rejections at `x`, with 68 % Poisson errors; an arrow up where no jet passed."""
    seen = np.isfinite(counts.high)
    low, middle, high = counts.low[seen], counts.middle[seen], counts.high[seen]
    error = [middle - low, high - middle]
    style = {"color": colour, "markersize": 2.6, "linewidth": 0.6, "alpha": 0.6}
    ax.errorbar(x[seen], middle, error, fmt=marker, **style)  # type: ignore[arg-type]
    ax.plot(x[~seen], counts.low[~seen], linestyle="", marker=r"$\uparrow$", color=colour)


def _handles(
    styles: dict[str, tuple[str, str]], curves: Sequence[SignalCurves]
) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=colour, marker=marker, markersize=4, label=f"{group}; points: counted")
        for group, (colour, marker) in styles.items()
    ]
    handles.append(Line2D([], [], color="0.4", linestyle=":", label="median beyond the runs"))
    handles += [Patch(color="0.4", alpha=a, label=t) for a, t in ((0.33, "68 %"), (0.13, "95 %"))]
    if any(one.published is not None for one in curves):
        label = "ParT, 100 M jets (arXiv:2202.03772)"
        handles.append(Line2D([], [], color="black", linestyle=(0, (4, 2)), label=label))
    return handles
