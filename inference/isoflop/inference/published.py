"""A posterior file from a published law, so that every forecast can be asked of it.

Each parameter is drawn by itself: a normal in its logarithm below the median and one above, with
the widths that put the published bounds where they are. Correlations are seldom published; L∞ with
β is the strong one, and independent draws make the loss wider than it is.

The anchor fixes A and B. With u = L − L∞ there and δ = log(N/N*) its distance from the best N of
the same compute, the two terms a = A N^−α and b = B D^−β follow from

    a + b = u,    a/b = (β/α) exp(−(α+β)δ)

because αa = βb at the optimum (arXiv:2203.15556, Eq. 4) and a falls by e^−αδ, b grows by e^βδ on
the way from it at fixed compute. How N*, D* and the reducible loss change with compute depends on
α and β alone; where they stand is the anchor's to say.
"""

import math

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import norm

from isoflop.inference import laws, tree
from isoflop.inference import posterior as contract
from isoflop.inference.lawfile import Anchor, Interval, PublishedLaw
from isoflop.inference.priors import DEFAULT
from isoflop.inference.verdict import PUBLISHED

DRAWS = 4000
LEAST_KEPT = 0.5
"""Share of the draws with L∞ below the anchor's loss, below which the file contradicts itself."""
GAUSSIAN = 1e6
"""ν of a scatter that is normal."""


def published_posterior(
    law: PublishedLaw, *, draws: int = DRAWS, seed: int = 0, sha256: str = "", path: str = ""
) -> xr.DataTree:
    """Draws of a published law as a tree by the contract of `isoflop.inference.posterior`.

    It has one group, `law.name`, one chain, and as its only run the anchor, whose loss is NaN
    unless the file gives it. κ, the law's own error beyond the anchor, and ω if it is not
    published, come from the priors of a fit. Raises `ValueError` where L∞ and the anchor's loss
    contradict each other.
    """
    rng = np.random.default_rng(seed)
    theta = _law_draws(law, draws, rng)
    sites = {name: value[None, :, None] for name, value in theta.items()}
    kappa = np.exp(_normal(DEFAULT.log_kappa.location, DEFAULT.log_kappa.scale, draws, rng))
    noise = {"sigma": law.scatter, "sigma_slope": 0.0, "rho": 0.0, "nu": GAUSSIAN, "kappa": kappa}
    sites |= {name: np.broadcast_to(value, (draws,))[None] for name, value in noise.items()}
    sites["walk"] = np.zeros((1, draws, 1, laws.KNOTS))
    sites["walls"] = np.zeros((1, draws, 1, laws.SIDES))
    anchor = _anchor_record(law)
    at = law.anchor.params, law.anchor.samples
    loss = np.asarray(laws.loss(*at, **theta)) * np.exp(law.scatter * rng.normal(size=draws))
    parts = {
        "posterior": tree.law_dataset(sites, (law.name,)),
        "log_likelihood": xr.Dataset(),
        "posterior_predictive": tree.loss_dataset(loss[None, :, None]),
    }
    valley = {name: np.median(value)[None] for name, value in theta.items()}
    parts |= tree.run_groups(anchor, (law.name,), valley, reference=law.anchor.samples)
    result = xr.DataTree.from_dict(parts)
    result.attrs = contract.root_attributes(
        law="additive", seed=seed, records=path, records_sha256=sha256
    )
    result.attrs |= {
        "engine": PUBLISHED,
        "ceiling": math.inf,
        "source": law.source,
        "warnings": "\n".join(law.assumptions),
        "sampler_faults": "",
    }
    return result


def _law_draws(law: PublishedLaw, draws: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The law's parameters, shape (draws,) each."""
    known = {"loss_inf": law.loss_inf, "alpha": law.alpha, "beta": law.beta}
    # Those with L∞ above the anchor's loss are thrown away, so more are drawn.
    spare = math.ceil(draws / LEAST_KEPT)
    theta = {name: _two_piece(value, law.interval, spare, rng) for name, value in known.items()}
    reducible = _reducible(law, theta["loss_inf"], rng)
    possible = np.flatnonzero(reducible > 0.0)
    if len(possible) < draws:
        raise ValueError(
            f"{law.name}: L∞ lies above the loss of the anchor in {1 - len(possible) / spare:.0%} "
            f"of the draws, at most {1 - LEAST_KEPT:.0%} is allowed; check loss_inf and anchor.loss"
        )
    theta |= _scales(law, theta["alpha"], theta["beta"], np.maximum(reducible, 1e-300), rng)
    theta = {name: value[possible[:draws]] for name, value in theta.items()}
    if law.omega is None:
        prior = DEFAULT.log_omega_minus_1
        spare_gain = np.exp(_normal(prior.location, prior.scale, draws, rng))
    else:
        bounds = Interval(law.omega.median - 1, law.omega.low - 1, law.omega.high - 1)
        spare_gain = _two_piece(bounds, law.interval, draws, rng)
    fixed = {"gamma": 1.0, "log_P": laws.NO_PENALTY}
    theta |= {name: np.full(draws, value) for name, value in fixed.items()}
    return theta | {"omega": 1.0 + spare_gain}


def _reducible(law: PublishedLaw, loss_inf: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """L − L∞ at the anchor [nat]; not positive where L∞ lies above the loss."""
    if law.anchor.reducible is not None:
        return _two_piece(law.anchor.reducible, law.interval, len(loss_inf), rng)
    assert law.anchor.loss is not None
    return np.asarray(_two_piece(law.anchor.loss, law.interval, len(loss_inf), rng) - loss_inf)


def _scales(
    law: PublishedLaw,
    alpha: np.ndarray,
    beta: np.ndarray,
    reducible: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """log A and log B that put the law through the anchor."""
    anchor: Anchor = law.anchor
    width = math.log(anchor.optimal_within) / float(norm.ppf(0.5 + law.interval / 2))
    off = width * rng.normal(size=len(alpha))
    log_odds = np.log(beta / alpha) - (alpha + beta) * off
    # log of the shares a/u and b/u, from the odds a/b.
    log_n, log_d = -np.logaddexp(0.0, -log_odds), -np.logaddexp(0.0, log_odds)
    return {
        "log_A": np.log(reducible) + log_n + alpha * math.log(anchor.params),
        "log_B": np.log(reducible) + log_d + beta * math.log(anchor.samples),
    }


def _two_piece(
    value: Interval, probability: float, draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws whose median and central interval are those given, shape (draws,)."""
    reach = float(norm.ppf(0.5 + probability / 2))
    middle = math.log(value.median)
    below, above = middle - math.log(value.low), math.log(value.high) - middle
    standard = rng.normal(size=draws) / reach
    return np.exp(middle + standard * np.where(standard < 0.0, below, above))


def _normal(location: float, scale: float, draws: int, rng: np.random.Generator) -> np.ndarray:
    return location + scale * rng.normal(size=draws)


def _anchor_record(law: PublishedLaw) -> pd.DataFrame:
    """The anchor as the one run of the file."""
    anchor = law.anchor
    return pd.DataFrame(
        {
            "run_id": [f"anchor of {law.name}"],
            "group": [law.name],
            "params": [anchor.params],
            "samples": [anchor.samples],
            "unique_samples": [anchor.samples],
            "flops": [law.flops_per_param_sample * anchor.params * anchor.samples],
            "loss": [anchor.loss.median if anchor.loss else math.nan],
            "loss_stderr": [math.nan],
            "loss_kind": ["best"],
        }
    )
