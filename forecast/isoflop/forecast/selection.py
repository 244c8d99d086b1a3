"""Choose runs one by one so that the expected variance of a forecast falls most for the compute.

With the covariance of a forecast t and of log losses y in cells (`beliefs`) and the variance of
what a run adds by chance, Σ, training the runs of a set S leaves in expectation

    Var(t | S) = Var t − Cov(t, y_S) (Cov(y_S) + Σ)^−1 Cov(y_S, t),

the posterior variance of a linear-Gaussian model (Chaloner and Verdinelli, Stat. Sci. 10 (1995)
273): linearised, and the same whatever the losses turn out to be. A greedy choice by the reduction
alone spends all on one dear run, one by the reduction per FLOP on a hundred cheap ones; so both are
made, and one between, and the set that leaves the least variance is kept.

A cell that is repeated with another seed tells of the same law and the same error of it: only the
chance of single runs is averaged. What repeats have in common, a share φ of the scatter, they
cannot average. A repeat at another learning rate can: it tells whether the cell was under-tuned.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isoflop.forecast.beliefs import Beliefs

POWERS = (0.0, 0.5, 1.0)
"""Powers of the cost by which the gain is divided in each greedy choice."""
NEGLIGIBLE = 0.01
"""Share of the best gain at hand below which a run is not considered, however cheap it is."""
RATE_SPREAD = 0.22
"""Uncertainty of the best log learning rate of a cell: its scatter about the rule of `rates`."""
RATE_FACTOR = 2.0
"""Factor between the learning rate of a check and that of the cell's other runs."""
RUN, CHECK = 0, 1

Gain = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Worth of an observation: covariance (1 + cells, 1 + cells), noise (kinds, cells) → as noise."""


@dataclass(frozen=True)
class Limits:
    """What a choice may spend and how often it may repeat a cell."""

    spend: float
    """Compute of all runs together, in FLOP."""
    runs: int = 20
    """Runs in all."""
    repeats: int = 3
    """Runs of one cell at its usual learning rate, those in the fit included."""
    checks: int = 1
    """Runs of one cell at another learning rate."""


@dataclass(frozen=True)
class Pick:
    """One chosen run."""

    cell: int
    """Row of the table of candidates."""
    kind: int
    """`RUN`, or `CHECK` of the learning rate."""
    repeat: int
    """Which run of its kind in this cell, from 0; those of the fit count."""
    variance: float
    """Variance of the forecast expected after this run and those before it."""


def choose(
    beliefs: Beliefs, costs: np.ndarray, limits: Limits, gain: "Gain | None" = None
) -> list[Pick]:
    """The best of the greedy choices by gain over cost to each of `POWERS`, (cells,) costs [FLOP].

    `gain` is the reduction of the forecast's variance unless another one is given.
    """
    worth = gain or variance_reduction
    paths = [_greedy(beliefs, costs, limits, worth, power) for power in POWERS]
    return max(paths, key=lambda path: path[0])[1]


def variance_reduction(covariance: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Fall of the forecast's variance by one observation of each cell, shape of `noise`."""
    own = np.diag(covariance)[1:]
    return np.asarray(covariance[0, 1:] ** 2 / (own + noise))


def observed(covariance: np.ndarray, cell: int, noise: float) -> np.ndarray:
    """The covariance after one observation of a cell with this variance of its noise."""
    column = covariance[:, 1 + cell]
    return np.asarray(covariance - np.outer(column, column) / (column[1 + cell] + noise))


def information(
    scatter: np.ndarray, runs: np.ndarray, checks: np.ndarray, common: float
) -> np.ndarray:
    """What the runs of a cell tell of its log loss by the law, 1/variance; 0 without a run.

    The mean of `runs` repeats has the variance φ σ² + (1−φ) σ²/runs. The common part is read as a
    tuning error ½ h δ² of the cell, δ ~ N(0, ρ²) the distance to the best log learning rate and
    h = √(2φ) σ/ρ². A check at a rate c times as large measures δ by L(cη) − L(η) = h (½ log²c −
    δ log c); if it leaves δ the variance r ρ², the tuning error is expected to keep the share
    r (2 − r) of its variance. That a check is also one more run is not counted.
    """
    alone = 1.0 - common
    steps = 2.0 * common * np.log(RATE_FACTOR) ** 2 / RATE_SPREAD**2 / max(alone, 1e-9)
    many = np.maximum(runs, 1)
    left = 1.0 / (1.0 + steps * checks / (1.0 + checks / many))
    variance = scatter * (common * left * (2.0 - left) + alone / many)
    return np.where(runs > 0, 1.0 / variance, 0.0)


def _greedy(
    beliefs: Beliefs, costs: np.ndarray, limits: Limits, gain: Gain, power: float
) -> tuple[float, list[Pick]]:
    """Runs chosen one by one, the largest gain over cost^power first; the sum of their gains."""
    covariance, left, total = beliefs.covariance, limits.spend, 0.0
    counts = np.stack([beliefs.trained, np.zeros_like(beliefs.trained)])
    most = np.array([[limits.repeats], [limits.checks]])
    price = (costs / costs.max()) ** power
    picks: list[Pick] = []
    while len(picks) < limits.runs:
        noise = _noise(beliefs, counts)
        open_ = (costs <= left) & (counts < most) & np.isfinite(noise)
        gains = np.where(open_, gain(covariance, np.where(open_, noise, 1.0)), 0.0)
        gains[gains < NEGLIGIBLE * gains.max()] = 0.0
        if not gains.any():
            break
        kind, cell = np.unravel_index(np.argmax(gains / price), gains.shape)
        covariance = observed(covariance, int(cell), float(noise[kind, cell]))
        repeat, left = int(counts[kind, cell]), left - costs[cell]
        counts[kind, cell] += 1
        total += float(gains[kind, cell])
        picks.append(Pick(int(cell), int(kind), repeat, float(covariance[0, 0])))
    return total, picks


def _noise(beliefs: Beliefs, counts: np.ndarray) -> np.ndarray:
    """Variance of the noise of one more run, and of one more check, of each cell, (2, cells).

    Information adds up: an observation that raises it by Δ is one with noise 1/Δ. ∞ if by nothing.
    """
    runs, checks = counts
    now = information(beliefs.scatter, runs, checks, beliefs.common)
    more = [
        information(beliefs.scatter, runs + 1, checks, beliefs.common),
        information(beliefs.scatter, runs, checks + 1, beliefs.common),
    ]
    added = np.stack(more) - now
    return np.where(added > 1e-9 * now, 1.0 / np.maximum(added, 1e-300), np.inf)
