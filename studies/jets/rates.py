"""Fit the learning-rate rule: the best rate of each (width, steps), then a power law in both.

    isoflop train studies/jets/rates.toml -o rates/
    python studies/jets/rates.py rates/     # rewrites rates.csv from the runs, then fits
    python studies/jets/rates.py            # fits the committed rates.csv and draws rates.png

The loss near its minimum is a parabola in log rate. `isoflop.training.rates` has the rule and the
constants of this fit beside it.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isoflop.forecast.figures import COLOURS, MARKERS, save_figure
from isoflop.training.rates import (
    FITTED_STEPS,
    REFERENCE_STEPS,
    REFERENCE_WIDTH,
    learning_rate_rule,
)
from isoflop.training.records import read_records

TABLE = Path(__file__).with_name("rates.csv")
CELL = ["width", "particles", "samples", "batch_size", "steps"]


def write_table(runs: str) -> None:
    """Keep of the run records what the fit needs."""
    frame = read_records(runs).dropna(subset="loss")
    frame["width"] = frame["architecture"].str.extract(r"width=(\d+)").astype(int)
    frame["steps"] = np.ceil(frame["samples"] / frame["batch_size"]).astype(int)
    parts = [frame["steps"] > FITTED_STEPS[1], is_later(frame)]
    frame["part"] = np.select(parts, ["long", "test"], "fit")
    columns = [*CELL, "learning_rate", "seed", "loss", "loss_stderr", "part"]
    frame[columns].sort_values(columns[:7]).round(5).to_csv(TABLE, index=False)


def is_later(frame: pd.DataFrame) -> "pd.Series[bool]":
    """The runs made after the rule, to test it."""
    return (frame["width"] == 64) | ((frame["width"] == 128) & (frame["samples"] >= 16_000))


def best_rate(cell: pd.DataFrame) -> float:
    """Rate at the minimum of a parabola through the three points around the lowest loss."""
    cell = cell.sort_values("learning_rate")
    lowest = int(np.clip(cell["loss"].argmin(), 1, len(cell) - 2))
    near = cell.iloc[lowest - 1 : lowest + 2]
    log_rate = np.log(near["learning_rate"].to_numpy())
    curvature, slope, _ = np.polyfit(log_rate, near["loss"].to_numpy(), 2)
    vertex = -slope / (2 * curvature) if curvature > 0 else log_rate[near["loss"].argmin()]
    return float(np.exp(np.clip(vertex, log_rate.min(), log_rate.max())))


def best_rates(table: pd.DataFrame) -> pd.DataFrame:
    """The lowest loss and the best rate of each cell, over seeds, and the rate of the rule."""
    mean = table.groupby([*CELL, "learning_rate"], as_index=False)["loss"].mean()
    cells = mean.groupby(CELL)
    best = pd.DataFrame(
        [(*key, cell["loss"].min(), best_rate(pd.DataFrame(cell))) for key, cell in cells],
        columns=[*CELL, "lowest_loss", "best_rate"],
    )
    sizes = zip(best["width"], best["steps"], strict=True)
    return best.assign(rule=[learning_rate_rule(int(w), int(steps)) for w, steps in sizes])


def fit(table: pd.DataFrame) -> pd.DataFrame:
    """Print the constants of a rule; return the best rate of each cell and that of this rule."""
    best = best_rates(table)
    width = np.log(best["width"] / REFERENCE_WIDTH)
    steps = np.log(best["steps"] / REFERENCE_STEPS)
    design = np.column_stack([np.ones(len(best)), width, steps])
    constants, *_ = np.linalg.lstsq(design, np.log(best["best_rate"]), rcond=None)
    best["rule"] = np.exp(design @ constants)
    scatter = np.log(best["best_rate"] / best["rule"]).std(ddof=3)
    print(
        f"reference rate {np.exp(constants[0]):.2g}, width exponent {constants[1]:.2f}, "
        f"steps exponent {constants[2]:.2f}, scatter {scatter:.0%}"
    )
    return best


def draw(table: pd.DataFrame) -> None:
    """Loss against rate, a panel a width, a line a number of jets; dashed: the rule's rate."""
    widths = sorted(table["width"].unique())
    down = -(-len(widths) // 2)
    figure = Figure(figsize=(9.0, 3.4 * down), layout="constrained")
    grid = figure.subplots(down, 2, sharex=True, sharey=True, squeeze=False)
    axes = grid.ravel()[: len(widths)]
    for ax in grid.ravel()[len(widths) :]:
        ax.set_visible(False)
    colours = dict(zip(sorted(table["samples"].unique()), COLOURS, strict=False))
    for ax, width in zip(axes, widths, strict=True):
        cells = table[table["width"] == width].groupby(["samples", "steps"])
        for (samples, steps), cell in cells:
            colour = colours[samples]
            marker = MARKERS[list(colours).index(samples)]
            mean = cell.groupby("learning_rate")["loss"].mean()
            label = f"{samples // 1000}k jets"
            ax.plot(mean.index, mean, color=colour, lw=1)
            ax.plot(cell["learning_rate"], cell["loss"], marker, color=colour, ms=3.5, label=label)
            ax.axvline(learning_rate_rule(width, steps), color=colour, ls="--", lw=0.8)
        ax.set_title(f"width {width}", fontsize=10)
        ax.set_xscale("log")
        ax.set_xlabel(r"peak learning rate $\eta$")
        ax.tick_params(labelbottom=True)
    for ax in grid[:, 0]:
        ax.set_ylabel("validation loss $L$ [nat]")
    shown = {
        label: line
        for ax in axes
        for line, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    shown["rate of the rule"] = Line2D([], [], color="0.3", ls="--", lw=0.8)
    figure.legend(
        shown.values(), shown, loc="outside lower center", ncols=6, fontsize=9, frameon=False
    )
    save_figure(figure, TABLE.with_suffix(".png"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write_table(sys.argv[1])
    runs = pd.read_csv(TABLE)
    for part in ("fit", "test"):
        print(f"runs to {part}:")
        print(fit(runs[runs["part"] == part]).to_string(index=False))
    print("runs of more steps, beside the rule in use:")
    print(best_rates(runs[runs["part"] == "long"]).to_string(index=False))
    draw(runs[runs["particles"] == 10])
