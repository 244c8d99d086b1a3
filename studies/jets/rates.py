"""Fit the learning-rate rule: the best rate of each (width, steps), then a power law in both.

    isoflop train studies/jets/rates.toml -o rates/
    python studies/jets/rates.py rates/     # rewrites rates.csv from the runs, then fits
    python studies/jets/rates.py            # fits the committed rates.csv

The loss near its minimum is a parabola in log rate. The constants that this prints stand in
`isoflop.training.rates`.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from isoflop.training.rates import REFERENCE_STEPS, REFERENCE_WIDTH
from isoflop.training.records import read_records

TABLE = Path(__file__).with_name("rates.csv")
CELL = ["width", "samples", "batch_size", "steps"]


def write_table(runs: str) -> None:
    """Keep of the run records what the fit needs."""
    frame = read_records(runs).dropna(subset="loss")
    frame["width"] = frame["architecture"].str.extract(r"width=(\d+)").astype(int)
    frame["steps"] = np.ceil(frame["samples"] / frame["batch_size"]).astype(int)
    columns = [*CELL, "learning_rate", "seed", "loss", "loss_stderr"]
    frame[columns].sort_values(columns[:6]).round(5).to_csv(TABLE, index=False)


def best_rate(cell: pd.DataFrame) -> float:
    """Rate at the minimum of a parabola through the three points around the lowest loss."""
    cell = cell.sort_values("learning_rate")
    lowest = int(np.clip(cell["loss"].argmin(), 1, len(cell) - 2))
    near = cell.iloc[lowest - 1 : lowest + 2]
    log_rate = np.log(near["learning_rate"].to_numpy())
    curvature, slope, _ = np.polyfit(log_rate, near["loss"].to_numpy(), 2)
    vertex = -slope / (2 * curvature) if curvature > 0 else log_rate[near["loss"].argmin()]
    return float(np.exp(np.clip(vertex, log_rate.min(), log_rate.max())))


def fit(table: pd.DataFrame) -> pd.DataFrame:
    """Print the constants of the rule; return the best and the ruled rate of each cell."""
    mean = table.groupby([*CELL, "learning_rate"], as_index=False)["loss"].mean()  # over seeds
    cells = mean.groupby(CELL)
    best = pd.DataFrame(
        [(*key, cell["loss"].min(), best_rate(pd.DataFrame(cell))) for key, cell in cells],
        columns=[*CELL, "lowest_loss", "best_rate"],
    )
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


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write_table(sys.argv[1])
    print(fit(pd.read_csv(TABLE)).to_string(index=False))
