"""What posterior draws say of runs: log-likelihood and replicated losses, in NumPy.

Both follow from the draws of the law's parameters by broadcasting, so nothing is compiled.
Arrays have shape (chain, draw, run).
"""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from isoflop.inference import laws
from isoflop.inference.model import RunData
from isoflop.inference.posterior import LAW_VARIABLES, NOISE_VARIABLES

Draws = Mapping[str, np.ndarray]


def expected_log_loss(draws: Draws, data: RunData) -> np.ndarray:
    """log L of the law for every draw and run, before the scatter of runs."""
    theta = {name: np.asarray(draws[name])[..., data.group] for name in LAW_VARIABLES}
    mean = laws.loss(data.params, data.unique_samples, data.epochs, **theta)
    return np.asarray(np.log(mean))


def log_likelihood(draws: Draws, data: RunData) -> np.ndarray:
    """Log density of each run's log loss under each draw."""
    mean, scale, nu = _student_t(draws, data)
    return np.asarray(stats.t.logpdf(np.log(data.loss), nu, loc=mean, scale=scale))


def replicated_loss(draws: Draws, data: RunData, *, seed: int) -> np.ndarray:
    """One new loss [nat] for each draw and run: the law's, with the scatter of runs."""
    mean, scale, nu = _student_t(draws, data)
    noise = np.random.default_rng(seed).standard_t(np.broadcast_to(nu, mean.shape))
    return np.asarray(np.exp(mean + scale * noise))


def _student_t(draws: Draws, data: RunData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Location, scale and degrees of freedom of the runs' log losses, per draw."""
    sigma, slope, nu = (np.asarray(draws[name])[..., None] for name in NOISE_VARIABLES)
    samples, reference = data.unique_samples * data.epochs, np.exp(data.centre[1])
    own = laws.scatter(samples, sigma=sigma, sigma_slope=slope, reference=reference)
    return expected_log_loss(draws, data), np.hypot(np.asarray(own), data.relative_stderr), nu
