"""The figure of the overfitting threshold: labelled runs in the (U, N) plane and the band."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

OVER, UNDER, BAND = "#D55E00", "#0072B2", "0.35"
STYLES = {
    "overfitting": {"marker": "^", "color": OVER, "s": 46},
    "underfitting": {"marker": "o", "color": UNDER, "s": 34},
    "undecided": {"marker": "o", "facecolors": "none", "edgecolors": "0.65", "s": 16},
}


def threshold_figure(runs: pd.DataFrame, band: pd.DataFrame) -> Figure:
    """A panel for each group: its runs by label, and the posterior of N_thr.

    `runs` has the columns group, params, unique_samples and label; `band` the columns group,
    unique_samples, median, low_68, high_68, low_95 and high_95.
    """
    groups = list(band["group"].unique())
    figure = Figure(figsize=(1.4 + 3.4 * len(groups), 3.9), layout="constrained")
    axes = figure.subplots(1, len(groups), sharex=True, sharey=True, squeeze=False)[0]
    for ax, group in zip(axes, groups, strict=True):
        threshold_axes(ax, runs[runs["group"] == group], band[band["group"] == group])
        ax.set_title(group, fontsize=10)
    axes[0].set_ylabel("parameters $N$")
    shown = runs[runs["group"].isin(groups)]["params"]
    axes[0].set_ylim(shown.min() / 3, shown.max() * 3)
    handles = {
        text: handle
        for ax in axes
        for handle, text in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6, fontsize=9)
    return figure


def threshold_axes(ax: Axes, runs: pd.DataFrame, band: pd.DataFrame) -> Axes:
    """Runs of one group by label, and the band of N_thr."""
    for level, alpha in (("95", 0.12), ("68", 0.22)):
        low, high = band[f"low_{level}"], band[f"high_{level}"]
        name = f"$N_{{thr}}$, {level} %"
        ax.fill_between(
            band["unique_samples"], low, high, color=BAND, alpha=alpha, lw=0, label=name
        )
    ax.plot(band["unique_samples"], band["median"], color=BAND, lw=1.4, label="median")
    # Runs of one size over the same samples stand beside each other, the undecided ones last.
    runs = runs.sort_values("label", key=lambda label: label == "undecided", kind="stable")
    place = runs.groupby(["params", "unique_samples"]).cumcount()
    beside = runs["unique_samples"] * 1.09**place
    for label, style in STYLES.items():
        chosen = runs["label"] == label
        ax.scatter(
            beside[chosen],
            runs.loc[chosen, "params"],
            label=label,
            zorder=3,
            linewidths=0.8,
            **style,  # type: ignore[arg-type]
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("distinct samples $U$")
    return ax
