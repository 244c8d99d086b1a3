"""What the studies of the jets' fit share: a posterior comes in, a table and a figure go out.

The script of a study makes the table that its page quotes, then draws. It is run as a module, from
the repository's root:

    python -m studies.inputs.draw build/studies/posterior.nc
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isoflop.files import writing
from isoflop.forecast.figures import save_figure
from isoflop.forecast.predict import Draws, quantiles
from isoflop.inference.posterior import load

COLUMNS = ["low_95", "low_68", "median", "high_68", "high_95"]
"""What a table calls the five quantiles of `isoflop.forecast.predict`."""


def read_posterior(description: str | None) -> xr.DataTree:
    """The posterior that the command line names; `description` is the script's docstring."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("posterior", type=Path, help="posterior file of `isoflop fit`")
    return load(parser.parse_args().posterior)


def write_study(script: str, table: pd.DataFrame, figure: Figure, *, digits: int = 4) -> None:
    """Write NAME.csv and NAME.png beside the script, NAME its folder's; print the table."""
    folder = Path(script).parent
    with writing(folder / f"{folder.name}.csv") as temporary:
        table.to_csv(temporary, index=False, float_format=f"%.{digits}g")
    save_figure(figure, folder / f"{folder.name}.png")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}"))


def fitted_runs(posterior: xr.DataTree) -> pd.DataFrame:
    """Runs of the fit: run, group, params, samples, unique_samples, passes, flops, loss [nat]."""
    constant = posterior["constant_data"].to_dataset()
    names = ("run", "params", "samples", "unique_samples", "flops")
    runs = pd.DataFrame({name: constant[name].values for name in names})
    runs["group"] = constant["run_group"].values.astype(str)
    runs["passes"] = runs["samples"] / runs["unique_samples"]
    runs["loss"] = posterior["observed_data"].to_dataset()["loss"].values
    return runs


def once_through(posterior: xr.DataTree) -> pd.DataFrame:
    """Those of `fitted_runs` that saw every jet once."""
    runs = fitted_runs(posterior)
    return runs[runs["passes"] == 1.0]


def params_at(draws: Draws, samples: np.ndarray) -> np.ndarray:
    """N* of each draw where D* is `samples`, shape (draws, points).

    There α A N^−α = β B D^−β (arXiv:2203.15556, Eq. 4).
    """
    terms = draws.columns("log_A", "log_B", "alpha", "beta")
    alpha, beta = terms["alpha"], terms["beta"]
    balance = np.log(alpha / beta) + terms["log_A"] - terms["log_B"]
    return np.asarray(np.exp((balance + beta * np.log(samples)) / alpha))


def draw_band(ax: Axes, x: np.ndarray, values: np.ndarray, colour: str, **line: object) -> None:
    """Median and 68 % band of draws, shape (draws, points)."""
    low, middle, high = quantiles(values)[[1, 2, 3]]
    ax.fill_between(x, low, high, color=colour, alpha=0.22, lw=0)
    ax.plot(x, middle, color=colour, **line)  # type: ignore[arg-type]


def mark_end(ax: Axes, x: float, name: str) -> None:
    """A dotted vertical line with its name along it."""
    ax.axvline(x, color="black", lw=0.9, ls=":")
    ax.annotate(
        name,
        (x, 0.97),
        xycoords=ax.get_xaxis_transform(),
        xytext=(-3, 0),
        textcoords="offset points",
        rotation=90,
        ha="right",
        va="top",
        fontsize=8,
    )
