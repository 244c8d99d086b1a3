"""How fast the law's error grows beyond the runs: refit on the cheaper ones, look at the dearer.

No law is exact, and a posterior under one says nothing of its error. The table itself does: cut it
at a third and a tenth of its largest compute, fit what is below, and see by how much the runs above
are missed. The errors, in units of `laws.drift`, inform κ together with its prior; κ then widens
every forecast beyond the runs. The refits use the normal approximation at the mode: they only have
to be as wrong as the law is.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from isoflop.inference import predictive
from isoflop.inference.laws import Law
from isoflop.inference.model import group_names, new_runs, run_data
from isoflop.inference.priors import Normal, Priors
from isoflop.inference.sampler import find_mode, laplace_draws
from isoflop.inference.targets import padded_target

CUTOFFS = (3.0, 10.0)
"""Each refit sees the runs of a group below its largest compute over this."""
MIN_FITTED = 8
"""Runs that a group must keep below a cut-off for its errors above it to count."""
DRAWS = 400
TAIL = 8.0
"""Degrees of freedom of an error given κ: groups of one table drift by different amounts."""
GRID = np.linspace(-4.0, 4.0, 401)
"""Standard deviations of the prior of log κ at which its density is evaluated."""


@dataclass(frozen=True)
class RollingErrors:
    """Runs that a refit on cheaper ones predicted, arrays of shape (predictions,)."""

    run: np.ndarray
    """`run_id`."""
    group: np.ndarray
    """Group of the run."""
    cutoff: np.ndarray
    """Factor below the largest compute of the group at which the refit was cut."""
    decades: np.ndarray
    """Decades of compute beyond the runs of the refit."""
    error: np.ndarray
    """Median of the predicted log loss minus the observed one."""
    spread: np.ndarray
    """Half the 68 % interval of the predicted log loss, drift apart."""
    drift: np.ndarray
    """Scale of the law's own error at κ = 1, median over the draws."""


def rolling_errors(
    records: pd.DataFrame,
    law: Law,
    priors: Priors,
    *,
    ceiling: float = np.inf,
    cutoffs: tuple[float, ...] = CUTOFFS,
    seed: int = 0,
) -> RollingErrors:
    """Errors of refits below each cut-off; empty where no group has runs enough on both sides."""
    tables = []
    for cutoff in cutoffs:
        below = below_cut(records, cutoff)
        kept = records[below].groupby("group")["run_id"].transform("size") >= MIN_FITTED
        cheap = records[below][kept]
        dear = records[~below & records["group"].isin(cheap["group"])]
        if len(dear):
            tables.append(_errors(cheap, dear, law, priors, ceiling, seed).assign(cutoff=cutoff))
    names = list(RollingErrors.__dataclass_fields__)
    joined = pd.concat(tables) if tables else pd.DataFrame({name: [] for name in names})
    return RollingErrors(**{name: joined[name].to_numpy() for name in names})


def below_cut(records: pd.DataFrame, factor: float) -> "pd.Series[bool]":
    """Which runs lie at or below their group's largest compute over `factor`."""
    largest = records["flops"].groupby(records["group"]).transform("max")
    # A run at the cut is below it, whatever the last digit.
    return records["flops"] <= largest / factor * (1.0 + 1e-9)


def _errors(
    cheap: pd.DataFrame, dear: pd.DataFrame, law: Law, priors: Priors, ceiling: float, seed: int
) -> pd.DataFrame:
    data, groups = run_data(cheap, ceiling=ceiling), group_names(cheap)
    target, padded = padded_target(data, law, priors)
    mode = find_mode(target, padded, starts=1)
    draws = laplace_draws(target, padded, mode, DRAWS, seed=seed)
    unseen = new_runs(dear, data, groups, ceiling=ceiling)
    within = replace(unseen, decades=np.zeros_like(unseen.decades))
    # On the scale of log V, where the law, the scatter and the drift all live.
    predicted = predictive.replicated_log_value(draws, within, seed=seed)
    low, median, high = np.quantile(predicted, (0.16, 0.5, 0.84), axis=0)
    return pd.DataFrame(
        {
            "run": dear["run_id"].to_numpy(str),
            "group": dear["group"].to_numpy(str),
            "decades": unseen.decades,
            "error": median - np.log(unseen.loss),
            "spread": (high - low) / 2.0,
            "drift": np.median(predictive.drift(draws, unseen), axis=0),
        }
    )


def kappa_draws(errors: RollingErrors, prior: Normal, draws: int, *, seed: int) -> np.ndarray:
    """Draws of κ given the errors, shape (draws,).

    The runs that one refit misses in one group are missed together, so each such set counts as one
    observation, whatever its size.
    """
    log_kappa = prior.location + prior.scale * GRID
    scale = np.hypot(errors.spread, np.exp(log_kappa)[:, None] * errors.drift)
    density = stats.t.logpdf(errors.error / scale, TAIL) - np.log(scale)
    sets = pd.Series(list(zip(errors.group, errors.cutoff, strict=True)))
    weight = 1.0 / sets.groupby(sets).transform("size").to_numpy() if len(sets) else np.array([])
    log_posterior = density @ weight - 0.5 * GRID**2
    mass = np.exp(log_posterior - log_posterior.max())
    cumulative = np.cumsum(mass) / mass.sum()
    uniform = np.random.default_rng(seed).uniform(size=draws)
    return np.asarray(np.exp(np.interp(uniform, cumulative, log_kappa)))
