"""Forecasts of runs that were made afterwards, beyond the compute of every fitted one.

    python -m studies.large_end.draw build/studies/posterior.nc

writes large_end.csv (losses), counts.csv (rejections and efficiencies) and large_end.png beside
this script.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from studies.study import COLUMNS, fitted_runs, mark_end, read_posterior, write_study

from isoflop.files import writing
from isoflop.forecast.check_figures import draw_interval
from isoflop.forecast.figures import ERROR_LABEL, styles_of
from isoflop.forecast.predict import (
    extrapolation_decades,
    group_draws,
    predictive_draws,
    quantiles,
)
from isoflop.inference.link import link_tables
from isoflop.inference.link_backtest import by_signal, count_scores
from isoflop.training.rates import learning_rate_rule
from isoflop.training.records import read_records

HERE = Path(__file__).parent
RECORDS = HERE / "records"


def main() -> None:
    """Write the tables and the figure."""
    posterior = read_posterior(__doc__)
    runs = read_records(RECORDS)
    loss, ruled = forecasts(posterior, runs), by_rule(runs)
    table = table_of(posterior, runs, loss)
    counts = counts_of(posterior, runs[ruled], loss[:, ruled])
    with writing(HERE / "counts.csv") as temporary:
        counts.to_csv(temporary, index=False, float_format="%.4g")
    print(counts.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    write_study(__file__, table, figure_of(posterior, table))


def forecasts(posterior: xr.DataTree, runs: pd.DataFrame) -> np.ndarray:
    """Loss of each run as the fit has it [nat], shape (draws, runs)."""
    drawn: dict[object, np.ndarray] = {}
    for group, own in runs.groupby("group"):
        size, unique, seen = (
            own[name].to_numpy(float) for name in ("params", "unique_samples", "samples")
        )
        draws = group_draws(posterior, str(group))
        loss = predictive_draws(draws, size, unique_samples=unique, epochs=seen / unique, seed=0)
        drawn.update(zip(own.index, loss.T, strict=True))
    return np.stack([drawn[place] for place in runs.index], axis=1)


def table_of(posterior: xr.DataTree, runs: pd.DataFrame, loss: np.ndarray) -> pd.DataFrame:
    """A row a run: what it is, its loss, the five quantiles of its forecast, and the error."""
    names = ["run_id", "group", "params", "unique_samples", "seed", "learning_rate", "flops"]
    table = runs[names].reset_index(drop=True)
    table.insert(4, "passes", (runs["samples"] / runs["unique_samples"]).to_numpy())
    table["by_rule"] = by_rule(runs)
    largest = {
        group: group_draws(posterior, group).largest_flops for group in runs["group"].unique()
    }
    table["decades"] = [
        extrapolation_decades(flops, largest[group])
        for flops, group in zip(runs["flops"], runs["group"], strict=True)
    ]
    table["loss"] = runs["loss"].to_numpy()
    table[COLUMNS] = quantiles(loss).T
    table["error_percent"] = 100.0 * (table["median"] / table["loss"] - 1.0)
    return table.sort_values(["group", "passes", "params", "learning_rate", "seed"])


def by_rule(runs: pd.DataFrame) -> np.ndarray:
    """Which runs have the learning rate of the rule, in their order."""
    width = runs["architecture"].str.extract(r"width=(\d+)")[0].astype(int)
    steps = (runs["samples"] // runs["batch_size"]).astype(int)
    ruled = [learning_rate_rule(w, t) for w, t in zip(width, steps, strict=True)]
    return np.asarray(np.isclose(runs["learning_rate"].to_numpy(float), ruled))


def counts_of(posterior: xr.DataTree, runs: pd.DataFrame, loss: np.ndarray) -> pd.DataFrame:
    """Forecasts of log R and of logit ε, given the forecast loss: a `LinkRow` a kind and signal."""
    rows = []
    points = pd.read_parquet(RECORDS / "working_points.parquet")
    for kind, table in link_tables(points, runs).items():
        place = pd.Index(runs["run_id"]).get_indexer(table["run_id"])
        link = posterior[f"link/{kind}"].to_dataset()
        scores = count_scores(link, table, loss=loss[:, place])
        rows += [{"kind": kind, **found} for found in by_signal(scores)]
    return pd.DataFrame(rows)


# --- the figure -----------------------------------------------------------------------------------


def figure_of(posterior: xr.DataTree, table: pd.DataFrame) -> Figure:
    """Losses against compute, and the error of each forecast."""
    figure = Figure(figsize=(10.0, 6.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.1))
    draw_losses(left, fitted_runs(posterior), table[table["by_rule"]])
    draw_errors(right, table[table["by_rule"]])
    return figure


def draw_losses(ax: Axes, fitted: pd.DataFrame, new: pd.DataFrame) -> None:
    """Loss against compute: fitted runs small, new ones large with the interval they were given."""
    styles = styles_of(sorted(new["group"].unique()))
    for group, (colour, marker) in styles.items():
        old, own = fitted[fitted["group"] == group], new[new["group"] == group]
        ax.scatter(old["flops"], old["loss"], s=5, color=colour, alpha=0.35, lw=0)
        ax.vlines(own["flops"], own["low_95"], own["high_95"], color=colour, lw=1.0, alpha=0.8)
        for again, face in ((False, colour), (True, "white")):
            one = own[(own["passes"] > 1.0) == again]
            ax.plot(one["flops"], one["loss"], ls="", marker=marker, ms=5, mfc=face, mec=colour)
    mark_end(ax, float(fitted["flops"].max()), "dearest fitted run")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ticks = [0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 1.9]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("training compute $C$ [FLOP]")
    ax.set_ylabel("loss $L$ [nat]")
    ax.set_title("pale: fitted runs", fontsize=10)
    handles = [
        Line2D([], [], ls="", marker=marker, color=colour, label=group)
        for group, (colour, marker) in styles.items()
    ]
    handles.append(Line2D([], [], ls="", marker="o", mfc="white", mec="0.3", label="repeated jets"))
    handles.append(Line2D([], [], color="0.3", lw=1.0, label="95 % of the forecast"))
    ax.legend(handles=handles, fontsize=8, frameon=False, loc="lower left")


def draw_errors(ax: Axes, new: pd.DataFrame) -> None:
    """Error of the forecast of each new run with its 68 and 95 % intervals."""
    styles = styles_of(sorted(new["group"].unique()))
    labels = []
    for place, run in enumerate(new.to_dict("records")):
        errors = 100.0 * (np.array([run[name] for name in COLUMNS]) / run["loss"] - 1.0)
        draw_interval(ax, place, errors, *styles[run["group"]])
        passes = f" ×{run['passes']:.0f}" if run["passes"] > 1 else ""
        labels.append(f"{run['group']} {size(run['params'])}{passes}")
    ax.axvline(0.0, color="black", lw=0.8)
    ax.set_yticks(range(len(new)), labels, fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel(ERROR_LABEL)
    ax.set_title("runs made afterwards, by group and N; 68 and 95 %", fontsize=10)


def size(params: float) -> str:
    """N as 106k or 1.7M."""
    return f"{params / 1e6:.1f}M" if params >= 1e6 else f"{params / 1e3:.0f}k"


if __name__ == "__main__":
    main()
