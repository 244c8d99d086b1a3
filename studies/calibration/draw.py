"""Draw what summarise.py computed: ECDF differences in their band, contraction and z-scores.

    python studies/calibration/draw.py --table studies/calibration/summary.csv \
        --curves build/calibration/curves.csv --points build/calibration/points.csv \
        -o studies/calibration/calibration.png
"""

import argparse
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isoflop.files import writing

COLOURS = {"a": "#0072B2", "b": "#D55E00", "c": "#009E73", "": "0.3"}
"""Of each group, and of what belongs to none."""
COLUMNS = 5
LEFT_OVER = (1e-4, 3.0)
"""Range of posterior over prior variance that is shown; points beyond it sit on the edge."""
SYMBOLS = {
    "loss_inf": "$L_\\infty$",
    "log_A": "log A",
    "log_B": "log B",
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "omega": "ω",
    "sigma": "σ",
    "nu": "ν",
    "sigma_slope": "slope of σ",
    "rho": "ρ",
    "level": "level",
    "irreducible": "mean logit $L_\\infty/L_c$",
    "share": "mean logit share",
    "log_slope_n": "mean log γα",
    "log_slope_d": "mean log γβ",
    "log_gamma": "mean log γ",
    "log_spare": "mean log(ω−1)",
    "log_penalty": "log rise by overfitting",
    "log_P": "log P",
    "log_nu_minus_2": "log(ν−2)",
    "walk": "error of the law",
    "small_wall": "error, small networks",
    "large_wall": "error, large networks",
    "tau_loss_inf": "τ of $L_\\infty$",
    "tau_share": "τ of share",
    "tau_alpha": "τ of γα",
    "tau_beta": "τ of γβ",
    "tau_gamma": "τ of γ",
    "tau_omega": "τ of ω",
    "forecast": "forecast, 2 decades",
    "log_likelihood": "log-likelihood",
}


def site_and_group(quantity: str) -> tuple[str, str]:
    """`omega[a]` is ω of group a; `sigma` belongs to no group."""
    site, _, group = quantity.partition("[")
    return site, group.rstrip("]")


def figure(table: pd.DataFrame, curves: pd.DataFrame, points: pd.DataFrame) -> Figure:
    """A panel for each site with its groups in colours; all replications as points below them."""
    sites = dict.fromkeys(site_and_group(name)[0] for name in table["quantity"])
    order = [name for name in SYMBOLS if name in sites] + [n for n in sites if n not in SYMBOLS]
    rows = -(-len(order) // COLUMNS)
    heights = 1.4 * rows + 0.8, 5.5
    whole = Figure(figsize=(10.0, sum(heights)), layout="constrained")
    FigureCanvasAgg(whole)
    grid = whole.add_gridspec(2, 1, height_ratios=heights)
    above, below = whole.add_subfigure(grid[0, 0]), whole.add_subfigure(grid[1, 0])
    panels = above.subplots(rows, COLUMNS, sharex=True, sharey=True).ravel()
    for ax, site in zip(panels, order, strict=False):
        ecdf_axes(ax, curves, site)
    for ax in panels[len(order) :]:
        ax.set_axis_off()
    groups = [
        Line2D([], [], color=colour, label=f"group {name}")
        for name, colour in COLOURS.items()
        if name
    ]
    above.legend(handles=groups, loc="outside lower right", ncols=3, fontsize=9, frameon=False)
    above.supxlabel("rank of the truth among posterior draws, as a fraction", fontsize=9)
    above.supylabel("ECDF − uniform", fontsize=9)
    above.suptitle(
        f"{table['replications'].max()} replications; bands hold 95 % of whole calibrated curves; "
        "grey: of no one group",
        fontsize=10,
    )
    left, right = below.subplots(1, 2, sharex=True)
    scatter_axes(left, points)
    contraction_axes(right, table, order)
    return whole


def ecdf_axes(ax: Axes, curves: pd.DataFrame, site: str) -> None:
    """The curves of one site in the band; a curve outside it is not calibrated."""
    names = [n for n in curves["quantity"].unique() if site_and_group(n)[0] == site]
    band = curves[curves["quantity"] == names[0]]
    ax.fill_between(band["at"], band["low"], band["high"], color="0.88", lw=0)
    for name in names:
        curve = curves[curves["quantity"] == name]
        ax.plot(curve["at"], curve["difference"], lw=1.0, color=COLOURS[site_and_group(name)[1]])
    ax.set_title(SYMBOLS.get(site, site), fontsize=9, pad=2)
    ax.tick_params(labelsize=8)
    ax.set_xticks([0.0, 0.5, 1.0])


def scatter_axes(ax: Axes, points: pd.DataFrame) -> None:
    """z-score against what is left of the prior variance, every replication and quantity."""
    shown = points.dropna()
    ax.axhspan(-2.0, 2.0, color="0.93", lw=0)
    ax.scatter(
        (1.0 - shown["contraction"]).clip(*LEFT_OVER),
        shown["z_score"].clip(-5.0, 5.0),
        s=2,
        alpha=0.2,
        color="0.25",
        lw=0,
    )
    ax.set_ylim(-5.1, 5.1)
    ax.set_xlabel("1 − contraction = posterior variance / prior variance", fontsize=9)
    ax.set_ylabel("z-score, (posterior mean − truth) / sd", fontsize=9)
    ax.set_title("all replications; 95 % of a normal in the band", fontsize=9)


def contraction_axes(ax: Axes, table: pd.DataFrame, order: list[str]) -> None:
    """Median of what is left of the prior variance, a row a site, its groups in colours."""
    rows = [site for site in order if site != "log_likelihood"]
    for y, site in enumerate(rows):
        own = table[table["quantity"].map(site_and_group).str[0] == site]
        left_over = (1.0 - own["contraction"]).clip(*LEFT_OVER)
        colours = [COLOURS[site_and_group(name)[1]] for name in own["quantity"]]
        ax.scatter(left_over, [y] * len(own), s=14, c=colours, zorder=2)
    ax.set_yticks(range(len(rows)), [SYMBOLS.get(site, site) for site in rows], fontsize=8)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(axis="y", color="0.92")
    ax.set_xscale("log")
    ax.set_xlim(LEFT_OVER[0] / 1.3, LEFT_OVER[1] * 1.3)
    ax.set_xlabel("1 − contraction = posterior variance / prior variance", fontsize=9)
    ax.set_title("medians; at 1 the runs say nothing", fontsize=9)


def main() -> None:
    """Read the tables, write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("table", "curves", "points"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"CSV of the {name}")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG to write")
    given = parser.parse_args()
    drawn = figure(*(pd.read_csv(getattr(given, name)) for name in ("table", "curves", "points")))
    with writing(given.output) as temporary:
        drawn.savefig(temporary, dpi=110)


if __name__ == "__main__":
    main()
