"""What a posterior believes of runs to be trained and of a forecast: their joint covariance.

The log loss of a run in a cell is that of the law, plus the law's own error, plus the scatter of
runs. The first two are uncertain in common with the forecast, and their covariance is what a run
can teach. It has two parts:

* the law and its error within the runs, from the draws of the posterior;
* the law's error beyond them, in closed form: a random walk in log compute that starts at the
  dearest run of the group, so Cov(w_a, w_b) = E[κ² f_a f_b] · min(d_a, d_b) with d the decades of
  compute beyond that run and f the fall of log loss per decade. Runs at nearby compute share it.

The law also errs with the shape of a run, N/D, and of that the fit knows nothing. The same walk is
taken sideways, from the shape of the forecast: √10 times the parameters on 1/√10 of the samples are
as far as a decade of compute. So a run of another shape counts for less than the draws alone say.

The forecast t enters by its draws and by its slopes in that error: linearised.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from isoflop.forecast.candidates import cell_keys, fitted_cells
from isoflop.forecast.goals import Goal
from isoflop.forecast.predict import Draws, group_draws, loss_draws, scatter_scale
from isoflop.inference import laws
from isoflop.inference.posterior import LAW_VARIABLES

SIDEWAYS = 1.0
"""Variance of the law's error in the shape of a run over that in its compute."""
PRIOR_REPEATS = 4.0
"""Weight, in repeats, of the belief that repeats of a cell scatter like different cells."""


@dataclass(frozen=True)
class Beliefs:
    """Second moments of a forecast and of log losses in cells."""

    covariance: np.ndarray
    """Shape (1 + cells, 1 + cells), the forecast first; the scatter of runs is not in it."""
    scatter: np.ndarray
    """Variance of one run's log loss about what the law and its error say, (cells,)."""
    trained: np.ndarray
    """Runs that each cell has in the fit already, shape (cells,)."""
    common: float
    """Share of the scatter that repeats of a cell have in common."""


def believe(posterior: xr.DataTree, cells: pd.DataFrame, goal: Goal) -> Beliefs:
    """The covariance of a goal and of the cells of a candidate table, and the scatter of runs."""
    draws = {group: group_draws(posterior, group) for group in _groups(cells, goal.runs)}
    law = np.column_stack([goal.values, log_losses(draws, cells)])
    covariance = np.atleast_2d(np.cov(law, rowvar=False)) + _walk_covariance(draws, cells, goal)
    seen = cell_keys(fitted_cells(posterior)).value_counts()
    return Beliefs(
        covariance=covariance,
        scatter=_per_cell(draws, cells, scatter_variance),
        trained=cell_keys(cells).map(seen).fillna(0).to_numpy(int),
        common=common_share(posterior),
    )


def log_losses(draws: dict[str, Draws], cells: pd.DataFrame) -> np.ndarray:
    """Log loss by the law and its error within the runs, shape (draws, cells)."""
    return _per_cell(draws, cells, _log_loss)


def scatter_variance(draws: Draws, cells: pd.DataFrame) -> np.ndarray:
    """Variance of a normal deviate that tells as much as a run of each cell does, (cells,).

    A Student-t observation has the Fisher information (ν+1)/(ν+3)/σ² about its centre. The mean of
    its inverse over the draws bounds the expected variance from above.
    """
    params, unique, epochs = (
        cells[name].to_numpy(float) for name in ("params", "unique_samples", "epochs")
    )
    sigma = scatter_scale(draws, params, unique_samples=unique, epochs=epochs)
    nu = draws.nu[:, None]
    return np.asarray(((nu + 3.0) / (nu + 1.0) * sigma**2).mean(axis=0))


def common_share(posterior: xr.DataTree) -> float:
    """Share of the scatter of runs that repeats of one cell have in common, from the fit's own.

    One less the variance within repeated cells over that about the law, both in units of σ². It is
    pulled to 0, runs that scatter one by one as in the model, by `PRIOR_REPEATS`; without any
    repeated cell it is 0.
    """
    runs = fitted_cells(posterior)
    groups = {name: group_draws(posterior, name) for name in runs["group"].unique()}
    value = laws.unbounded(runs["loss"].to_numpy(), posterior.attrs["ceiling"])
    scale = np.sqrt(_per_cell(groups, runs, scatter_variance))
    score = pd.Series(np.log(np.asarray(value)) / scale).groupby(cell_keys(runs).to_numpy())
    repeats = len(runs) - score.ngroups
    within = float(score.var().mul(score.size() - 1).sum())
    return float(np.clip(1.0 - (within + PRIOR_REPEATS) / (repeats + PRIOR_REPEATS), 0.0, 0.95))


def _walk_covariance(draws: dict[str, Draws], cells: pd.DataFrame, goal: Goal) -> np.ndarray:
    """Covariance of the forecast and the cells by the law's error beyond the runs."""
    points = pd.concat([cells, goal.runs], ignore_index=True)
    steps = _per_cell(draws, points, _walk_scale)
    steps[:, len(cells) :] *= goal.slopes
    decades = _per_cell(draws, points, _decades)
    group = points["group"].to_numpy(str)
    aside = _aside(points, goal.shape)
    same_side = np.sign(aside)[:, None] == np.sign(aside)
    shared = np.minimum.outer(decades, decades)
    shared += SIDEWAYS * same_side * np.minimum.outer(np.abs(aside), np.abs(aside))
    shared *= group[:, None] == group
    each = steps.T @ steps / len(steps) * shared
    # The forecast is the sum over its own runs; the cells stand for themselves.
    collect = np.zeros((1 + len(cells), len(points)))
    collect[0, len(cells) :] = 1.0
    collect[1:, : len(cells)] = np.eye(len(cells))
    return np.asarray(collect @ each @ collect.T)


def _log_loss(draws: Draws, cells: pd.DataFrame) -> np.ndarray:
    run = {name: cells[name].to_numpy(float) for name in ("unique_samples", "epochs")}
    loss = loss_draws(draws, cells["params"].to_numpy(float), **run)
    return np.asarray(np.log(laws.unbounded(loss, draws.ceiling)))


def _walk_scale(draws: Draws, cells: pd.DataFrame) -> np.ndarray:
    """κ times the fall of log loss per decade at the edge of the runs, shape (draws, cells)."""
    beyond = np.maximum(_decades(draws, cells), 1e-9)
    run = (cells[name].to_numpy(float) for name in ("params", "unique_samples", "epochs"))
    scale = laws.drift(beyond, *run, **draws.columns(*LAW_VARIABLES))
    return np.asarray(draws.kappa[:, None] * np.asarray(scale) / np.sqrt(beyond))


def _decades(draws: Draws, cells: pd.DataFrame) -> np.ndarray:
    """Decades of compute beyond the dearest run of the group; 0 within."""
    product = cells["params"] * cells["unique_samples"] * cells["epochs"]
    flops = draws.flops_per_param_sample * product.to_numpy(float)
    return np.asarray(np.maximum(np.log10(flops / draws.largest_flops), 0.0))


def _aside(cells: pd.DataFrame, shape: float) -> np.ndarray:
    """Decades of compute to which a cell's log₁₀(N/D) is away from a `shape`, with their sign."""
    samples = cells["unique_samples"] * cells["epochs"]
    return np.asarray((np.log10((cells["params"] / samples).to_numpy(float)) - shape) / 2.0)


def _per_cell(
    draws: dict[str, Draws],
    cells: pd.DataFrame,
    compute: Callable[[Draws, pd.DataFrame], np.ndarray],
) -> np.ndarray:
    """A function of the draws of a group and its cells, put together over groups; cells last."""
    group = cells["group"].to_numpy(str)
    parts = {name: compute(draws[name], cells[group == name]) for name in dict.fromkeys(group)}
    leading = next(iter(parts.values())).shape[:-1] if parts else ()
    whole = np.empty((*leading, len(cells)))
    for name, part in parts.items():
        whole[..., group == name] = part
    return whole


def _groups(*tables: pd.DataFrame) -> Sequence[str]:
    return list(dict.fromkeys(name for table in tables for name in table["group"]))
