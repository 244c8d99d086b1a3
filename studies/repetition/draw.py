"""What passes over the same jets buy, and what they cost in compute.

    python -m studies.repetition.draw build/studies/posterior.nc

writes repetition.csv and repetition.png beside this script.
"""

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from studies.repetition.worth import (
    MATCH,
    PRICE,
    dearest_repeat,
    reached,
    repeated,
    runs_of,
    table_of,
)
from studies.study import draw_band, mark_end, read_posterior, write_study

from isoflop.forecast.allocate import best_plans
from isoflop.forecast.figures import COLOURS
from isoflop.forecast.predict import (
    Draws,
    group_draws,
    group_names,
    loss_draws,
    repetition_gain,
)

CAPS = (1_000.0, 4_000.0, 16_000.0)
"""Distinct jets U of the sweep's repeated runs."""
RATIOS = np.geomspace(1.0, 5e3, 60)
"""Compute over that of the best single pass."""
FOREVER = 1e6
"""Passes after which more add nothing."""


def main() -> None:
    """Write the table, and the figure of the group with the most repeated runs."""
    posterior = read_posterior(__doc__)
    group = max(group_names(posterior), key=lambda name: repeated(posterior, name))
    write_study(__file__, table_of(posterior), figure_of(posterior, group))


def figure_of(posterior: xr.DataTree, group: str) -> Figure:
    """Loss against compute and jets, the gain; ω, the price and the worth of repetition."""
    draws, runs = group_draws(posterior, group), runs_of(posterior, group)
    figure = Figure(figsize=(10.0, 12.0), layout="constrained")
    (compute, jets), (gain, omega), (price, more) = figure.subplots(3, 2)
    draw_compute(compute, draws, runs)
    draw_jets(jets, draws, runs)
    draw_gain(gain, posterior)
    draw_omega(omega, posterior)
    end = dearest_repeat(draws, runs)
    draw_price(price, draws, end)
    draw_more(more, draws, end)
    return figure


def draw_compute(ax: Axes, draws: Draws, runs: pd.DataFrame) -> None:
    """Loss against total compute for fixed jets, and the compute-optimal single pass."""
    end = draws.largest_flops
    flops = np.geomspace(draws.smallest_flops, end * 10.0, 25)
    once, again = runs[runs["passes"] == 1.0], runs[runs["passes"] > 1.0]
    draw_plans(ax, draws, flops, None, "black", "fresh jets, compute-optimal")
    ax.scatter(once["flops"], once["loss"], zorder=1, lw=0, s=6, color="0.6")
    for cap, colour in zip(CAPS, COLOURS, strict=False):
        draw_plans(ax, draws, flops, cap, colour, f"{cap:,.0f} jets, best N, passes")
        own = again[again["unique_samples"] == cap]
        ax.scatter(own["flops"], own["loss"], zorder=3, lw=0, s=20, marker="D", color=colour)
    mark_end(ax, end, "dearest run")
    ax.set_xscale("log")
    ax.set_ylim(top=2.3)
    ax.set_xlabel("training compute $C$ [FLOP], repeats included")
    ax.set_ylabel("validation loss $L$ [nat]")
    ax.set_title(f"{draws.group}; dots: runs, one pass; diamonds: repeated", fontsize=9)
    ax.legend(fontsize=8, frameon=False, loc="lower left")


def draw_plans(
    ax: Axes, draws: Draws, flops: np.ndarray, cap: float | None, colour: str, label: str
) -> None:
    """Loss of the best plan of each budget, with at most `cap` distinct jets."""
    plans = best_plans(draws, flops, unique_cap=cap)
    columns = ("params", "unique_samples", "epochs")
    at = {name: np.array([getattr(plan, name) for plan in plans]) for name in columns}
    loss = loss_draws(draws, at.pop("params"), **at)
    draw_band(ax, flops, loss, colour, lw=1.5, label=label)


def draw_jets(ax: Axes, draws: Draws, runs: pd.DataFrame) -> None:
    """Loss against distinct jets of the largest repeated network: one, 16 and unending passes."""
    again = runs[runs["passes"] > 1.0]
    size = float(again["params"].max())
    unique = np.geomspace(runs["unique_samples"].min(), runs["unique_samples"].max() * 10, 30)
    marked = {1.0: "one pass", 16.0: "16 passes", FOREVER: "passes without end (ω)"}
    for (passes, label), colour in zip(marked.items(), COLOURS, strict=False):
        style = {"lw": 1.5, "ls": ":" if passes == FOREVER else "-"}
        loss = loss_draws(draws, size, unique_samples=unique, epochs=passes)
        draw_band(ax, unique, loss, colour, label=label, **style)
    own = runs[(runs["params"] == size) & (runs["passes"] == 1.0)]
    ax.scatter(own["samples"], own["loss"], color=COLOURS[0], s=20, zorder=3)
    best = again.loc[again.groupby("unique_samples")["loss"].idxmin()]
    style = {"color": COLOURS[1], "s": 24, "marker": "D", "zorder": 3}
    ax.scatter(best["unique_samples"], best["loss"], label="best repeated run, any N", **style)
    for name, part in (("repeated runs", again), ("runs", runs)):
        end = part["unique_samples"].max()
        mark_end(ax, end, f"{name} end")
    ax.set_xscale("log")
    ax.set_ylim(0.35, 2.3)  # room for the legend
    ax.set_xlabel("distinct jets $U$")
    ax.set_ylabel("validation loss $L$ [nat]")
    ax.set_title(f"{draws.group}, N = {size:,.0f}", fontsize=9)
    ax.legend(fontsize=8, framealpha=1.0, edgecolor="none", loc="lower left")


def draw_gain(ax: Axes, posterior: xr.DataTree) -> None:
    """Effective data gain of e passes for each group."""
    passes = np.geomspace(1.0, 300.0, 60)
    for group, colour in zip(group_names(posterior), COLOURS, strict=False):
        gain = repetition_gain(group_draws(posterior, group), passes)
        draw_band(
            ax, passes, gain, colour, lw=1.5, label=f"{group}, {repeated(posterior, group)} runs"
        )
    ax.plot(passes, passes, color="0.4", lw=0.8, ls="--", label="as good as fresh jets")
    last = max(runs_of(posterior, name)["passes"].max() for name in group_names(posterior))
    mark_end(ax, last, "most passes of a run")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(0.9, 300.0)
    ax.set_xlabel("passes $e$")
    ax.set_ylabel("effective data gain $D_{eff}/U$")
    ax.legend(fontsize=8, frameon=False, loc="upper left", title="repeated runs", title_fontsize=8)


def draw_omega(ax: Axes, posterior: xr.DataTree) -> None:
    """Posterior of ω for each group beside its prior."""
    bins = np.geomspace(1.5, 100.0, 60)
    prior = posterior["prior"].to_dataset()["omega"].values.reshape(-1)
    for group, colour in zip(group_names(posterior), COLOURS, strict=False):
        values = group_draws(posterior, group).omega
        share = np.full(len(values), 1.0 / len(values))
        ax.hist(values, bins, weights=share, color=colour, alpha=0.25)
        style = {"histtype": "step", "color": colour, "lw": 1.4, "label": group}
        ax.hist(values, bins, weights=share, **style)
    share = np.full(len(prior), 1.0 / len(prior))
    ax.hist(prior, bins, weights=share, histtype="step", color="0.3", ls="--", label="prior")
    ax.set_xscale("log")
    ax.set_xlabel("$\\omega$, bound of the gain")
    ax.set_ylabel("share of the posterior")
    ax.legend(fontsize=8, frameon=False)


def draw_price(ax: Axes, draws: Draws, end: float) -> None:
    """Price in compute, against compute spent over that of the best single pass."""
    _, price = reached(draws, RATIOS)
    draw_band(ax, RATIOS, price, COLOURS[0], lw=1.5, label="this study, 68 %")
    ax.axhline(PRICE, color="black", lw=0.9, ls="--", label="arXiv:2602.15781, about ×10")
    mark_end(ax, end, "dearest repeated run")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("compute over that of the best single pass over $U$")
    ax.set_ylabel("compute over that of fresh jets, same loss")
    ax.set_title(f"price of repetition, {draws.group}", fontsize=9)
    ax.legend(fontsize=8, frameon=False)


def draw_more(ax: Axes, draws: Draws, end: float) -> None:
    """How many fresh jets the repeated ones are worth, against compute."""
    more, _ = reached(draws, RATIOS)
    draw_band(ax, RATIOS, more, COLOURS[0], lw=1.5, label="this study, 68 %")
    star = {"marker": "*", "ms": 12, "ls": "", "color": "black"}
    ax.plot(10.0, MATCH, label="GN3's talk: up to ×3 for ×10", **star)
    mark_end(ax, end, "dearest repeated run")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("compute over that of the best single pass over $U$")
    ax.set_ylabel("jets of an equally good single pass over $U$")
    ax.set_title(f"worth of repetition, {draws.group}", fontsize=9)
    ax.legend(fontsize=8, frameon=False)


if __name__ == "__main__":
    main()
