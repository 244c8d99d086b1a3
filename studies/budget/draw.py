"""Draw what spend.py computed: the best N and D, and what is left above L∞, against compute.

    python studies/budget/draw.py --table studies/budget/budget.csv \
        --curves build/budget/curves.csv -o studies/budget/budget.png
"""

import argparse
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, NullFormatter

from isoflop.files import writing
from isoflop.forecast.figures import power_of_ten

COLOURS = {"GN3": "#0072B2", "JetClass": "#D55E00"}
DATA_SETS = {"GN2's training jets": 3e8, "GN3's check run": 7.7e9}
"""Jets, for scale, from the talk of 12 March 2026."""
CHECK_RUN = {"samples_opt": 7.7e9, "params_opt": 86e6}
CHECK_FLOPS = 4e20


def figure(table: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """D*, N* and the share of the reducible loss that is left, with 68 % bands."""
    whole = Figure(figsize=(10.5, 4.4), layout="constrained")
    FigureCanvasAgg(whole)
    panels = whole.subplots(1, 3)
    band_axes(panels[0], curves, "samples_opt", "best $D$ [jets]")
    band_axes(panels[1], curves, "params_opt", "best $N$ [parameters]")
    band_axes(panels[2], curves, "left", "$L^*-L_\\infty$ over that at $4\\times10^{20}$ FLOP")
    for name, jets in DATA_SETS.items():
        panels[0].axhline(jets, color="0.5", lw=0.8, ls=":")
        panels[0].annotate(name, (1e24, jets), fontsize=8, va="bottom", ha="right")
    for ax, name in zip(panels[:2], CHECK_RUN, strict=False):
        ax.plot(CHECK_FLOPS, CHECK_RUN[name], marker="*", ms=11, ls="", color="black", zorder=5)
        ax.set_title("★ the published check run", fontsize=9)
    for flops in (CHECK_FLOPS, 1e23):
        label = f"${power_of_ten(flops).strip('$')}$"
        style = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        panels[2].annotate(label, (flops, 0.98), xytext=(3, 0), fontsize=8, va="top", **style)
    panels[2].set_title("needs α and β alone", fontsize=9)
    panels[2].set_yticks([0.25, 0.5, 1.0, 2.0])
    panels[2].yaxis.set_major_formatter(FormatStrFormatter("%g"))
    panels[2].yaxis.set_minor_formatter(NullFormatter())
    budgets = table["budget_flops"].dropna().unique()
    for ax in panels:
        for flops in budgets:
            ax.axvline(flops, color="0.5", lw=0.8, ls="--", zorder=0)
    handles, names = panels[0].get_legend_handles_labels()
    whole.legend(handles, names, fontsize=9, frameon=False, loc="outside lower center", ncols=2)
    return whole


def band_axes(ax: Axes, curves: pd.DataFrame, quantity: str, label: str) -> None:
    """One quantity against compute: the median, and the 68 and 95 % bands of each law."""
    for law, colour in COLOURS.items():
        own = curves[(curves["law"] == law) & (curves["quantity"] == quantity)]
        ax.fill_between(own["flops"], own["low_95"], own["high_95"], color=colour, alpha=0.12, lw=0)
        ax.fill_between(own["flops"], own["low_68"], own["high_68"], color=colour, alpha=0.25, lw=0)
        ax.plot(
            own["flops"], own["median"], color=colour, lw=1.5, label=f"{law}; bands 68 and 95 %"
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("training compute $C$ [FLOP]")
    ax.set_ylabel(label)


def main() -> None:
    """Read the tables, write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("table", "curves"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"CSV of the {name}")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG to write")
    given = parser.parse_args()
    drawn = figure(*(pd.read_csv(getattr(given, name)) for name in ("table", "curves")))
    with writing(given.output) as temporary:
        drawn.savefig(temporary, dpi=150)


if __name__ == "__main__":
    main()
