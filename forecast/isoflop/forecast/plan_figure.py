"""The figure of a plan: outcome against budget for every option, and what the budgets go into.

It draws what `compare` and `plan` computed, and computes nothing. No global state of Matplotlib is
used.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from isoflop.forecast.advice import Advice
from isoflop.forecast.compare import Curve
from isoflop.forecast.cost import PARTS
from isoflop.forecast.figures import COLOURS
from isoflop.forecast.names import label
from isoflop.forecast.outcomes import REJECTION
from isoflop.forecast.predict import quantiles

PART_COLOURS = {
    "training": "#332288",
    "simulation": "#117733",
    "storage": "#88CCEE",
    "inference": "#DDCC77",
}
MOST_BANDS = 4
"""Above this many options the bands hide each other, and only lines are drawn."""


def plan_figure(advice: Advice) -> Figure:
    """Outcome against budget with 68 and 95 % bands; beneath, the split of costs of each option."""
    if not advice.curves:
        raise ValueError("there is nothing to draw: no budget reaches the target in any option")
    count = len(advice.curves)
    figure = Figure(figsize=(7.4, 4.2 + 1.25 * count), layout="constrained")
    axes = figure.subplots(
        1 + count, 1, sharex=True, gridspec_kw={"height_ratios": [3.2, *[1.0] * count]}
    )
    outcome_axes(advice.curves, axes[0], budget=advice.budget)
    for i, curve in enumerate(advice.curves):
        split_axes(curve, axes[1 + i], budget=advice.budget, legend=i == 0)
    axes[-1].set_xlabel(f"complete cost [{advice.curves[0].option.costs.currency}]")
    return figure


def outcome_axes(curves: Sequence[Curve], ax: Axes, *, budget: float | None = None) -> Axes:
    """The outcome of a run at the best plan of each budget; dashed beyond the fitted runs."""
    handles, marked = [], False
    for i, curve in enumerate(curves):
        colour = COLOURS[i % len(COLOURS)]
        bands, money = quantiles(curve.drawn), curve.plans.budget
        if len(curves) <= MOST_BANDS:
            ax.fill_between(money, bands[0], bands[4], color=colour, alpha=0.12, lw=0)
            ax.fill_between(money, bands[1], bands[3], color=colour, alpha=0.26, lw=0)
        within = curve.plans.flops <= curve.option.draws.largest_flops
        beyond = np.append(~within[1:], True)
        ax.plot(money[within], bands[2, within], color=colour, lw=1.5)
        ax.plot(money[beyond], bands[2, beyond], color=colour, lw=1.5, ls="--")
        if within.any() and not within.all():
            last = int(np.flatnonzero(within)[-1])
            ax.plot(money[last], bands[2, last], "|", color=colour, ms=16, mew=2.0)
            marked = True
        handles.append(Line2D([], [], color=colour, lw=1.5, label=curve.option.name))
    handles.append(Line2D([], [], color="0.4", lw=1.5, ls="--", label="beyond the fitted runs"))
    if marked:
        end = "end of the fitted runs"
        handles.append(Line2D([], [], color="0.4", marker="|", ls="", ms=10, label=end))
    ax.set_xscale("log")
    option, name = curves[0].option, curves[0].quantity
    if name.startswith(REJECTION):
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    name = label(name, option.posterior, option.scenario).replace("_", " ").replace(":", " of ")
    ax.set_ylabel(name.replace("rejection", "background rejection"))
    ax.set_title("outcome of a run at the best plan; median, 68 and 95 %", fontsize=10)
    _mark_budget(ax, budget)
    if budget is not None:
        handles.append(Line2D([], [], color="black", lw=0.9, ls=":", label="the budget"))
    ax.legend(handles=handles, fontsize=8, frameon=False)
    return ax


def split_axes(
    curve: Curve, ax: Axes, *, budget: float | None = None, legend: bool = False
) -> Axes:
    """Shares of the parts in the cost of the best plan of each budget, stacked."""
    parts, money = curve.plans.parts, curve.plans.budget
    shares = [100.0 * getattr(parts, name) / parts.total for name in PARTS]
    ax.stackplot(money, *shares, colors=[PART_COLOURS[name] for name in PARTS], lw=0)
    ax.set_xscale("log")
    ax.set_ylim(0.0, 100.0)
    ax.set_xlim(money[0], money[-1])
    ax.set_yticks([0.0, 50.0, 100.0])
    ax.set_ylabel("share [%]")
    ax.set_title(f"cost, {curve.option.name}", fontsize=9, loc="left", pad=2.0)
    _mark_budget(ax, budget)
    if legend:
        handles = [Patch(color=PART_COLOURS[name], label=name) for name in PARTS]
        ax.legend(
            handles=handles, fontsize=8, frameon=False, ncols=4, loc="lower right",
            bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0, handlelength=1.2,
        )  # fmt: skip
    return ax


def _mark_budget(ax: Axes, budget: float | None) -> None:
    if budget is not None:
        ax.axvline(budget, color="black", lw=0.9, ls=":")
