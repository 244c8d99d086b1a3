"""The least variance of a forecast that any choice of runs could be expected to leave.

With w the information [1/variance] that is bought of each cell, the variance that is left,

    V(w) = Var t − Cov(t, y) W½ (1 + W½ Cov(y) W½)⁻¹ W½ Cov(y, t),   W = diag w,

is convex in w. Where runs may be bought by halves the feasible w form a polytope that holds every
choice of whole runs, so the least V on it is a bound. It is approached by conditional gradients
(Frank and Wolfe, Nav. Res. Logist. Q. 3 (1956) 95), whose linear steps tell how far it still is:
V(w) + min over v of ∇V(w)·(v − w) lies below every V. So what is returned is a bound also where the
search ends early.
"""

import numpy as np
from scipy import optimize

from isoflop.forecast.beliefs import Beliefs
from isoflop.forecast.selection import Limits, information

STEPS, HALVINGS = 200, 12
"""Steps at most, and bisections of the length of each."""
NEAR = 0.005
"""Share of the variance left within which the bound is to be known."""


def least_variance(beliefs: Beliefs, costs: np.ndarray, limits: Limits) -> float:
    """A variance below which no choice of runs under the limits is expected to bring a forecast.

    `costs` are those of a run of each cell, (cells,) in FLOP. What is bought of a cell is at most
    what its repeats and checks tell together, and each of these at most what the best of them does.
    """
    most, each = _worth(beliefs, limits)
    able = (costs <= limits.spend) & (most > 0.0)
    if not able.any() or limits.runs < 1:
        return float(beliefs.covariance[0, 0])
    rows = np.concatenate([[True], able])
    covariance, most, each = beliefs.covariance[np.ix_(rows, rows)], most[able], each[able]
    # The cells differ by decades in their costs and their noise: everything in its own unit.
    ceilings = np.stack([costs[able] / limits.spend, np.full(len(most), 1.0 / limits.runs)])
    polytope = {"A_ub": ceilings * (most / each), "b_ub": np.ones(2), "bounds": (0.0, 1.0)}
    bought, bound = np.zeros(len(most)), -np.inf
    for _ in range(STEPS):
        variance, slope = _left(covariance, most, bought)
        if not slope.any():  # no cell tells anything of the forecast
            return variance
        corner = optimize.linprog(slope / -slope.min(), **polytope).x
        bound = max(bound, variance + float(slope @ (corner - bought)))
        if variance - bound < NEAR * variance:
            break
        bought = bought + _length(covariance, most, bought, corner) * (corner - bought)
    return max(bound, 0.0)


def _worth(beliefs: Beliefs, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
    """What each cell has left to tell, 1/variance, and the most that one of its runs does."""
    now = information(beliefs.scatter, beliefs.trained, np.zeros(1), beliefs.common)
    most, each = np.zeros(len(now)), np.full(len(now), 1e-300)
    for more in range(limits.repeats + 1):
        for checks in range(limits.checks + 1):
            runs = beliefs.trained + more
            told = information(beliefs.scatter, runs, np.full(1, checks), beliefs.common) - now
            told = np.where(runs <= np.maximum(limits.repeats, beliefs.trained), told, 0.0)
            most = np.maximum(most, told)
            each = np.maximum(each, told / max(more + checks, 1))
    return most, each


def _left(covariance: np.ndarray, most: np.ndarray, bought: np.ndarray) -> tuple[float, np.ndarray]:
    """The variance left with shares `bought` of `most` information, and its slopes, (cells,)."""
    own = np.flatnonzero(bought)  # few of many cells
    root, seen = np.sqrt((most * bought)[own]), covariance[:, 1 + own]
    inner = np.eye(len(own)) + root[:, None] * seen[1 + own] * root
    left = covariance[0] - seen @ (root * np.linalg.solve(inner, root * seen[0]))
    return float(left[0]), -most * left[1:] ** 2


def _length(
    covariance: np.ndarray, most: np.ndarray, bought: np.ndarray, corner: np.ndarray
) -> float:
    """Share of the way to a corner at which the variance is least."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        _, slope = _left(covariance, most, bought + middle * (corner - bought))
        low, high = (middle, high) if slope @ (corner - bought) < 0.0 else (low, middle)
    return 0.5 * (low + high)
