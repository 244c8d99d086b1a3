"""What posterior draws say of runs: log-likelihood and replicated losses, in NumPy.

Both follow from the draws of the law's parameters by broadcasting, so nothing is compiled.
Arrays have shape (chain, draw, run); leading axes are kept as they are.
"""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from isoflop.inference import laws
from isoflop.inference.model import WRONG_NU, WRONG_SCALE, RunData
from isoflop.inference.posterior import LAW_VARIABLES

_ERROR_SITES = ("walk", "walls", "sigma", "sigma_slope", "rho", "nu")
_PIECES = 4
Draws = Mapping[str, np.ndarray]


def expected_log_loss(draws: Draws, data: RunData) -> np.ndarray:
    """log V of the law and its error within the runs, for every draw and run; no scatter."""
    walk, walls = (np.asarray(draws[name])[..., data.group, :] for name in ("walk", "walls"))
    errors = [(data.hats[:, k], walk[..., k]) for k in range(laws.KNOTS)]
    errors += [(data.lost[:, side], walls[..., side]) for side in range(laws.SIDES)]
    return laws.expected_log_value(_run(data), _theta(draws, data), final=data.final, errors=errors)


def _run(data: RunData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return data.params, data.unique_samples, data.epochs


def log_likelihood(draws: Draws, data: RunData) -> np.ndarray:
    """Log density of each run's log loss under each draw."""
    return np.concatenate([_log_likelihood(piece, data) for piece in _pieces(draws)])


def _log_likelihood(draws: Draws, data: RunData) -> np.ndarray:
    mean, scale, nu = _student_t(draws, data)
    right = stats.t.logpdf(np.log(data.loss), nu, loc=mean, scale=scale)
    wrong = stats.t.logpdf(np.log(data.loss), WRONG_NU, loc=mean, scale=WRONG_SCALE)
    share = data.wrong
    return np.asarray(np.logaddexp(np.log1p(-share) + right, np.log(share) + wrong))


def replicated_loss(
    draws: Draws, data: RunData, *, ceiling: float = np.inf, seed: int
) -> np.ndarray:
    """One new loss [nat] for each draw and run: the law's, its drift and the scatter of runs."""
    log_value = replicated_log_value(draws, data, seed=seed)
    # Heavy tails reach beyond what an exponential can hold.
    return np.asarray(laws.bounded(np.exp(np.clip(log_value, -500.0, 500.0)), ceiling))


def replicated_log_value(draws: Draws, data: RunData, *, seed: int) -> np.ndarray:
    """One new log V for each draw and run.

    The drift is one standard normal a draw and group, so that runs of a group err together.
    """
    parts = zip(*(_student_t(piece, data) for piece in _pieces(draws)), strict=True)
    mean, scale, nu = map(np.concatenate, parts)
    rng = np.random.default_rng(seed)
    value = mean + scale * rng.standard_t(np.broadcast_to(nu, mean.shape))
    if data.decades.any():
        walk = rng.normal(size=(*mean.shape[:-1], len(data.level)))[..., data.group]
        value = value + np.asarray(draws["kappa"])[..., None] * walk * drift(draws, data)
    return np.asarray(value)


def drift(draws: Draws, data: RunData) -> np.ndarray:
    """Scale of the law's own error for every draw and run, at κ = 1."""
    return np.asarray(laws.drift(data.decades, *_run(data), **_theta(draws, data)))


def _pieces(draws: Draws) -> list[Draws]:
    """The draws in a few pieces along their first axis.

    Several numbers of each draw and run are held on the way to one: of 4000 draws and runs, 2 GB.
    """
    used = {name: np.asarray(draws[name]) for name in (*LAW_VARIABLES, *_ERROR_SITES)}
    places = np.array_split(np.arange(len(used["sigma"])), _PIECES)
    return [{name: site[part] for name, site in used.items()} for part in places if len(part)]


def _theta(draws: Draws, data: RunData) -> dict[str, np.ndarray]:
    """The law's parameters of each run."""
    return {name: np.asarray(draws[name])[..., data.group] for name in LAW_VARIABLES}


def _student_t(draws: Draws, data: RunData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Location, scale and degrees of freedom of the runs' log losses, per draw."""
    sigma, slope, rho, nu = (
        np.asarray(draws[name])[..., None] for name in ("sigma", "sigma_slope", "rho", "nu")
    )
    samples, reference = data.unique_samples * data.epochs, np.exp(data.centre[1])
    own = laws.scatter(samples, sigma=sigma, sigma_slope=slope, reference=reference)
    off = rho * data.lost.sum(axis=-1)
    scale = np.sqrt(own**2 + off**2 + data.relative_stderr**2)
    return expected_log_loss(draws, data), np.asarray(scale), nu
