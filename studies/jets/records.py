"""Draw run records: loss against jets seen, one panel a group.

Usage: python studies/jets/records.py [RECORDS FIGURE], by default those of this study.
"""

import sys
from pathlib import Path

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from isoflop.forecast.figures import save_figure
from isoflop.training.records import read_records

HERE = Path(__file__).parent


def main(
    runs: str | Path = HERE / "records", figure_path: str | Path = HERE / "records.png"
) -> None:
    """Read the records at `runs`, write the figure."""
    records = read_records(runs)
    groups = sorted(records["group"].unique())
    across = min(2, len(groups))
    down = -(-len(groups) // across)
    figure = Figure(figsize=(4.6 * across + 0.8, 3.6 * down), layout="constrained")
    axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    panels = axes.ravel()[: len(groups)]
    for ax in axes.ravel()[len(groups) :]:
        ax.set_visible(False)
    scale = LogNorm(records["params"].min(), records["params"].max())
    for ax, group in zip(panels, groups, strict=True):
        draw_group(ax, records[records["group"] == group], scale)
        ax.set_title(group, fontsize=10)
    for ax in axes[:, 0]:
        ax.set_ylabel("validation loss $L$ [nat]")
    panels[-1].legend(fontsize=8, frameon=False, loc="lower left")
    colours = panels[0].collections[0]
    figure.colorbar(colours, ax=axes, label="parameters $N$", pad=0.01)
    save_figure(figure, figure_path)


def draw_group(ax: Axes, runs: pd.DataFrame, scale: LogNorm) -> None:
    """One-epoch runs joined by size, runs over repeated jets as open diamonds."""
    once = runs[runs["samples"] == runs["unique_samples"]]
    again = runs[runs["samples"] > runs["unique_samples"]]
    for size, row in once.groupby("params"):
        mean = row.groupby("samples")["loss"].mean()
        colour = colormaps["viridis"](scale(float(size)))  # type: ignore[arg-type]
        ax.plot(mean.index, mean, color=colour, lw=0.8)
    style = {"cmap": "viridis", "norm": scale}
    ax.scatter(once["samples"], once["loss"], c=once["params"], s=14, label="one epoch", **style)
    ax.scatter(
        again["samples"],
        again["loss"],
        s=22,
        marker="D",
        facecolors="none",
        edgecolors=colormaps["viridis"](scale(again["params"].to_numpy())),
        label="repeated, stopped early",
    )
    ax.set_xscale("log")
    ax.set_xlabel("jets seen $D$")


if __name__ == "__main__":
    main(*sys.argv[1:])
