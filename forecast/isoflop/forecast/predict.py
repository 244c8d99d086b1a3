"""The loss of a run that nobody has trained yet, for every draw of the posterior.

Arrays have the draws first: shape (draws, points). Losses are in nat, N counts parameters, U
distinct samples and e epochs. Summaries are taken last, by `quantiles`.
"""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from isoflop.inference import laws
from isoflop.inference.posterior import LAW_VARIABLES, NOISE_VARIABLES

QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)


@dataclass(frozen=True)
class Draws:
    """The law of one group, draw by draw; arrays of shape (draws,)."""

    group: str
    """Name of the group."""
    loss_inf: np.ndarray
    """L∞, in nat."""
    log_A: np.ndarray
    """Logarithm of A in A N^−α."""
    log_B: np.ndarray
    """Logarithm of B in B D_eff^−β."""
    alpha: np.ndarray
    """Exponent of the parameters."""
    beta: np.ndarray
    """Exponent of the effective samples."""
    gamma: np.ndarray
    """Coupling of the two terms; 1 is the additive law."""
    omega: np.ndarray
    """Bound of the repetition gain D_eff/U."""
    log_P: np.ndarray
    """Logarithm of P in P (N/U)(e−1), what overfitting adds to u."""
    final: bool
    """Whether the group's losses are those of the end of training, so that P counts."""
    sigma: np.ndarray
    """Relative scatter of a run's loss about the law, at D = `sigma_samples`."""
    sigma_slope: np.ndarray
    """Power of D in that scatter."""
    rho: np.ndarray
    """Scatter of a run off the optimum, as a share of what it loses there."""
    nu: np.ndarray
    """Degrees of freedom of that scatter."""
    kappa: np.ndarray
    """Error of the law beyond the runs, in units of its fall per √decade."""
    walk: np.ndarray
    """Error of the law within the runs, in log loss at its knots, shape (draws, knots)."""
    walls: np.ndarray
    """Error of the law off the optimum, of what runs lose there; shape (draws, sides)."""
    valley: dict[str, float]
    """The law by which that is reckoned, the same for all draws."""
    ceiling: float
    """Largest loss there can be, in nat; ∞ where the law is that of the loss itself."""
    sigma_samples: float
    """D at which sigma is quoted, in samples."""
    flops_per_param_sample: float
    """c in C = c·N·D, in FLOP."""
    smallest_flops: float
    """Compute of the cheapest run of the group in the fit, in FLOP."""
    largest_flops: float
    """Compute of the most expensive run of the group in the fit, in FLOP."""

    def columns(self, *names: str) -> dict[str, np.ndarray]:
        """Parameters by name, shape (draws, 1), to broadcast against points."""
        return {name: getattr(self, name)[:, None] for name in names}


def group_names(posterior: xr.DataTree) -> tuple[str, ...]:
    """Names of the groups of a posterior, in its order."""
    return tuple(str(name) for name in posterior["posterior"].to_dataset()["group"].values)


def group_draws(posterior: xr.DataTree, group: str) -> Draws:
    """The draws of one group, chains joined; `ValueError` lists the groups there are."""
    names = group_names(posterior)
    if group not in names:
        raise ValueError(f"unknown group {group!r}; this posterior has {', '.join(names)}")
    dataset = posterior["posterior"].to_dataset()
    own = dataset.isel(group=names.index(group))
    constant = posterior["constant_data"].to_dataset()
    cost = constant["flops_per_param_sample"].sel(group=group)
    flops = constant["flops"].values[constant["run_group"].values.astype(str) == group]
    valley = constant["valley"].sel(group=group)
    return Draws(
        group=group,
        **{
            name: np.asarray(own[name].values, float).reshape(-1)
            for name in (*LAW_VARIABLES, *NOISE_VARIABLES)
        },
        walk=np.asarray(own["walk"].values, float).reshape(-1, own.sizes["knot"]),
        walls=np.asarray(own["walls"].values, float).reshape(-1, own.sizes["side"]),
        valley={name: float(valley.sel(parameter=name)) for name in LAW_VARIABLES},
        ceiling=float(posterior.attrs["ceiling"]),
        final=bool(constant["final"].sel(group=group)),
        sigma_samples=float(constant["sigma_samples"]),
        flops_per_param_sample=float(cost),
        smallest_flops=float(flops.min()),
        largest_flops=float(flops.max()),
    )


@dataclass(frozen=True)
class Deviates:
    """How far each draw's new run lies from its law, in standard units; arrays (draws,)."""

    scatter: np.ndarray
    """t_ν of the scatter of runs."""
    drift: np.ndarray
    """z of the law's error beyond the runs."""


def deviates(draws: Draws, *, seed: int) -> Deviates:
    """The t and z that a seed gives each draw."""
    rng = np.random.default_rng(seed)
    return Deviates(scatter=rng.standard_t(draws.nu), drift=rng.normal(size=len(draws.kappa)))


def loss_draws(
    draws: Draws,
    params: ArrayLike,
    *,
    unique_samples: ArrayLike,
    epochs: ArrayLike = 1.0,
) -> np.ndarray:
    """Loss [nat], shape (draws, points), before the scatter of runs and the drift beyond them.

    The law's loss, corrected by its error within the runs. N, U and e are scalars, of shape
    (points,), or of shape (draws, points) where each draw has a point of its own.
    """
    run = _run(params, unique_samples, epochs)
    value = _expected_value(draws, run, _lost(draws, run))
    return np.asarray(laws.bounded(value, draws.ceiling))


def predictive_draws(
    draws: Draws,
    params: ArrayLike,
    *,
    unique_samples: ArrayLike,
    epochs: ArrayLike = 1.0,
    seed: int,
) -> np.ndarray:
    """Loss of a new run [nat], shape (draws, points): the law's, its error and the scatter.

    log V = log V_law + w(C) + ζ x + κ s(d) z + σ t_ν, as in the model: w and ζ x are the law's
    error within the runs, s the scale `laws.drift` of that d decades beyond them, σ that of
    `scatter_scale`. Each draw has one z and one t, shared by all its points: the distribution at a
    point is the right one, and intervals along a curve are smooth.
    """
    run = _run(params, unique_samples, epochs)
    lost = _lost(draws, run)
    own = deviates(draws, seed=seed)
    scatter = _scatter_scale(draws, run, lost) * own.scatter[:, None]
    walk = (draws.kappa * own.drift)[:, None]
    beyond = np.maximum(_decades(draws, run), 0.0)
    drift = walk * np.asarray(laws.drift(beyond, *run, **draws.columns(*LAW_VARIABLES)))
    # Heavy tails reach beyond what an exponential can hold.
    factor = np.exp(np.clip(drift + scatter, -500.0, 500.0))
    return np.asarray(laws.bounded(_expected_value(draws, run, lost) * factor, draws.ceiling))


def scatter_scale(
    draws: Draws,
    params: ArrayLike,
    *,
    unique_samples: ArrayLike,
    epochs: ArrayLike = 1.0,
) -> np.ndarray:
    """Scale of a run's log loss about the law, shape (draws, points).

    √[σ(D)² + (ρ x)²], x being what the run loses to the best of its compute.
    """
    run = _run(params, unique_samples, epochs)
    return _scatter_scale(draws, run, _lost(draws, run))


def _scatter_scale(draws: Draws, run: tuple[np.ndarray, ...], lost: np.ndarray) -> np.ndarray:
    own = laws.scatter(
        run[1] * run[2],
        **draws.columns("sigma", "sigma_slope"),
        reference=draws.sigma_samples,
    )
    return np.asarray(np.hypot(own, draws.rho[:, None] * lost.sum(axis=0)))


def _lost(draws: Draws, run: tuple[np.ndarray, ...]) -> np.ndarray:
    """What runs lose to the best of their compute, part by part, first axis `laws.PARTS`."""
    return np.asarray(laws.excess(*run, final=draws.final, **draws.valley))


def _run(params: ArrayLike, unique_samples: ArrayLike, epochs: ArrayLike) -> tuple[np.ndarray, ...]:
    """N, U and e as arrays."""
    return tuple(np.asarray(value, float) for value in (params, unique_samples, epochs))


def _decades(draws: Draws, run: tuple[np.ndarray, ...]) -> np.ndarray:
    """Decades of compute beyond the dearest run of the fit, negative within."""
    flops = draws.flops_per_param_sample * run[0] * run[1] * run[2]
    return np.asarray(np.log10(flops / draws.largest_flops))


def _expected_value(draws: Draws, run: tuple[np.ndarray, ...], lost: np.ndarray) -> np.ndarray:
    """V of the law, corrected by its error within the runs; shape (draws, points)."""
    span = np.log10(draws.largest_flops / draws.smallest_flops)
    weights = np.moveaxis(laws.knot_weights(-_decades(draws, run), span), -1, 0)
    errors = [*zip(weights, draws.walk.T[..., None], strict=True)]
    errors += zip(lost[: laws.SIDES], draws.walls.T[..., None], strict=True)
    theta = draws.columns(*LAW_VARIABLES)
    value = laws.expected_log_value(run, theta, final=draws.final, errors=errors)
    return np.asarray(np.exp(value))


def repetition_gain(draws: Draws, epochs: ArrayLike) -> np.ndarray:
    """D_eff/U of e passes over the same samples, shape (draws, points): what repeats are worth."""
    passes = np.atleast_1d(np.asarray(epochs, float))
    return np.asarray(laws.effective_samples(1.0, passes, draws.omega[:, None]))


def quantiles(values: np.ndarray) -> np.ndarray:
    """`QUANTILES` over the draws of an array (draws, points): shape (5, points)."""
    ordered = np.sort(values, axis=0)  # several quantiles of sorted numbers take half the time
    return np.asarray(np.quantile(ordered, QUANTILES, axis=0, overwrite_input=True))


def extrapolation_decades(flops: float, largest_flops: float) -> float:
    """How many decades a budget lies beyond the most expensive fitted run; 0 within the data.

    >>> extrapolation_decades(1e22, 1e20)
    2.0
    """
    return round(max(0.0, math.log10(flops / largest_flops)), 3)
