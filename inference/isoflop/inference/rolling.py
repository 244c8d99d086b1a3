"""Refit on the cheaper runs, look at the dearer ones: whether a table's forecasts hold on itself.

The table is cut at a third and a tenth of its largest compute; what is below is fitted, what is
above is predicted with κ as the whole table has it. The verdict reports how that went. The refits
use the normal approximation at the mode: they only have to be as wrong as the law is.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from isoflop.inference import predictive
from isoflop.inference.laws import Law
from isoflop.inference.mode import find_mode
from isoflop.inference.model import group_names, new_runs, run_data
from isoflop.inference.priors import Priors
from isoflop.inference.sampler import laplace_draws
from isoflop.inference.targets import padded_target
from isoflop.inference.valley import held_in, learn_valley
from isoflop.inference.wander import Wander, held_at

CUTOFFS = (3.0, 10.0)
"""Each refit sees the runs of a group below its largest compute over this."""
MIN_FITTED = 8
"""Runs that a group must keep below a cut-off for its errors above it to count."""
DRAWS = 400


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
    """Median of the predicted log loss minus the observed one; positive if pessimistic."""
    low_95: np.ndarray
    """Lower end of the 95 % interval of the predicted log loss, minus the observed one."""
    high_95: np.ndarray
    """Upper end of it."""


def rolling_errors(
    records: pd.DataFrame,
    law: Law,
    priors: Priors,
    wander: Wander,
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
            found = _errors(cheap, dear, law, priors, wander, ceiling, seed)
            tables.append(found.assign(cutoff=cutoff))
    names = list(RollingErrors.__dataclass_fields__)
    joined = pd.concat(tables) if tables else pd.DataFrame({name: [] for name in names})
    return RollingErrors(**{name: joined[name].to_numpy() for name in names})


def below_cut(records: pd.DataFrame, factor: float) -> "pd.Series[bool]":
    """Which runs lie at or below their group's largest compute over `factor`."""
    largest = records["flops"].groupby(records["group"]).transform("max")
    # A run at the cut is below it, whatever the last digit.
    return records["flops"] <= largest / factor * (1.0 + 1e-9)


def _errors(
    cheap: pd.DataFrame,
    dear: pd.DataFrame,
    law: Law,
    priors: Priors,
    wander: Wander,
    ceiling: float,
    seed: int,
) -> pd.DataFrame:
    data, groups = run_data(cheap, ceiling=ceiling), group_names(cheap)
    target, padded = padded_target(data, law, priors)
    valley = learn_valley(target, padded, law, priors)
    held = held_at(held_in(padded, valley), wander.within(law))
    mode = find_mode(target, held, starts=1)
    draws = laplace_draws(target, held, mode, DRAWS, seed=seed)
    draws |= {"kappa": wander.draws(DRAWS, seed=seed)}
    unseen = new_runs(dear, data, groups, valley, ceiling=ceiling)
    # On the scale of log V, where the law, its error and the scatter all live.
    predicted = predictive.replicated_log_value(draws, unseen, seed=seed) - np.log(unseen.loss)
    low, median, high = np.quantile(predicted, (0.025, 0.5, 0.975), axis=0)
    return pd.DataFrame(
        {
            "run": dear["run_id"].to_numpy(str),
            "group": dear["group"].to_numpy(str),
            "decades": unseen.decades,
            "error": median,
            "low_95": low,
            "high_95": high,
        }
    )
