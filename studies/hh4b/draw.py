"""What a budget is worth in HH(4b): efficiency, significance ratio and luminosity equivalent.

    python -m studies.hh4b.draw build/studies/posterior.nc

writes hh4b.csv and hh4b.png beside this script.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from studies.study import COLUMNS, read_posterior, write_study

from isoflop.forecast.allocate import best_plans
from isoflop.forecast.outcomes import EFFICIENCY, LUMINOSITY, RATIO, outcome_draws, reference_loss
from isoflop.forecast.predict import group_draws, predictive_draws, quantiles
from isoflop.forecast.rejection import lowest_loss
from isoflop.forecast.significance import Scenario, gain, read_scenario
from isoflop.forecast.uncertain import Uncertain

SCENARIOS = {
    name: read_scenario(Path(__file__).parents[2] / "scenarios" / f"{name}.toml")
    for name in ("hh4b", "hh4b_boosted")
}
GROUP = "full-128"
"""Inputs of the tagger: all features of up to 128 particles."""
BUDGETS = (1e13, 1e14, 1e15, 1e16, 1e17, 1e18)
"""Budgets of the table [FLOP]."""
QUOTED = 1e15
"""Budget at which the assumptions are varied [FLOP]."""
SHARES = (0.25, 1.0, 4.0)
"""r₁ of the table."""
PANELS = {
    EFFICIENCY: "$b$ efficiency at a QCD rejection of 100",
    RATIO: "$Z_2/Z_1$ over the dearest run fitted",
    LUMINOSITY: "luminosity equivalent, ratio",
}
"""What is drawn against the budget, with the label of its axis."""
NAMES = tuple(PANELS)
COLOURS = {"hh4b": "#0072B2", "hh4b_boosted": "#D55E00"}
LABELS = {"hh4b": "resolved, $k=4$", "hh4b_boosted": "boosted, $k=2$"}


def main() -> None:
    """Write the table, and the figure with curves between its rows."""
    posterior = read_posterior(__doc__)
    table = pd.concat(tables(posterior), ignore_index=True)
    figure = figure_of(curves_of(posterior), shares_of(posterior), table)
    write_study(__file__, table, figure, digits=5)


def tables(posterior: xr.DataTree) -> Iterator[pd.DataFrame]:
    """Scenarios by budget; then at one: exact r₁ and a perfect tagger."""
    for name, scenario in SCENARIOS.items():
        end = group_draws(posterior, GROUP).largest_flops
        yield worth(posterior, name, [end, *BUDGETS], scenario)
        for share in SHARES:
            yield worth(posterior, name, [QUOTED], with_share(name, share))
        yield perfect(posterior, name)


def curves_of(posterior: xr.DataTree) -> pd.DataFrame:
    """Each scenario from where the runs end to the largest budget."""
    flops = np.geomspace(group_draws(posterior, GROUP).largest_flops, max(BUDGETS), 31)
    parts = [worth(posterior, name, flops, one) for name, one in SCENARIOS.items()]
    return pd.concat(parts, ignore_index=True)


def shares_of(posterior: xr.DataTree) -> pd.DataFrame:
    """Each scenario at one budget, against r₁ known exactly."""
    parts = [
        worth(posterior, name, [QUOTED], with_share(name, share))
        for name in SCENARIOS
        for share in np.geomspace(0.05, 20.0, 25)
    ]
    return pd.concat(parts, ignore_index=True)


def with_share(name: str, share: float) -> Scenario:
    """A scenario whose r₁ is known exactly."""
    return replace(SCENARIOS[name], r1=Uncertain(f"{share:g}", share))


def worth(
    posterior: xr.DataTree,
    name: str,
    flops: tuple[float, ...] | list[float] | np.ndarray,
    scenario: Scenario,
) -> pd.DataFrame:
    """Quantiles of `NAMES` and of the loss at budgets [FLOP]: a row a quantity and budget."""
    draws = group_draws(posterior, GROUP)
    plans = best_plans(draws, flops)
    params, samples = (np.array([getattr(p, n) for p in plans]) for n in ("params", "samples"))
    loss = predictive_draws(draws, params, unique_samples=samples, seed=0)
    values = {"loss": loss} | outcome_draws(posterior, GROUP, loss, names=NAMES, scenario=scenario)
    counted = lowest_loss(posterior, "efficiency", GROUP)
    parts = []
    for quantity, value in values.items():
        part = pd.DataFrame(quantiles(value).T, columns=COLUMNS)
        part.insert(0, "quantity", quantity)
        part.insert(0, "budget_flops", np.asarray(flops))
        parts.append(part)
    whole = pd.concat(parts, ignore_index=True)
    whole.insert(0, "r1", scenario.r1.text if scenario.r1 else "")
    whole.insert(0, "scenario", name)
    each = len(values)
    whole["params"], whole["samples"] = np.tile(params, each), np.tile(samples, each)
    whole["decades_beyond"] = np.log10(whole["budget_flops"] / draws.largest_flops).round(2)
    whole["nat_below_counted"] = np.tile(counted - np.median(loss, axis=0), each)
    whole["reference_loss"] = float(np.median(reference_loss(posterior, GROUP, scenario.reference)))
    return whole


def perfect(posterior: xr.DataTree, name: str) -> pd.DataFrame:
    """What a tagger with ε = 1 would be worth: no budget buys more."""
    scenario = SCENARIOS[name]
    size = len(group_draws(posterior, GROUP).alpha)
    reference = scenario.reference_efficiency.draws(size, seed=[0, 0])
    best = gain(scenario, reference, np.ones((size, 1)))
    rows = {RATIO: best.ratio, LUMINOSITY: best.luminosity}
    whole = pd.DataFrame([quantiles(v)[:, 0] for v in rows.values()], columns=COLUMNS)
    share = scenario.r1.text if scenario.r1 else ""
    return whole.assign(scenario=name, r1=share, quantity=list(rows))


def figure_of(curves: pd.DataFrame, shares: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Efficiency, ratio and luminosity against budget, and the ratio against r₁."""
    figure = Figure(figsize=(10.0, 8.6), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    for ax, (quantity, label) in zip(panels, PANELS.items(), strict=False):
        budget_axes(ax, curves, quantity, label)
    share_axes(panels[3], shares[shares["quantity"] == RATIO])
    ceilings = table[table["budget_flops"].isna()]
    for ax, quantity in zip(panels[1:3], NAMES[1:], strict=True):
        ceiling_axes(ax, ceilings[ceilings["quantity"] == quantity])
    handles, names = panels[1].get_legend_handles_labels()
    panels[1].legend(handles[2:], names[2:], fontsize=8, frameon=False, loc="upper left")
    panels[1].set_ylim(top=1.15 * panels[1].get_ylim()[1])
    panels[0].set_ylim(bottom=panels[0].get_ylim()[0] - 0.1)  # room for the legend
    panels[0].legend(fontsize=9, frameon=False, loc="lower right")
    return figure


def budget_axes(ax: Axes, curves: pd.DataFrame, quantity: str, label: str) -> None:
    """One quantity of all scenarios against the budget."""
    own = curves[curves["quantity"] == quantity]
    for name in SCENARIOS:
        band_axes(ax, own[own["scenario"] == name], "budget_flops", name)
    ax.set_xlabel("training compute $C$ [FLOP], from the end of the runs")
    ax.set_ylabel(label)
    loss_axis(ax, curves[curves["quantity"] == "loss"])


def share_axes(ax: Axes, ratios: pd.DataFrame) -> None:
    """The significance ratio against r₁, with the r₁ of the table."""
    for name in SCENARIOS:
        own = ratios[ratios["scenario"] == name]
        band_axes(ax, own.assign(r1=own["r1"].astype(float)), "r1", name)
    ax.set_xlabel("$r_1$: reducible over irreducible background")
    ax.set_ylabel("$Z_2/Z_1$ at $10^{15}$ FLOP")
    for share in SHARES:
        ax.axvline(share, color="0.5", lw=0.8, ls="--", zorder=0)
    ax.set_title("$r_1$ taken as exact; dashed: those of the table", fontsize=9)


def ceiling_axes(ax: Axes, ceilings: pd.DataFrame) -> None:
    """What a perfect tagger would reach, and 1."""
    for _, row in ceilings.iterrows():
        label = f"perfect tagger, {LABELS[row['scenario']]}"
        style = {"color": COLOURS[row["scenario"]], "lw": 1.0, "ls": (0, (5, 2))}
        ax.axhline(row["median"], label=label, **style)
    ax.axhline(1.0, color="black", lw=0.8)


def band_axes(ax: Axes, rows: pd.DataFrame, x: str, name: str) -> None:
    """Median, 68 and 95 % of one scenario."""
    colour = COLOURS[name]
    for edge in ("low_95", "high_95"):
        ax.plot(rows[x], rows[edge], color=colour, lw=0.8, ls=":")
    ax.fill_between(rows[x], rows["low_68"], rows["high_68"], color=colour, alpha=0.25, lw=0)
    ax.plot(
        rows[x], rows["median"], color=colour, lw=1.5, label=f"{LABELS[name]}; band 68 %, dots 95 %"
    )
    ax.set_xscale("log")


def loss_axis(ax: Axes, loss: pd.DataFrame) -> None:
    """Above the panel: how far below the lowest counted loss the link is carried."""
    own = loss.drop_duplicates("budget_flops")
    ticks = np.array([c for c in BUDGETS if own["budget_flops"].min() <= c])
    depth = np.interp(np.log(ticks), np.log(own["budget_flops"]), own["nat_below_counted"])
    ax.set_xlim(own["budget_flops"].min(), own["budget_flops"].max())
    top = ax.secondary_xaxis("top")
    top.set_xticks(ticks, [f"{value:.2f}" for value in depth], fontsize=8)
    top.tick_params(which="minor", length=0)
    top.set_xlabel("median loss below the lowest one counted at [nat]", fontsize=8)


if __name__ == "__main__":
    main()
