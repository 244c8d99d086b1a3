"""The loss over the plane of N and D, the loss along iso-FLOP lines, and a table of the law.

    python -m studies.loss_surface.draw build/studies/posterior.nc

writes loss_surface.csv and loss_surface.png beside this script.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from studies.study import COLUMNS, once_through, params_at, read_posterior, write_study

from isoflop.forecast.allocate import optimal
from isoflop.forecast.exponents import exponent_intervals
from isoflop.forecast.fans import forecast_curves
from isoflop.forecast.figures import power_of_ten
from isoflop.forecast.forecast_figures import isoflop_axes
from isoflop.forecast.predict import Draws, group_draws, group_names, loss_draws, quantiles

BEYOND = 10.0
"""The plane ends at this many times the largest N and its square times the largest D, where the
path of the dearest run's compute lies."""
PUBLISHED = {
    # arXiv:2602.15781, full inputs; no intervals there. Compute exponent: caption of Fig. 2.
    "arXiv:2602.15781": {
        "loss_inf": (0.32,),
        "alpha": (0.44,),
        "beta": (0.22,),
        "loss_exponent": (0.15,),
    },
    # ATL-SOFT-PUB-2026-002; the compute exponents follow from α and β.
    "GN3": {
        "loss_inf": (0.619, 0.539, 0.671),
        "alpha": (0.677, 0.644, 0.764),
        "beta": (0.077, 0.065, 0.086),
        "params_exponent": (0.10,),
        "samples_exponent": (0.90,),
        "loss_exponent": (0.069,),
    },
}
"""Published values: one, or median and bounds."""
PAPER = PUBLISHED["arXiv:2602.15781"]


@dataclass(frozen=True)
class Surface:
    """What the left panel draws, one group at one epoch."""

    group: str
    """Name of the group."""
    params: np.ndarray
    """N, shape (rows,)."""
    samples: np.ndarray
    """D in jets, shape (columns,)."""
    loss: np.ndarray
    """Median loss of the law [nat], shape (rows, columns)."""
    path_flops: np.ndarray
    """Budgets along the compute-optimal path [FLOP], shape (points,)."""
    path_params: np.ndarray
    """Quantiles of N* at each budget, shape (5, points)."""
    cost: float
    """c in C = c·N·D [FLOP]."""
    largest_flops: float
    """Compute of the dearest fitted run [FLOP]."""
    runs: pd.DataFrame
    """Runs of the fit over fresh jets: params, samples, loss [nat]."""


def main() -> None:
    """Write the table, and the figure of the group with the most runs."""
    posterior = read_posterior(__doc__)
    table = table_of(posterior)
    group = str(once_through(posterior)["group"].mode()[0])
    write_study(__file__, table, figure_of(posterior, group))


def surface_of(posterior: xr.DataTree, group: str) -> Surface:
    """The law's loss over the plane spanned by the runs, and each budget's best N."""
    draws, runs = group_draws(posterior, group), once_through(posterior)
    runs = runs[runs["group"] == group]
    params = np.geomspace(runs["params"].min() / 1.5, runs["params"].max() * BEYOND, 50)
    end = runs["samples"].max() * BEYOND**2
    samples = np.geomspace(runs["samples"].min() / 1.5, end, 50)
    # A tenth of the draws tells a median to a fiftieth of the interval.
    thin = slice_draws(draws, 10)
    rows = [np.median(loss_draws(thin, n, unique_samples=samples), axis=0) for n in params]
    path = np.geomspace(draws.smallest_flops, BEYOND**2 * draws.largest_flops, 60)
    return Surface(
        group=group,
        params=params,
        samples=samples,
        loss=np.stack(rows),
        path_flops=path,
        path_params=quantiles(optimal(draws, path).params),
        cost=draws.flops_per_param_sample,
        largest_flops=draws.largest_flops,
        runs=runs,
    )


def slice_draws(draws: Draws, step: int) -> Draws:
    """Every `step`-th draw."""
    arrays = {k: v[::step] for k, v in vars(draws).items() if isinstance(v, np.ndarray)}
    return Draws(**(vars(draws) | arrays))


def table_of(posterior: xr.DataTree) -> pd.DataFrame:
    """Quantiles of each group's law and of the exponents that follow, then the published ones."""
    most = once_through(posterior).groupby("group")["samples"].max()
    parts = [
        law_rows(group_draws(posterior, group), float(most[group]))
        for group in group_names(posterior)
    ]
    for source, values in PUBLISHED.items():
        rows = [
            dict(zip(("median", "low_68", "high_68"), v, strict=False)) for v in values.values()
        ]
        parts.append(pd.DataFrame(rows).assign(group=source, quantity=list(values)))
    return pd.concat(parts, ignore_index=True)[["group", "quantity", *COLUMNS, "share_above_paper"]]


def law_rows(draws: Draws, most_jets: float) -> pd.DataFrame:
    """L∞, A, B, α, β, γ, γα, γβ and the compute-optimal path: its exponents, N* where jets end.

    With the share of the draws in which γα and γβ exceed the α and β of the paper.
    """
    own = {
        "A": np.exp(draws.log_A),
        "B": np.exp(draws.log_B),
        "gamma": draws.gamma,
        "gamma_alpha": draws.gamma * draws.alpha,
        "gamma_beta": draws.gamma * draws.beta,
        "params_where_jets_end": params_at(draws, np.array([most_jets]))[:, 0],
    }
    rows = {name: quantiles(value[:, None])[:, 0] for name, value in own.items()}
    more = pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS)
    whole = pd.concat([exponent_intervals(draws), more])
    for name, published in (("gamma_alpha", PAPER["alpha"]), ("gamma_beta", PAPER["beta"])):
        whole.loc[name, "share_above_paper"] = np.mean(own[name] > published[0])
    return whole.rename_axis("quantity").reset_index().assign(group=draws.group)


def figure_of(posterior: xr.DataTree, group: str) -> Figure:
    """The plane of one group, and its iso-FLOP lines."""
    surface = surface_of(posterior, group)
    figure = Figure(figsize=(10.0, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
    draw_surface(left, surface)
    budget = 10.0 * surface.largest_flops
    isoflop_axes(forecast_curves(posterior, [budget], groups=[group]), right)
    return figure


def draw_surface(ax: Axes, surface: Surface) -> None:
    """Iso-loss contours, iso-FLOP lines, the runs and the compute-optimal path with its band."""
    levels = np.round(np.arange(0.4, 2.31, 0.1), 1)
    limits = {"vmin": levels[0], "vmax": levels[-1], "cmap": "viridis_r"}
    place = (surface.samples, surface.params, surface.loss)
    filled = ax.contourf(*place, levels=levels, extend="both", **limits)
    lines = ax.contour(*place, levels=levels, colors="white", linewidths=0.7)
    ax.clabel(lines, levels[::2], fontsize=8, fmt="%.1f")
    runs = surface.runs
    dots = {"s": 18, "edgecolors": "black", "linewidths": 0.5, "zorder": 4}
    ax.scatter(runs["samples"], runs["params"], c=runs["loss"], label="runs", **dots, **limits)
    draw_iso_flop(ax, surface)
    draw_path(ax, surface)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(surface.samples[0], surface.samples[-1])
    ax.set_ylim(surface.params[0], surface.params[-1])
    ax.set_xlabel("jets seen $D$, one epoch")
    ax.set_ylabel("parameters $N$")
    ax.set_title(f"loss of the law of {surface.group}, median", fontsize=10)
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=1, frameon=False)
    ax.figure.colorbar(filled, ax=ax, label="validation loss $L$ [nat]", pad=0.01)


def draw_iso_flop(ax: Axes, surface: Surface) -> None:
    """A line a decade of compute, and where the data end."""
    first = np.ceil(np.log10(surface.path_flops[0]))
    for flops in 10.0 ** np.arange(first, np.log10(surface.path_flops[-1])):
        along = flops / (surface.cost * surface.samples)
        ax.plot(surface.samples, along, color="black", lw=0.5, ls=":")
    end = surface.largest_flops / (surface.cost * surface.samples)
    label = f"dearest run, {power_of_ten(surface.largest_flops)} FLOP; most jets of a run"
    ax.plot(surface.samples, end, color="black", lw=1.2, ls="-.", label=label)
    ax.axvline(surface.runs["samples"].max(), color="black", lw=1.2, ls="-.")


def draw_path(ax: Axes, surface: Surface) -> None:
    """The median of N* with its 68 % band at each compute; dashed beyond the data."""
    low, middle, high = surface.path_params[[1, 2, 3]]
    product = surface.path_flops / surface.cost
    edge = np.concatenate([low, high[::-1]])
    ax.fill(np.concatenate([product, product[::-1]]) / edge, edge, color="#D55E00", alpha=0.35)
    inside = surface.path_flops <= surface.largest_flops
    style = {"color": "#D55E00", "lw": 2.0}
    label = "compute-optimal, 68 %; dashed beyond the runs"
    ax.plot(product[inside] / middle[inside], middle[inside], label=label, **style)
    ax.plot(product[~inside] / middle[~inside], middle[~inside], ls="--", **style)


if __name__ == "__main__":
    main()
