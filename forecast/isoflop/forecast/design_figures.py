"""Draw which runs come next: where they lie, and how the forecast's error falls with the spend."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isoflop.forecast.design import Design
from isoflop.forecast.figures import COLOURS

MARKS = {"new": "o", "seed": "s", "rate": "^"}
LABELS = {"new": "new run", "seed": "another seed", "rate": "another learning rate"}


def design_figure(found: Design, fitted: pd.DataFrame) -> Figure:
    """The chosen runs on the (N, D) plane, and the expected standard deviation against the spend.

    `fitted` are the runs of the fit (`candidates.fitted_cells`).
    """
    figure = Figure(figsize=(11.0, 4.8), layout="constrained")
    plane, curve = figure.subplots(1, 2)
    groups = list(dict.fromkeys(found.table["group"]))
    colours = {group: COLOURS[i % len(COLOURS)] for i, group in enumerate(groups)}
    _draw_plane(plane, found, fitted[fitted["group"].isin(groups)], colours)
    _draw_curve(curve, found)
    plane.legend(
        handles=_handles(found, colours),
        fontsize=8,
        frameon=False,
        ncols=3,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.14),
    )
    return figure


def _handles(found: Design, colours: dict[str, str]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker="o", ls="", label=group)
        for group, colour in colours.items()
    ]
    handles += [
        Line2D([], [], color="0.3", marker=MARKS[kind], ls="", mfc="none", label=LABELS[kind])
        for kind in MARKS
        if kind in set(found.table["kind"])
    ]
    handles.append(Line2D([], [], color="0.6", marker=".", ls="", label="fitted runs"))
    if len(found.goal.runs):
        handles.append(
            Line2D([], [], color="black", marker="*", ms=11, ls="", label="the forecast")
        )
    return handles


def _draw_plane(ax: Axes, found: Design, fitted: pd.DataFrame, colours: dict[str, str]) -> None:
    ax.plot(fitted["params"], fitted["samples"], ".", color="0.6", ms=4, zorder=1)
    table = found.table.assign(samples=found.table["unique_samples"] * found.table["epochs"])
    for order, (_, run) in enumerate(table.iterrows(), start=1):
        # Repeats of a cell stand side by side.
        same = (table["params"] == run["params"]) & (table["samples"] == run["samples"])
        place = int(same.iloc[: order - 1].sum())
        ax.plot(
            run["params"],
            run["samples"],
            marker=MARKS[str(run["kind"])],
            ms=8 + 5 * place,
            mfc="none",
            mew=1.5,
            color=colours[str(run["group"])],
        )
        ax.annotate(
            str(order),
            (run["params"], run["samples"]),
            xytext=(6 + 10 * place, 4),
            textcoords="offset points",
            fontsize=8,
        )
    goal = found.goal.runs
    ax.plot(
        goal["params"], goal["unique_samples"] * goal["epochs"], "*", color="black", ms=12, zorder=4
    )
    ax.set(xscale="log", yscale="log", xlabel="parameters $N$", ylabel="samples seen $D$")
    ax.set_title("the runs to train next, in the order of choice", fontsize=10)


def _draw_curve(ax: Axes, found: Design) -> None:
    spend = np.append(0.0, found.table["spend"])
    sd = np.append(found.sd_now, found.table["expected_sd"])
    ax.plot(spend, sd, color="0.3", drawstyle="steps-post", lw=1.3)
    ax.plot(0.0, found.sd_now, "D", color="0.3", ms=5, clip_on=False)
    ax.annotate("now", (0.0, found.sd_now), xytext=(6, 3), textcoords="offset points", fontsize=8)
    for kind, mark in MARKS.items():
        own = found.table[found.table["kind"] == kind]
        ax.plot(own["spend"], own["expected_sd"], mark, color="0.3", mfc="white", ms=6)
    _draw_level(ax, found.sd_least, ":", "no choice within the limits leaves less", above=False)
    if found.goal.scatter:
        _draw_level(ax, found.goal.scatter, "--", "scatter of a single run", above=True)
    ax.set_ylim(0.0, 1.12 * max(found.sd_now, found.goal.scatter))
    ax.set_xlim(left=0.0)
    ax.margins(x=0.08)
    ax.set_xlabel("spend [FLOP]")
    ax.set_ylabel(f"expected sd of {found.goal.quantity} [{found.goal.unit}]")
    ax.set_title(f"{found.goal.quantity}: expected error, linearised", fontsize=10)


def _draw_level(ax: Axes, level: float, style: str, words: str, *, above: bool) -> None:
    """A line across the panel with its meaning at the right, above or below it."""
    ax.axhline(level, color="black", lw=0.8, ls=style)
    ax.annotate(
        words,
        (1.0, level),
        xycoords=("axes fraction", "data"),
        xytext=(-3, 3 if above else -3),
        textcoords="offset points",
        ha="right",
        va="bottom" if above else "top",
        fontsize=8,
    )
