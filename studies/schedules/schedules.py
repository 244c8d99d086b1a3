"""Compare branches of one long run with runs trained for themselves: loss, and what they cost.

isoflop train studies/schedules/grid.toml -o runs/
python studies/schedules/schedules.py runs/    # rewrites schedules.csv, prints and draws
python studies/schedules/schedules.py          # from the committed schedules.csv
"""

import sys
from collections.abc import Hashable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from isoflop.forecast.figures import save_figure, styles_of
from isoflop.training.records import read_records

HERE = Path(__file__).parent
TABLE = HERE / "schedules.csv"
COLUMNS = [
    "arm", "width", "samples", "seed", "batch_size", "learning_rate", "loss", "loss_stderr",
    "flops", "flops_spent", "wall_seconds",
]  # fmt: skip
ALONE = "alone, batch 16"
"""What the branches are compared with: the same batch and peak rate, its own warm-up and fall."""
RULE = "alone, ruled batch"
"""What a sweep trains: batch and rate by the rules, linear to zero."""


def write_table(runs: str) -> None:
    """Keep of the run records what the comparison needs."""
    frame = read_records(runs)
    frame["width"] = frame["architecture"].str.extract(r"width=(\d+)").astype(int)
    frame["arm"] = [arm(row) for row in frame.to_dict("records")]
    table = frame[COLUMNS].sort_values(COLUMNS[:4])
    table.to_csv(TABLE, index=False, float_format="%.6g")


def arm(run: Mapping[Hashable, object]) -> str:
    """How a run was trained, from its record."""
    words, batch = str(run["schedule"]), run["batch_size"]
    if "constant" not in words:
        fixed = float(str(run["learning_rate"])) in (0.0132, 0.0044)
        return ALONE if fixed else RULE
    decay = words.split("last ")[1].split()[0]
    if float(words.split()[1].strip(",")) != 0.005 * np.ceil(32_000 / float(str(batch))):
        return f"alone, ruled batch, decay {decay}"
    return f"branch, batch {batch:.0f}, decay {decay}"


def compare(table: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Loss against the reference arm of the same width, jets and seed [per cent], by arm and width.

    Mean over jets and seeds with its standard error, and the compute spent over that of the arm
    trained run by run.
    """
    cell = ["width", "samples", "seed"]
    known = table.loc[table["arm"] == reference, [*cell, "loss"]]
    table = table.merge(known, on=cell, suffixes=("", "_known"))
    away = 100 * np.log(table["loss"] / table["loss_known"])
    grouped = table.assign(away=away).groupby(["arm", "width"])
    spent = grouped["flops_spent"].sum() / grouped["flops"].sum()
    return pd.DataFrame(
        {"away_percent": grouped["away"].mean(), "error": grouped["away"].sem(), "spent": spent}
    )


def draw(table: pd.DataFrame) -> None:
    """Loss against the runs alone in the same batch, by jets seen, one panel a width."""
    table = table[~table["arm"].str.endswith("0.5")]  # lies on the branches with 0.2
    mean = table.groupby(["width", "arm", "samples"])["loss"].agg(["mean", "sem"])
    widths = sorted(table["width"].unique())
    figure = Figure(figsize=(4.5 * len(widths), 4.8), layout="constrained")
    styles = styles_of(sorted(table["arm"].unique()))
    for ax, width in zip(figure.subplots(1, len(widths), sharey=True), widths, strict=True):
        known = mean.loc[width, ALONE]
        for place, (name, (colour, marker)) in enumerate(styles.items()):
            here = mean.loc[width, name]
            away = 100 * (here["mean"] / known["mean"] - 1)
            error = 100 * here["sem"] / known["mean"]
            line = "-" if name.startswith("branch") else "--"
            beside = here.index * 1.025 ** (place - 2.5)  # so that no error bar hides another
            style = {"color": colour, "marker": marker, "ls": line, "lw": 1.2, "elinewidth": 0.9}
            ax.errorbar(beside, away, error, ms=4, capsize=2, label=name, **style)
        ax.set(xscale="log", xlabel="jets seen $D$")
        ax.set_title(f"width {width}; mean and standard error of three seeds", fontsize=10)
    figure.axes[0].set_ylabel(f"loss over that of a run {ALONE} − 1 [%]")
    lines, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    save_figure(figure, HERE / "schedules.png")


def main() -> None:
    """Print the comparison and draw it."""
    if len(sys.argv) > 1:
        write_table(sys.argv[1])
    table = pd.read_csv(TABLE)
    for reference in (ALONE, RULE):
        print(f"loss against {reference}\n{compare(table, reference).round(3).to_string()}\n")
    print(f"{table['wall_seconds'].sum() / 60:.1f} min of training in all")
    draw(table)


if __name__ == "__main__":
    main()
