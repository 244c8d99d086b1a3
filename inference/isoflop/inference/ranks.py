"""Whether ranks are uniform: counts, the band of the ECDF, and a row for each quantity.

The rank of a truth among the draws of its own posterior is uniform on 0 … L if the posterior is
right (Talts et al., arXiv:1804.06788); `isoflop.inference.calibration` makes them.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import stats

RANKED = 99
"""L, posterior draws among which a truth is ranked: 100 ranks make 20 bins of 5."""
BINS = 20
NULL_TABLES = 20_000
"""Tables of uniform ranks that the band and the p-value of the ECDF are taken from."""


@dataclass(frozen=True)
class Uniformity:
    """Whether ranks look uniform."""

    chi2_p: float
    """p-value of Pearson's χ² over equal bins: sees any shape, weakly."""
    ecdf_p: float
    """p-value of the largest departure of the ECDF: sees bias and wrong widths."""


@dataclass(frozen=True)
class Band:
    """Where the ECDF of uniform ranks lies as a whole, arrays of shape (draws,)."""

    at: np.ndarray
    """Fractions i/(L+1), i = 1 … L; the ECDF there is the share of ranks below i."""
    low: np.ndarray
    """Lower edge of the ECDF minus `at`."""
    high: np.ndarray
    """Upper edge of the ECDF minus `at`."""


def rank_among(draws: np.ndarray, truth: np.ndarray, ranked: int = RANKED) -> np.ndarray:
    """How many of `ranked` evenly spaced draws lie below each truth; draws (quantity, draw).

    >>> rank_among(np.arange(5.0)[None], np.array([2.5]), ranked=5)
    array([3])
    """
    if draws.shape[1] < ranked:
        raise ValueError(f"{draws.shape[1]} draws cannot be thinned to {ranked}; increase draws")
    every = np.linspace(0, draws.shape[1] - 1, ranked).round().astype(int)
    return np.asarray((draws[:, every] < truth[:, None]).sum(axis=1))


def uniformity(ranks: np.ndarray, *, draws: int = RANKED, bins: int = BINS) -> Uniformity:
    """Test ranks 0 … `draws` of shape (replications,) for uniformity."""
    ranks = np.asarray(ranks)
    if (draws + 1) % bins:
        raise ValueError(f"{bins} bins do not divide the {draws + 1} ranks evenly")
    if ranks.min() < 0 or ranks.max() > draws:
        raise ValueError(f"ranks run from {ranks.min()} to {ranks.max()}; 0 to {draws} is possible")
    counts = np.bincount(ranks * bins // (draws + 1), minlength=bins)
    null = _null_departures(len(ranks), draws)
    own = _departure(_counts_below(ranks, draws), len(ranks), draws)
    ecdf_p = (1.0 + np.sum(null <= own)) / (1.0 + len(null))
    return Uniformity(float(stats.chisquare(counts).pvalue), float(ecdf_p))


def uniformity_table(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each quantity of a `ranks_table`, in the order of the table.

    `z_mean` and `z_sd` are 0 and about 1 where the posterior is calibrated and normal; `cover_50`
    and `cover_90` are shares of truths inside central intervals; contraction is the median.
    """
    rows = {}
    for quantity, part in table.groupby("quantity", sort=False):
        ranks = part["rank"].to_numpy()
        off_centre = np.abs((ranks + 0.5) / (RANKED + 1.0) - 0.5)
        test = uniformity(ranks)
        rows[quantity] = {
            "replications": len(part),
            "chi2_p": test.chi2_p,
            "ecdf_p": test.ecdf_p,
            "cover_50": (off_centre < 0.25).mean(),
            "cover_90": (off_centre < 0.45).mean(),
            "z_mean": part["z_score"].mean(),
            "z_sd": part["z_score"].std(),
            "contraction": part["contraction"].median(),
            "rhat_max": part["rhat"].max(),
            "ess_p05": part["ess"].quantile(0.05),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("quantity").reset_index()


def ecdf_difference(ranks: np.ndarray, draws: int = RANKED) -> np.ndarray:
    """ECDF of the ranks minus that of uniform ones, at `Band.at`, shape (draws,)."""
    return np.asarray(_counts_below(ranks, draws) / len(ranks) - _fractions(draws))


def ecdf_band(replications: int, draws: int = RANKED, *, mass: float = 0.95) -> Band:
    """Band that holds the whole ECDF of uniform ranks with probability `mass`.

    Simultaneous, by simulation: Säilynoja, Bürkner and Vehtari, arXiv:2103.10522, Sec. 2.2.
    """
    level = np.quantile(_null_departures(replications, draws), 1.0 - mass)
    at = _fractions(draws)
    low, high = (stats.binom.ppf(q, replications, at) for q in (level / 2.0, 1.0 - level / 2.0))
    return Band(at, low / replications - at, high / replications - at)


def _fractions(draws: int) -> np.ndarray:
    return np.arange(1, draws + 1) / (draws + 1.0)


def _counts_below(ranks: np.ndarray, draws: int) -> np.ndarray:
    """How many ranks are below 1 … `draws`, shape (draws,)."""
    return np.asarray(np.bincount(ranks, minlength=draws + 1).cumsum()[:-1])


def _departure(counts: np.ndarray, replications: int, draws: int) -> np.ndarray:
    """Smallest two-sided binomial tail of an ECDF over all places; counts (..., draws)."""
    at = _fractions(draws)
    below = stats.binom.cdf(counts, replications, at)
    above = stats.binom.sf(counts - 1, replications, at)
    return np.asarray(2.0 * np.minimum(below, above).min(axis=-1))


@lru_cache(maxsize=16)
def _null_departures(replications: int, draws: int) -> np.ndarray:
    """`_departure` of uniform ranks, shape (`NULL_TABLES`,)."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(replications, np.full(draws + 1, 1.0 / (draws + 1)), NULL_TABLES)
    return _departure(counts.cumsum(axis=1)[:, :-1], replications, draws)
