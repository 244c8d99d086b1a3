"""Draw the runs above their floor, the fitted floors beside the true ones, and the forecasts.

python -m studies.known_floor.draw
"""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from studies.study import COLUMNS

from isoflop.forecast.figures import COLOURS, save_figure

HERE = Path(__file__).parent
GROUPS = {
    "noise-0.25": "floor 0.25",
    "noise-0.05": "floor 0.05",
    "noise-0.01": "floor 0.01",
    "noise-0": "floor 0",
    "classes": "classes, 0.562",
}
SHOWN = {1.0: "all runs", 10.0: "dearest decade hidden", 100.0: "dearest two hidden"}
"""Cuts of the middle panel."""


def figure_of(runs: pd.DataFrame, laws: pd.DataFrame, forecasts: pd.DataFrame) -> Figure:
    """Excess against compute, fitted over true floor, error of the hidden runs."""
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    draw_runs(left, runs)
    draw_floors(middle, runs, laws)
    draw_forecasts(right, forecasts)
    return figure


def draw_runs(ax: Axes, runs: pd.DataFrame) -> None:
    """Loss less the known floor, run by run, one pass."""
    once = runs[runs["samples"] == runs["unique_samples"]]
    for (group, name), colour in zip(GROUPS.items(), COLOURS, strict=False):
        own = once[once["group"] == group]
        ax.scatter(own["flops"], own["excess"], s=12, lw=0, color=colour, label=name)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("training compute $C = 6ND$ [FLOP]")
    ax.set_ylabel("loss above the known floor")
    ax.set_title("runs, every sample seen once", fontsize=10)
    ax.legend(fontsize=8, frameon=False)


def draw_floors(ax: Axes, runs: pd.DataFrame, laws: pd.DataFrame) -> None:
    """L∞ less the true floor, in units of the smallest excess of the group's runs."""
    own = laws[(laws["law"] == "coupled") & (laws["parameter"] == "loss_inf")]
    for (cut, name), colour in zip(SHOWN.items(), COLOURS, strict=False):
        for row, group in enumerate(GROUPS):
            part = runs[runs["group"] == group]
            one = own[(own["cut"] == cut) & (own["group"] == group)].iloc[0]
            scaled = {
                key: (one[key] - part["floor"].iloc[0]) / part["excess"].min() for key in COLUMNS
            }
            y = row + 0.22 * list(SHOWN).index(cut) - 0.22
            label = name if row == 0 else None
            ax.hlines(y, scaled["low_95"], scaled["high_95"], color=colour, lw=1.0)
            ax.hlines(y, scaled["low_68"], scaled["high_68"], color=colour, lw=3.5, label=label)
            ax.plot(scaled["median"], y, "o", mfc="white", mec=colour, ms=4)
    ax.axvline(0.0, color="black", lw=0.8)
    ax.set_yticks(range(len(GROUPS)), list(GROUPS.values()), fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel("($L_\\infty$ − true floor) / excess of the best run")
    ax.set_title("fitted floor, 68 and 95 %", fontsize=10)
    ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(0.0, 0.3))


def draw_forecasts(ax: Axes, forecasts: pd.DataFrame) -> None:
    """Bias of each group's hidden runs against the cut."""
    for (group, name), colour in zip(GROUPS.items(), COLOURS, strict=False):
        own = forecasts[(forecasts["group"] == group) & (forecasts["decade"] == "all")]
        own = own.sort_values("cut")
        ax.plot(own["cut"], own["bias"], marker="o", ms=3, color=colour, label=name)
    ax.axhline(0.0, color="black", lw=0.8)
    ax.set_xscale("log")
    ax.set_xticks([3, 10, 30, 100], ["3", "10", "30", "100"])
    ax.set_xlabel("hidden: above largest compute / this")
    ax.set_ylabel("mean error of the forecast loss [%]")
    ax.set_title("hidden runs; positive: too high", fontsize=10)
    ax.legend(fontsize=8, frameon=False)


def main() -> None:
    """Write known_floor.png beside this script."""
    names = ("runs", "laws", "forecasts")
    save_figure(
        figure_of(*(pd.read_csv(HERE / f"{name}.csv") for name in names)),
        HERE / "known_floor.png",
    )


if __name__ == "__main__":
    main()
