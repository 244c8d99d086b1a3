"""What more inputs buy: loss against jets, L∞ and β by inputs, and jets of equal performance.

    python -m studies.inputs.draw build/studies/posterior.nc

writes inputs.csv and inputs.png beside this script.
"""

from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from studies.study import COLUMNS, mark_end, once_through, read_posterior, write_study

from isoflop.forecast.figures import COLOURS, styles_of
from isoflop.forecast.predict import Draws, group_draws, group_names, loss_draws, quantiles

AT = (16_000.0, 64_000.0, 200_000.0)
"""Jets of the poorer inputs at which they are matched."""
NARROW = (7_000.0, 27_000.0)
"""Smaller networks at which the two best inputs change places."""
GRID = np.geomspace(100.0, 2e7, 120)
"""Jets over which the loss of the richest inputs is searched for the same loss."""
COMMON = 0.1
"""Scale of log β between groups below which β may be called common: 10 %."""


def main() -> None:
    """Write the table and the figure."""
    posterior = read_posterior(__doc__)
    table = table_of(posterior)
    write_study(__file__, table, figure_of(posterior, table))


def common_size(runs: pd.DataFrame) -> float:
    """The largest N that no group's runs fall short of."""
    return float(runs.groupby("group")["params"].max().min())


def order(posterior: xr.DataTree) -> list[Draws]:
    """The groups, the one with the lowest loss on 200 000 jets last."""
    size = common_size(once_through(posterior))
    groups = [group_draws(posterior, name) for name in group_names(posterior)]
    return sorted(groups, key=lambda one: -np.median(loss_draws(one, size, unique_samples=AT[-1])))


def jets_ratio(poor: Draws, rich: Draws, size: float, samples: np.ndarray) -> np.ndarray:
    """D_poor/D_rich of the same loss at N = `size`, shape (draws, points).

    NaN where the richer inputs do as well with fewer jets than `GRID` begins with.
    """
    wanted = loss_draws(poor, size, unique_samples=samples)
    # The loss may wiggle by the law's own error; what it fell to before counts.
    falling = np.minimum.accumulate(loss_draws(rich, size, unique_samples=GRID), axis=1)
    found = [
        np.interp(-one, -curve, np.log(GRID), left=np.nan, right=np.inf)
        for one, curve in zip(wanted, falling, strict=True)
    ]
    return np.asarray(samples / np.exp(np.stack(found)))


def table_of(posterior: xr.DataTree) -> pd.DataFrame:
    """L∞ and β of each group, differences of L∞ by pair, the scale of β, ratios of jets.

    `at` is the number of jets, or N in `jets_ratio_by_params`, which is at the last of `AT`.
    """
    groups = order(posterior)
    size = common_size(once_through(posterior))
    rows = []
    for one in groups:
        rows.append((one.group, "loss_inf", np.nan, one.loss_inf))
        rows.append((one.group, "beta", np.nan, one.beta))
        rows.append((one.group, "gamma_beta", np.nan, one.gamma * one.beta))
    for poor, rich in combinations(groups, 2):
        pair = f"{poor.group} - {rich.group}"
        rows.append((pair, "loss_inf_difference", np.nan, poor.loss_inf - rich.loss_inf))
        rows.append((pair, "log_beta_ratio", np.nan, np.log(poor.beta / rich.beta)))
    for poor in groups[:-1]:
        ratio = jets_ratio(poor, groups[-1], size, np.array(AT))
        pair = f"{poor.group} / {groups[-1].group}"
        rows += [(pair, "jets_ratio", at, ratio[:, i]) for i, at in enumerate(AT)]
    second, best = groups[-2:]
    for narrow in NARROW:
        ratio = jets_ratio(best, second, narrow, np.array(AT[-1:]))
        rows.append((f"{best.group} / {second.group}", "jets_ratio_by_params", narrow, ratio[:, 0]))
    rows += [("all", "tau_beta", np.nan, tau_beta(posterior, "posterior"))]
    rows += [("all", "tau_beta_prior", np.nan, tau_beta(posterior, "prior"))]
    table = pd.DataFrame([quantiles(v[:, None])[:, 0] for *_, v in rows], columns=COLUMNS)
    table[["group", "quantity", "at"]] = [row[:3] for row in rows]
    table["share_positive"] = [np.mean(v > 0) for *_, v in rows]
    table["share_below_common"] = [
        np.mean(v < COMMON) if name.startswith("tau") else np.nan for _, name, _, v in rows
    ]
    shares = ["share_positive", "share_below_common"]
    return table[["group", "quantity", "at", *COLUMNS, *shares]]


def tau_beta(posterior: xr.DataTree, part: str) -> np.ndarray:
    """Draws of the scale of log β between groups, shape (draws,)."""
    return np.asarray(posterior[part].to_dataset()["tau_beta"].values).reshape(-1)


def figure_of(posterior: xr.DataTree, table: pd.DataFrame) -> Figure:
    """Loss, densities of L∞ and its differences; β, its scale, and the ratios of jets."""
    groups, runs = order(posterior), once_through(posterior)
    figure = Figure(figsize=(10.0, 12.0), layout="constrained")
    (loss, ratios), (limits, differences), (exponents, scale) = figure.subplots(3, 2)
    draw_loss(loss, groups, runs)
    draw_densities(limits, {one.group: one.loss_inf for one in groups}, "$L_\\infty$ [nat]")
    pairs = table[table["quantity"] == "loss_inf_difference"]
    draw_intervals(differences, pairs, "difference of $L_\\infty$ [nat]", zero=True)
    betas = table[table["quantity"] == "beta"]
    draw_intervals(exponents, betas, "$\\beta$", zero=False)
    exponents.axvspan(0.21, 0.26, color="0.5", alpha=0.2, lw=0)
    exponents.set_title("68 % thick, 95 % thin; grey: arXiv:2602.15781", fontsize=9)
    draw_scale(scale, posterior)
    draw_ratios(ratios, groups, runs)
    return figure


def colours_of(groups: list[Draws]) -> dict[str, str]:
    """Each group's colour, that of the other studies."""
    return {
        name: colour for name, (colour, _) in styles_of(sorted(g.group for g in groups)).items()
    }


def draw_loss(ax: Axes, groups: list[Draws], runs: pd.DataFrame) -> None:
    """Loss against jets at the largest common N; the best run at each number of jets."""
    size, end, colours = common_size(runs), runs["samples"].max(), colours_of(groups)
    samples = np.geomspace(runs["samples"].min(), 30.0 * end, 50)
    for one in groups:
        colour = colours[one.group]
        low, middle, high = quantiles(loss_draws(one, size, unique_samples=samples))[[1, 2, 3]]
        ax.fill_between(samples, low, high, color=colour, alpha=0.2, lw=0)
        inside = samples <= end
        ax.plot(samples[inside], middle[inside], color=colour, lw=1.5, label=one.group)
        ax.plot(samples[~inside], middle[~inside], color=colour, lw=1.5, ls="--")
        own = runs[runs["group"] == one.group]
        best = own.loc[own.groupby("samples")["loss"].idxmin()]
        ax.scatter(best["samples"], best["loss"], color=colour, s=16, zorder=3)
    mark_end(ax, end, "runs end")
    ax.set_xscale("log")
    ax.set_xlabel("jets seen $D$, one epoch")
    ax.set_ylabel("validation loss $L$ [nat]")
    ax.set_title(f"law at N = {size:,.0f}, 68 %; dots: best run", fontsize=9)
    ax.legend(fontsize=8, frameon=False, loc="lower left")


def draw_densities(ax: Axes, values: dict[str, np.ndarray], label: str) -> None:
    """Histograms of draws of a loss, one colour each."""
    edges = np.linspace(*np.quantile(np.concatenate(list(values.values())), (0.001, 0.999)), 60)
    for name, (colour, _) in styles_of(sorted(values)).items():
        ax.hist(values[name], edges, density=True, color=colour, alpha=0.25)
        style = {"histtype": "step", "color": colour, "lw": 1.4, "label": name}
        ax.hist(values[name], edges, density=True, **style)
    ax.set_xlabel(label)
    ax.set_ylabel("posterior density [1/nat]")
    ax.legend(fontsize=8, frameon=False)


def draw_intervals(ax: Axes, rows: pd.DataFrame, label: str, zero: bool) -> None:
    """Median, 68 % thick and 95 % thin, one row each."""
    for place, row in enumerate(rows.to_dict("records")):
        ax.plot([row["low_95"], row["high_95"]], [place] * 2, color=COLOURS[0], lw=1.0)
        ax.plot([row["low_68"], row["high_68"]], [place] * 2, color=COLOURS[0], lw=3.5)
        ax.plot(row["median"], place, marker="o", color="black", ms=4)
    if zero:
        ax.axvline(0.0, color="black", lw=0.9, ls=":")
    ax.set_yticks(range(len(rows)), rows["group"].tolist(), fontsize=8)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(label)
    ax.set_title("68 % thick, 95 % thin", fontsize=9)


def draw_scale(ax: Axes, posterior: xr.DataTree) -> None:
    """Posterior of the scale of β between groups beside its prior."""
    edges = np.geomspace(0.005, 2.0, 50)
    for part, style in (("posterior", {"alpha": 0.5}), ("prior", {"histtype": "step", "ls": "--"})):
        value = tau_beta(posterior, part)
        share = np.full(len(value), 1.0 / len(value))
        ax.hist(value, edges, weights=share, color="0.3", label=part, **style)
    label = f"β differs by {100 * COMMON:.0f} %"
    ax.axvline(COMMON, color="black", lw=0.9, ls=":", label=label)
    ax.set_xscale("log")
    ax.set_xlabel("$\\tau_\\beta$, scale of $\\log\\beta$ between inputs")
    ax.set_ylabel("share of the draws")
    ax.legend(fontsize=8, frameon=False, loc="upper left")


def draw_ratios(ax: Axes, groups: list[Draws], runs: pd.DataFrame) -> None:
    """Jets the poorer inputs need for each of the richest, against their jets."""
    size, rich, colours = common_size(runs), groups[-1], colours_of(groups)
    samples = np.geomspace(4e3, runs["samples"].max(), 25)
    for poor in groups[:-1]:
        colour = colours[poor.group]
        ratio = jets_ratio(poor, rich, size, samples)
        # Where the match lies below the grid in part of the draws, no band is drawn.
        known = np.isfinite(ratio).mean(axis=0) > 0.999
        low, middle, high = np.nanquantile(ratio[:, known], (0.16, 0.5, 0.84), axis=0)
        ax.fill_between(samples[known], low, high, color=colour, alpha=0.25, lw=0)
        ax.plot(samples[known], middle, color=colour, lw=1.5, label=poor.group)
    ax.axhline(1.0, color="black", lw=0.9, ls=":")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("jets of the poorer inputs")
    ax.set_ylabel(f"ratio to the jets of {rich.group}, same loss")
    ax.set_title(f"jets of equal loss at N = {size:,.0f}; 68 %", fontsize=9)
    ax.legend(fontsize=8, frameon=False)


if __name__ == "__main__":
    main()
