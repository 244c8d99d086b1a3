"""What passes over the same jets buy, and what they cost in compute.

    python studies/repetition/draw.py build/studies/posterior.nc

writes repetition.png and repetition.csv beside this script. One quantity needs no number of jets:
at r times the compute whose best single pass sees exactly the U jets there are, the best network
and number of passes reach the loss that a single pass over m·U fresh jets reaches with C₁, and
both m and the price C/C₁ depend on r, α, β and ω alone.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isoflop.files import writing
from isoflop.forecast.allocate import best_plans, golden_section
from isoflop.forecast.figures import COLOURS, save_figure
from isoflop.forecast.predict import (
    QUANTILES,
    Draws,
    group_draws,
    group_names,
    loss_draws,
    quantiles,
    repetition_gain,
)
from isoflop.inference.posterior import load

HERE = Path(__file__).parent
COLUMNS = ["low_95", "low_68", "median", "high_68", "high_95"]
CAPS = (1_000.0, 4_000.0, 16_000.0)
"""Distinct jets U of the sweep's repeated runs."""
PASSES = (2.0, 4.0, 10.0, 16.0, 64.0)
RATIOS = (3.0, 10.0, 30.0, 100.0)
"""Compute over that of the best single pass, for the table."""
CURVE = np.geomspace(1.0, 1e4, 60)
"""The same, for the figure."""
MATCH = 3.0
"""Times the jets whose loss is to be matched: GN3's talk has ×3 for ×10 compute."""
PRICE = 10.0
"""Price in compute that arXiv:2602.15781 gives (caption of Fig. 2b)."""
FOREVER = 1e6
"""Passes after which more add nothing."""


def runs_of(posterior: xr.DataTree, group: str) -> pd.DataFrame:
    """Runs of one group in the fit, with their passes."""
    constant = posterior["constant_data"].to_dataset()
    names = ("params", "samples", "unique_samples", "flops", "run_group")
    runs = pd.DataFrame({name: constant[name].values for name in names})
    runs["loss"] = posterior["observed_data"].to_dataset()["loss"].values
    runs["passes"] = runs["samples"] / runs["unique_samples"]
    return runs[runs["run_group"] == group]


def repeated(posterior: xr.DataTree, group: str) -> int:
    """How many runs of a group in the fit saw their jets more than once."""
    return int((runs_of(posterior, group)["passes"] > 1.0).sum())


def reached(draws: Draws, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """m and price of the best use of U jets at `ratio` times their compute, shape (draws, points).

    At the compute C_U whose best single pass sees U jets, α a = β b (arXiv:2203.15556, Eq. 4) for
    the terms a of N and b of D. With n times its N and e = r/n passes, u/b = (β/α) n^−α + gain^−β,
    which is (1 + β/α) at r = 1; single passes reach that u at C₁/C_U = (u_U/u)^{1/α + 1/β}, on
    m = (C₁/C_U)^{α/(α+β)} times the jets.
    """
    alpha, beta = draws.alpha[:, None], draws.beta[:, None]

    def log_u(log_size: np.ndarray) -> np.ndarray:
        passes = np.maximum(ratio * np.exp(-log_size), 1.0)
        spare = draws.omega[:, None] - 1.0
        gain = 1.0 - spare * np.expm1(-(passes - 1.0) / spare)
        return np.asarray(np.log(beta / alpha * np.exp(-alpha * log_size) + gain**-beta))

    top = np.broadcast_to(np.log(ratio), (len(alpha), len(ratio)))
    best = log_u(golden_section(log_u, np.zeros_like(top), top))
    log_single = (np.log1p(beta / alpha) - best) * (1.0 / alpha + 1.0 / beta)
    more = np.exp(log_single * alpha / (alpha + beta))
    return more, np.exp(np.log(ratio) - log_single)


def compute_at(draws: Draws, price: float) -> np.ndarray:
    """Ratio of compute at which the price reaches `price`, shape (draws,); inf if far."""
    ratio = np.geomspace(1.0, 1e7, 500)
    dear = reached(draws, ratio)[1] >= price
    return np.where(dear.any(axis=1), ratio[np.argmax(dear, axis=1)], np.inf)


def dearest_repeat(draws: Draws, runs: pd.DataFrame) -> float:
    """Largest compute of a repeated run over that of the best single pass on its jets, median."""
    again = runs[runs["passes"] > 1.0]
    log_unique = np.log(again["unique_samples"].to_numpy())
    columns = draws.columns("log_A", "log_B", "alpha", "beta")
    alpha, beta = columns["alpha"], columns["beta"]
    balance = np.log(alpha / beta) + columns["log_A"] - columns["log_B"]
    single = draws.flops_per_param_sample * np.exp(
        (balance + beta * log_unique) / alpha + log_unique
    )
    return float((again["flops"].to_numpy() / np.median(single, axis=0)).max())


def price_of(draws: Draws, more: float) -> np.ndarray:
    """Price of the loss of `more` times the jets, shape (draws,); infinite if out of reach."""
    ratio = np.geomspace(1.0, 1e5, 300)
    reach, price = reached(draws, ratio)
    at = np.argmax(reach >= more, axis=1)
    found = price[np.arange(len(at)), at]
    return np.where(reach[:, -1] >= more, found, np.inf)


def table_of(posterior: xr.DataTree) -> pd.DataFrame:
    """ω, the gain of passes, the data gain and price at each ratio, and the price of ×3 jets."""
    parts = []
    for group in group_names(posterior):
        draws = group_draws(posterior, group)
        more, price = reached(draws, np.array(RATIOS))
        values = {
            ("omega", np.nan): draws.omega,
            ("price_of_jets", MATCH): price_of(draws, MATCH),
            ("compute_at_price", PRICE): compute_at(draws, PRICE),
            **dict(by_point("gain_of_passes", PASSES, repetition_gain(draws, PASSES))),
            **dict(by_point("jets_at_compute", RATIOS, more)),
            **dict(by_point("price_at_compute", RATIOS, price)),
        }
        # The nearest draw, for a price out of reach is infinite and cannot be interpolated.
        rows = [np.quantile(v, QUANTILES, method="nearest") for v in values.values()]
        part = pd.DataFrame(rows, columns=COLUMNS)
        part[["quantity", "at"]] = list(values)
        parts.append(part.assign(group=group, repeated_runs=repeated(posterior, group)))
    whole = pd.concat(parts, ignore_index=True)
    return whole[["group", "repeated_runs", "quantity", "at", *COLUMNS]]


def by_point(
    name: str, points: tuple[float, ...], values: np.ndarray
) -> list[tuple[tuple[str, float], np.ndarray]]:
    """A row's key and draws for each point."""
    return [((name, point), values[:, i]) for i, point in enumerate(points)]


def band(ax: Axes, x: np.ndarray, values: np.ndarray, colour: str, **line: object) -> None:
    """Median and 68 % band of draws, shape (draws, points)."""
    low, middle, high = quantiles(values)[[1, 2, 3]]
    ax.fill_between(x, low, high, color=colour, alpha=0.22, lw=0)
    ax.plot(x, middle, color=colour, **line)  # type: ignore[arg-type]


def draw_compute(ax: Axes, draws: Draws, runs: pd.DataFrame) -> None:
    """Loss against total compute for fixed jets, and the compute-optimal single pass."""
    end = draws.largest_flops
    flops = np.geomspace(draws.smallest_flops, end * 10.0, 25)
    for cap, colour in zip((None, *CAPS), ("black", *COLOURS), strict=False):
        plans = best_plans(draws, flops, unique_cap=cap)
        columns = ("params", "unique_samples", "epochs")
        at = {name: np.array([getattr(plan, name) for plan in plans]) for name in columns}
        loss = loss_draws(draws, at.pop("params"), **at)
        label = "fresh jets, compute-optimal" if cap is None else f"{cap:,.0f} jets, best N, passes"
        band(ax, flops, loss, colour, lw=1.5, label=label)
        own = runs[runs["unique_samples"] == cap] if cap else runs[runs["passes"] == 1.0]
        again = own[own["passes"] > 1.0] if cap else own
        mark = (
            {"s": 6, "color": "0.6"} if cap is None else {"s": 20, "marker": "D", "color": colour}
        )
        ax.scatter(again["flops"], again["loss"], zorder=1 if cap is None else 3, lw=0, **mark)
    ax.axvline(end, color="black", lw=0.9, ls=":")
    ax.annotate("dearest run", (end, 0.97), **up_there(ax))
    ax.set_xscale("log")
    ax.set_ylim(top=2.3)
    ax.set_xlabel("training compute $C$ [FLOP], repeats included")
    ax.set_ylabel("validation loss $L$ [nat]")
    ax.set_title(f"{draws.group}; dots: runs, one pass; diamonds: repeated", fontsize=9)
    ax.legend(fontsize=7, frameon=False, loc="lower left")


def up_there(ax: Axes) -> dict[str, object]:
    """Where and how a vertical line is named."""
    return {
        "xycoords": ax.get_xaxis_transform(),
        "xytext": (-2, 0),
        "textcoords": "offset points",
        "rotation": 90,
        "ha": "right",
        "va": "top",
        "fontsize": 7,
    }


def draw_jets(ax: Axes, draws: Draws, runs: pd.DataFrame) -> None:
    """Loss against distinct jets of the largest repeated network: one, 16 and unending passes."""
    again = runs[runs["passes"] > 1.0]
    size = float(again["params"].max())
    unique = np.geomspace(runs["unique_samples"].min(), runs["unique_samples"].max() * 10, 30)
    marked = {1.0: "one pass", 16.0: "16 passes", FOREVER: "passes without end (ω)"}
    for (passes, label), colour in zip(marked.items(), COLOURS, strict=False):
        style = {"lw": 1.5, "ls": ":" if passes == FOREVER else "-"}
        loss = loss_draws(draws, size, unique_samples=unique, epochs=passes)
        band(ax, unique, loss, colour, label=label, **style)
    own = runs[(runs["params"] == size) & (runs["passes"] == 1.0)]
    ax.scatter(own["samples"], own["loss"], color=COLOURS[0], s=20, zorder=3)
    best = again.loc[again.groupby("unique_samples")["loss"].idxmin()]
    style = {"color": COLOURS[1], "s": 24, "marker": "D", "zorder": 3}
    ax.scatter(best["unique_samples"], best["loss"], label="best repeated run, any N", **style)
    for name, part in (("repeated runs", again), ("runs", runs)):
        end = part["unique_samples"].max()
        ax.axvline(end, color="black", lw=0.9, ls=":")
        ax.annotate(f"{name} end", (end, 0.97), **up_there(ax))
    ax.set_xscale("log")
    ax.set_ylim(top=2.3)
    ax.set_xlabel("distinct jets $U$")
    ax.set_ylabel("validation loss $L$ [nat]")
    ax.set_title(f"{draws.group}, N = {size:,.0f}", fontsize=9)
    ax.legend(fontsize=7, frameon=False, loc="lower left")


def draw_gain(ax: Axes, posterior: xr.DataTree) -> None:
    """Effective data gain of e passes for each group."""
    passes = np.geomspace(1.0, 300.0, 60)
    for group, colour in zip(group_names(posterior), COLOURS, strict=False):
        gain = repetition_gain(group_draws(posterior, group), passes)
        band(ax, passes, gain, colour, lw=1.5, label=f"{group}, {repeated(posterior, group)} runs")
    ax.plot(passes, passes, color="0.4", lw=0.8, ls="--", label="as good as fresh jets")
    last = max(runs_of(posterior, name)["passes"].max() for name in group_names(posterior))
    ax.axvline(last, color="black", lw=0.9, ls=":")
    ax.annotate("most passes of a run", (last, 0.97), **up_there(ax))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(0.9, 60.0)
    ax.set_xlabel("passes $e$")
    ax.set_ylabel("effective data gain $D_{eff}/U$")
    ax.legend(fontsize=7, frameon=False, loc="upper left", title="repeated runs", title_fontsize=7)


def draw_omega(ax: Axes, posterior: xr.DataTree) -> None:
    """Posterior of ω for each group beside its prior."""
    bins = np.geomspace(1.5, 100.0, 60)
    prior = posterior["prior"].to_dataset()["omega"].values.reshape(-1)
    for group, colour in zip(group_names(posterior), COLOURS, strict=False):
        values = group_draws(posterior, group).omega
        share = np.full(len(values), 1.0 / len(values))
        ax.hist(values, bins, weights=share, color=colour, alpha=0.45, label=group)
    share = np.full(len(prior), 1.0 / len(prior))
    ax.hist(prior, bins, weights=share, histtype="step", color="0.3", ls="--", label="prior")
    ax.set_xscale("log")
    ax.set_xlabel("$\\omega$, bound of the gain")
    ax.set_ylabel("share of the posterior")
    ax.legend(fontsize=7, frameon=False)


def mark_end(ax: Axes, end: float) -> None:
    """Name where the repeated runs end."""
    ax.axvline(end, color="black", lw=0.9, ls=":")
    ax.annotate("dearest repeated run", (end, 0.97), **up_there(ax))


def draw_price(ax: Axes, draws: Draws, end: float) -> None:
    """Price in compute, against compute spent over that of the best single pass."""
    _, price = reached(draws, CURVE)
    band(ax, CURVE, price, COLOURS[0], lw=1.5, label="this study, 68 %")
    ax.axhline(10.0, color="black", lw=0.9, ls="--", label="about ×10, arXiv:2602.15781")
    mark_end(ax, end)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("compute over that of the best single pass over $U$")
    ax.set_ylabel("compute over that of fresh jets, same loss")
    ax.set_title(f"price of repetition, {draws.group}", fontsize=9)
    ax.legend(fontsize=7, frameon=False)


def draw_more(ax: Axes, draws: Draws, end: float) -> None:
    """How many fresh jets the repeated ones are worth, against compute."""
    more, _ = reached(draws, CURVE)
    band(ax, CURVE, more, COLOURS[0], lw=1.5, label="this study, 68 %")
    ax.plot(
        10.0, 3.0, marker="*", ms=12, ls="", color="black", label="GN3's talk: up to ×3 for ×10"
    )
    mark_end(ax, end)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("compute over that of the best single pass over $U$")
    ax.set_ylabel("jets of an equally good single pass over $U$")
    ax.set_title(f"worth of repetition, {draws.group}", fontsize=9)
    ax.legend(fontsize=7, frameon=False)


def main() -> None:
    """Write the table, then the figure of the group with the most repeated runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("posterior", type=Path, help="posterior file of `isoflop fit`")
    posterior = load(parser.parse_args().posterior)
    table = table_of(posterior)
    with writing(HERE / "repetition.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.4g")
    group = max(group_names(posterior), key=lambda name: repeated(posterior, name))
    draws, runs = group_draws(posterior, group), runs_of(posterior, group)
    figure = Figure(figsize=(14.0, 8.0), layout="constrained")
    axes = figure.subplots(2, 3)
    draw_compute(axes[0, 0], draws, runs)
    draw_jets(axes[0, 1], draws, runs)
    draw_gain(axes[0, 2], posterior)
    draw_omega(axes[1, 0], posterior)
    end = dearest_repeat(draws, runs)
    draw_price(axes[1, 1], draws, end)
    draw_more(axes[1, 2], draws, end)
    save_figure(figure, HERE / "repetition.png")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}"))


if __name__ == "__main__":
    main()
