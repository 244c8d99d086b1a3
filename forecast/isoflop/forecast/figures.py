"""What all figures share: colours and markers, legends, numbers, and how a figure is written.

A figure draws what was computed and computes nothing. Every function that draws returns its Axes or
Figure and accepts the Axes to draw on. No global state of Matplotlib is used, so any backend will
do.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from isoflop.files import FIGURES, require_suffix, writing

# Okabe and Ito's palette without its yellow, which is too pale for points.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GROUPS_IN_AXES_LEGEND = 6
ERROR_LABEL = "error: predicted over observed loss − 1 [%]"
"""Every figure of errors has this sign: positive where the forecast was pessimistic."""


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure, whole or not at all; the suffix, of `files.FIGURES`, chooses the format."""
    require_suffix(path, FIGURES)
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def new_axes(figsize: tuple[float, float] = (5.8, 4.6)) -> Axes:
    """The Axes of a figure of its own; sizes in inches."""
    return Figure(figsize=figsize, layout="constrained").subplots()


def styles_of(groups: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each group; both change, so that neither is needed alone."""
    return {
        group: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
        for i, group in enumerate(groups)
    }


def draw_legend(ax: Axes, handles: Sequence[Line2D | Patch], *, outside: bool) -> None:
    """A legend within the axes, or below them in columns when it is long."""
    if outside:
        ax.legend(
            handles=handles,
            fontsize=8,
            frameon=False,
            ncols=3,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.14),
        )
    else:
        ax.legend(handles=handles, fontsize=8, frameon=False, loc="best")


def power_of_ten(value: float) -> str:
    """A number as m × 10^k in mathtext; m is left out when it is 1."""
    exponent = math.floor(math.log10(value))
    mantissa = f"{value / 10**exponent:.1f}".removesuffix(".0")
    if mantissa == "10":
        mantissa, exponent = "1", exponent + 1
    power = f"10^{{{exponent}}}"
    return f"${power}$" if mantissa == "1" else f"${mantissa}\\times{power}$"
