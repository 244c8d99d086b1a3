"""How good a forecast was: scores of predicted log losses against the observed ones, in per cent.

A difference of log losses times 100 is a relative error in per cent. Predictions are draws of new
runs, shape (draws, runs).
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

LEVELS = (0.025, 0.16, 0.5, 0.84, 0.975)
BANDWIDTH = 0.9
"""Silverman's rule of thumb for the kernel of the log score."""


@dataclass(frozen=True)
class Score:
    """Scores of one set of runs."""

    mae: float
    """Mean absolute error of the median, in per cent of the loss."""
    bias: float
    """Mean error of the median, predicted over observed in per cent; positive if pessimistic."""
    coverage_68: float
    """Share of the runs within the central 68 % interval."""
    coverage_95: float
    """Share of the runs within the central 95 % interval."""
    width_95: float
    """Mean width of the 95 % interval, in per cent."""
    crps: float
    """Mean continuous ranked probability score, in per cent (Gneiting & Raftery 2007)."""
    log_score: float
    """Mean log density of the observed log loss; the higher the better."""


def score(predicted: np.ndarray, observed: np.ndarray) -> Score:
    """Score draws of log loss, shape (draws, runs), against observed log losses, shape (runs,)."""
    low_95, low_68, median, high_68, high_95 = np.quantile(predicted, LEVELS, axis=0)
    error = median - observed
    return Score(
        mae=float(100.0 * np.abs(error).mean()),
        bias=float(100.0 * error.mean()),
        coverage_68=float(((low_68 <= observed) & (observed <= high_68)).mean()),
        coverage_95=float(((low_95 <= observed) & (observed <= high_95)).mean()),
        width_95=float(100.0 * (high_95 - low_95).mean()),
        crps=float(100.0 * crps(predicted, observed).mean()),
        log_score=float(log_density(predicted, observed).mean()),
    )


def crps(predicted: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """E|X − y| − E|X − X'|/2 of each run from draws X, shape (runs,); exact for the draws."""
    ordered = np.sort(predicted, axis=0)
    n = len(ordered)
    # Σ|x_i − x_j| over pairs is a weighted sum of the ordered values.
    weight = 2.0 * np.arange(1, n + 1) - n - 1.0
    return np.asarray(np.abs(ordered - observed).mean(axis=0) - weight @ ordered / n**2)


def log_density(predicted: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Log density at the observed values by a Gaussian kernel over the draws, shape (runs,)."""
    low, high = np.quantile(predicted, (0.25, 0.75), axis=0)
    spread = np.minimum(predicted.std(axis=0), (high - low) / 1.349)
    width = np.maximum(BANDWIDTH * spread * len(predicted) ** -0.2, 1e-12)
    kernel = -0.5 * ((observed - predicted) / width) ** 2 - np.log(width * np.sqrt(2.0 * np.pi))
    return np.asarray(special.logsumexp(kernel, axis=0) - np.log(len(predicted)))
