"""Draw what predict.py computed: the ladder with its forecasts, each against the truth.

python studies/ladder/draw.py --table studies/ladder/ladder.csv -o studies/ladder/ladder.png
"""

import argparse
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from isoflop.forecast.figures import ERROR_LABEL, save_figure

COLOURS = {"isoflop": "#0072B2", "approach 3": "#D55E00"}
NAMES = {"peteish7_eval_anneal": "7B-4T", "peteish13_eval_final": "13B-5T"}


def figure(table: pd.DataFrame) -> Figure:
    """Loss against compute, and the error of the forecast, run by run."""
    whole = Figure(figsize=(10.0, 4.6), layout="constrained")
    FigureCanvasAgg(whole)
    left, right = whole.subplots(1, 2)
    ladder_axes(left, table)
    error_axes(right, table[~table["fitted"]])
    return whole


def ladder_axes(ax: Axes, table: pd.DataFrame) -> None:
    """The runs, filled where they were fitted, and the 95 and 68 % intervals of the others."""
    runs = table[table["method"] == "isoflop"]
    fitted, apart = runs[runs["fitted"]], runs[~runs["fitted"]]
    ax.scatter(fitted["flops"], fitted["loss"], s=18, color="0.3", label="fitted, up to 1.3 B")
    for method, colour in COLOURS.items():
        own = table[(table["method"] == method) & ~table["fitted"]]
        shift = 1.06 if method == "isoflop" else 1 / 1.06
        ax.vlines(own["flops"] * shift, own["low_95"], own["high_95"], color=colour, lw=1.0)
        ax.vlines(
            own["flops"] * shift, own["low_68"], own["high_68"], color=colour, lw=3.5, label=method
        )
    ax.scatter(
        apart["flops"],
        apart["loss"],
        s=34,
        marker="*",
        color="black",
        zorder=4,
        label="observed, not fitted",
    )
    ax.axvspan(fitted["flops"].max(), runs["flops"].max() * 2, color="0.5", alpha=0.13, lw=0)
    ax.set_xlim(fitted["flops"].min() / 2, runs["flops"].max() * 2)
    ax.set_xscale("log")
    ax.set_xlabel("training compute $C$ [FLOP]")
    ax.set_ylabel("validation loss $L$ [nat]")
    ax.set_title("shaded: beyond the compute of every fitted run", fontsize=10)
    ax.legend(fontsize=8, frameon=False)


def error_axes(ax: Axes, apart: pd.DataFrame) -> None:
    """Error of the forecast of the runs that were not fitted, cheapest at the bottom."""
    order = apart[apart["method"] == "isoflop"].sort_values("flops")["run_id"].tolist()
    for method, colour in COLOURS.items():
        own = apart[apart["method"] == method].set_index("run_id").loc[order]
        place = [i + (0.16 if method == "isoflop" else -0.16) for i in range(len(own))]
        low, mid, high, outer_low, outer_high = (
            100.0 * (own[name] / own["loss"] - 1.0)
            for name in ("low_68", "median", "high_68", "low_95", "high_95")
        )
        ax.hlines(place, outer_low, outer_high, color=colour, lw=1.0)
        ax.hlines(place, low, high, color=colour, lw=3.5)
        ax.plot(mid, place, ls="", marker="o", mfc="white", mec=colour, ms=5, label=method)
    ax.axvline(0.0, color="black", lw=0.8)
    ax.set_yticks(range(len(order)), [NAMES.get(name, name) for name in order], fontsize=8)
    ax.set_xlabel(ERROR_LABEL)
    ax.set_title("runs kept apart, by compute; 68 and 95 %", fontsize=10)
    ax.legend(fontsize=8, frameon=False, loc="lower right")


def main() -> None:
    """Read the table, write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--table", type=Path, required=True, help="CSV of the forecasts")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG to write")
    given = parser.parse_args()
    drawn = figure(pd.read_csv(given.table))
    save_figure(drawn, given.output)


if __name__ == "__main__":
    main()
