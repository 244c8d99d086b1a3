"""The still pictures of the report, as SVG that stands inside the page.

They are drawn on nothing, in dark ink; the page turns them light where it is dark.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, MaxNLocator, NullLocator

from isoflop.forecast.check_figures import held_out_figure, residual_axes
from isoflop.forecast.fans import ForecastCurves
from isoflop.forecast.figures import COLOURS, ERROR_LABEL, MARKERS
from isoflop.forecast.forecast_figures import isoflop_axes
from isoflop.forecast.report.intervals import ParameterIntervals

# Narrow enough that the text can be read on a phone.
SIZE = (4.8, 4.0)
# Above this many runs a vector drawing is larger than its pixels.
MOST_VECTOR_POINTS = 1500


@dataclass(frozen=True)
class Picture:
    """One picture of the page."""

    title: str
    """What it shows."""
    says: str
    """What to see in it, for the caption and for those who cannot see it."""
    source: str
    """Data URI."""


def isoflop_picture(curves: ForecastCurves) -> Picture:
    """Loss against N at fixed compute, for one group."""
    figure = Figure(figsize=SIZE, layout="constrained")
    ax = isoflop_axes(curves, figure.subplots())
    ax.set_title("")
    return Picture(
        title=f"The law of {curves.iso_group}: loss against size at fixed compute",
        says="Each line is a training compute, its band the 68 % interval of the law, the diamond "
        "the best N with its 68 % interval. Dashed lines lie beyond the runs.",
        source=_uri(figure, sum(len(points.loss) for points in curves.runs)),
    )


def parameters_picture(parameters: Sequence[ParameterIntervals]) -> Picture:
    """Every free parameter of the law in every group, before and after the runs were seen."""
    groups = parameters[0].groups
    across = 2
    down = -(-len(parameters) // across)
    figure = Figure(
        figsize=(SIZE[0], down * (0.85 + 0.26 * len(groups)) + 0.3), layout="constrained"
    )
    axes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for ax, parameter in zip(axes, parameters, strict=False):
        _parameter_axes(parameter, ax)
    for ax in axes[len(parameters) :]:
        ax.set_axis_off()
    handles = [
        Line2D([], [], color="0.2", lw=3.5, label="68 %"),
        Line2D([], [], color="0.2", lw=1.0, label="95 %"),
    ]
    if parameters[0].before is not None:
        handles.append(Line2D([], [], color="0.6", lw=7.0, alpha=0.4, label="prior, 68 %"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return Picture(
        title="The posterior: what the runs say of the law's parameters",
        says="Where the coloured interval is as wide as the grey one of the prior, the runs say "
        "nothing. Axes are logarithmic.",
        source=_uri(figure, 0),
    )


def residual_picture(fitted: pd.DataFrame, held_out: pd.DataFrame | None) -> Picture:
    """Error of the predicted loss of every run."""
    figure = Figure(figsize=SIZE, layout="constrained")
    apart = None if held_out is None else _plain_groups(held_out)
    residual_axes(_plain_groups(fitted), apart, ax=figure.subplots()).set_title("")
    return Picture(
        title="Posterior-predictive check: does the fit describe its own runs?",
        says="The error of each run's predicted loss, with its 95 % interval; positive where the "
        "prediction was too high. Nineteen intervals in twenty should reach zero.",
        source=_uri(figure, len(fitted)),
    )


def held_out_picture(comparison: pd.DataFrame) -> Picture:
    """Forecasts of the runs that were kept apart."""
    height = max(2.6, 1.5 + 0.22 * min(len(comparison), 60))
    figure = Figure(figsize=(SIZE[0], height), layout="constrained")
    held_out_figure(_plain_groups(comparison), ax=figure.subplots())
    return Picture(
        title="Forecast of the runs that were kept apart",
        says="The fit never saw these runs. Positive is a forecast too high. Two thick lines of "
        "three (68 %) should reach zero, and nineteen thin ones of twenty (95 %).",
        source=_uri(figure, len(comparison)),
    )


def rolling_picture(rolled: xr.Dataset, groups: Sequence[str]) -> Picture:
    """Errors of refits on the cheaper runs against the distance of the dearer ones."""
    figure = Figure(figsize=SIZE, layout="constrained")
    ax = figure.subplots()
    names = rolled["group"].values.astype(str)
    for i, group in enumerate(groups):
        own = rolled.isel(prediction=names == group)
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        low, error, high = (
            100.0 * np.expm1(own[name].values) for name in ("low_95", "error", "high_95")
        )
        ax.vlines(own["decades"].values, low, high, color=colour, lw=0.8, alpha=0.4)
        ax.plot(
            own["decades"].values,
            error,
            color=colour,
            marker=marker,
            ls="",
            ms=4,
            label=_plain(group),
        )
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.set_xlabel("decades of compute beyond the runs of the refit")
    ax.set_ylabel(ERROR_LABEL)
    ax.legend(fontsize=8, frameon=False, loc="best")
    return Picture(
        title="Refits on the cheaper runs: does the forecast hold on its own table?",
        says="A refit saw the cheaper runs only and predicted the dearer ones; 95 % intervals. "
        "Positive is a forecast too high; nineteen in twenty should reach zero.",
        source=_uri(figure, len(names)),
    )


def _parameter_axes(parameter: ParameterIntervals, ax: Axes) -> None:
    places = np.arange(len(parameter.groups))[::-1]
    if parameter.before is not None:
        ax.hlines(
            places, parameter.before[1], parameter.before[3], color="0.6", lw=9, alpha=0.4, zorder=1
        )
    for i, place in enumerate(places):
        low_95, low_68, median, high_68, high_95 = parameter.after[:, i]
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        ax.plot([low_95, high_95], [place] * 2, color=colour, lw=1.0)
        ax.plot([low_68, high_68], [place] * 2, color=colour, lw=3.5)
        ax.plot(median, place, color="white", marker=marker, mec=colour, ms=5)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_locator(NullLocator())
    unit = f" [{parameter.unit}]" if parameter.unit else ""
    ax.set_xlabel(f"{parameter.symbol}{unit}", labelpad=1)
    ax.set_yticks(places, [_plain(group) for group in parameter.groups])
    ax.set_ylim(-0.6, len(places) - 0.4)
    ax.tick_params(labelsize=8)


def _plain(name: str) -> str:
    """A name that Matplotlib takes at its word: dollars are not the bounds of a formula."""
    return name.replace("$", r"\$")


def _plain_groups(runs: pd.DataFrame) -> pd.DataFrame:
    return runs.assign(group=[_plain(name) for name in runs["group"]])


def _uri(figure: Figure, points: int) -> str:
    """The figure as a data URI, the same bytes for the same figure."""
    form = "svg" if points <= MOST_VECTOR_POINTS else "png"
    held = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else {}
    with rc_context({"svg.hashsalt": "isoflop"}):
        figure.savefig(held, format=form, dpi=200, transparent=True, metadata=metadata)
    kind = "svg+xml" if form == "svg" else form
    return f"data:image/{kind};base64,{base64.b64encode(held.getvalue()).decode('ascii')}"
