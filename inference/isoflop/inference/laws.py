"""Scaling laws as pure functions of parameters and budgets: JAX in, JAX out; NumPy in, NumPy out.

Every function broadcasts its arguments, so a draw axis in front of a run axis needs no loop. The
model differentiates them; what is computed from draws needs no gradient and would pay seconds to
compile, so it stays in NumPy.
Symbols: N parameters, D samples seen, U distinct samples, e = D/U epochs, C FLOP, L loss in nat.
The law (Hoffmann et al., arXiv:2203.15556, Eq. 2, with the repetition gain and the coupling γ):

    D_eff = U · [1 + (ω−1)(1 − exp(−(e−1)/(ω−1)))]
    u     = A N^(−α) + B D_eff^(−β) + P (N/U)(e−1)
    L     = L∞ + u^γ

The term with P is what overfitting adds where training went on to the end of its passes (`final`);
it is absent where the best loss was kept. Inside the coupling one coefficient is enough
(LOG.md has what else was tried on arXiv:2305.16264's runs).

A loss that cannot exceed a ceiling c (an error rate, or the cross-entropy of guessing) saturates
where a power law does not. The law then describes V = L/(1 − L/c), at c = 1 the odds of an error,
which has no bound; for c = ∞, the default everywhere, V is L.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from scipy import special

# Losses agree to 1e-4 between seeds and budgets span 1e24: single precision is not enough.
jax.config.update("jax_enable_x64", True)

NO_PENALTY = -300.0
"""log P where overfitting costs nothing."""
LARGE = 300.0
"""Logarithm at which a number is cut off; its square is still finite."""
KNOTS = 4
"""Knots of the law's own error within the runs of a group: about one a decade in most sweeps."""
SIDES = 2
"""Networks smaller and larger than the best of their compute."""
PARTS = SIDES + 1
"""Parts of what a run loses: on either side, and by repeats and overfitting."""


@dataclass(frozen=True)
class Law:
    """A form of the law: its name, the parameters it frees, and what it is in words."""

    name: str
    """Name on the command line."""
    parameters: tuple[str, ...]
    """Posterior variables of the law itself, noise apart."""
    equation: str
    """The law, written out."""
    couples: bool
    """Whether γ is free; if not it is 1."""
    errs: bool
    """Whether the law may err within the runs; if not it is taken at its word there."""


LAWS = {
    law.name: law
    for law in (
        Law(
            name="coupled",
            parameters=("loss_inf", "log_A", "log_B", "alpha", "beta", "gamma", "omega", "log_P"),
            equation="L = L∞ + (A N^−α + B D_eff^−β)^γ",
            couples=True,
            errs=True,
        ),
        Law(
            name="additive",
            parameters=("loss_inf", "log_A", "log_B", "alpha", "beta", "omega", "log_P"),
            equation="L = L∞ + A N^−α + B D_eff^−β",
            couples=False,
            errs=False,
        ),
    )
}


def law_named(name: str) -> Law:
    """The law of this name; `ValueError` lists the names there are."""
    if name not in LAWS:
        raise ValueError(f"unknown law {name!r}; choose one of {', '.join(LAWS)}")
    return LAWS[name]


def namespace(*values: ArrayLike) -> Any:
    """`jax.numpy` if a value is traced or lives on a JAX device, else `numpy`."""
    return jnp if any(isinstance(value, Array) for value in values) else np


def effective_samples(unique_samples: ArrayLike, epochs: ArrayLike, omega: ArrayLike) -> Array:
    """Effective data D_eff of U samples seen e ≥ 1 times, in samples.

    The gain D_eff/U has slope 1 at e = 1 and never exceeds ω > 1. With R* = ω − 1 this is the
    form of Muennighoff et al., arXiv:2305.16264, Eq. 5.

    >>> round(float(effective_samples(100.0, 1.0, 16.4)), 3)
    100.0
    >>> round(float(effective_samples(100.0, 1e9, 16.4)), 3)
    1640.0
    """
    xp = namespace(unique_samples, epochs, omega)
    spare = xp.asarray(omega) - 1.0
    # SciPy's takes four tenths of the time of NumPy's.
    expm1 = special.expm1 if xp is np else jnp.expm1
    gain: Array = 1.0 - spare * expm1(-(xp.asarray(epochs) - 1.0) / spare)
    effective: Array = xp.asarray(unique_samples) * gain
    return effective


def log_reducible(
    params: ArrayLike,
    effective: ArrayLike,
    *,
    log_A: ArrayLike,
    log_B: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike,
    gamma: ArrayLike = 1.0,
    penalty: ArrayLike = 0.0,
) -> Array:
    """Logarithm of the reducible loss, γ log(A N^−α + B D_eff^−β + penalty), without overflow."""
    xp = namespace(params, effective, log_A, log_B, alpha, beta, gamma, penalty)
    log_u = log_sum(*_log_terms(params, effective, log_A, log_B, alpha, beta))
    if xp is np and not np.any(penalty):  # a third of the time saved
        unpenalised: Array = xp.asarray(gamma) * (log_u + np.zeros_like(penalty))
        return unpenalised
    # As a share of the rest, so that no penalty is exactly none and has a gradient.
    share = penalty * xp.exp(xp.minimum(-log_u, LARGE))
    log_value: Array = xp.asarray(gamma) * (log_u + xp.log1p(share))
    return log_value


def reducible_base(
    params: ArrayLike,
    effective: ArrayLike,
    *,
    log_A: ArrayLike,
    log_B: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike,
    penalty: ArrayLike = 0.0,
) -> Array:
    """u = A N^−α + B D_eff^−β + penalty, of which the reducible loss is the power γ.

    Half the work of `log_reducible` where u is no extreme number.

    >>> float(reducible_base(1.0, 1.0, log_A=0.0, log_B=0.0, alpha=0.5, beta=0.5))
    2.0
    """
    xp = namespace(params, effective, log_A, log_B, alpha, beta, penalty)
    log_n_term, log_d_term = _log_terms(params, effective, log_A, log_B, alpha, beta)
    value: Array = xp.exp(log_n_term) + xp.exp(log_d_term) + penalty
    return value


def _log_terms(
    params: ArrayLike,
    effective: ArrayLike,
    log_A: ArrayLike,
    log_B: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike,
) -> tuple[Array, Array]:
    """Logarithms of A N^−α and of B D_eff^−β."""
    xp = namespace(params, effective, log_A, log_B, alpha, beta)
    return log_A - xp.asarray(alpha) * xp.log(params), log_B - xp.asarray(beta) * xp.log(effective)


def log_sum(first: Array | np.ndarray, second: Array | np.ndarray) -> Array:
    """log(exp first + exp second) without overflow, one of them finite."""
    xp = namespace(first, second)
    top = xp.maximum(first, second)
    if xp is jnp:
        # Any number would do for it, so it needs no gradient; `logaddexp` computes one.
        top = lax.stop_gradient(top)
    total: Array = top + xp.log(xp.exp(first - top) + xp.exp(second - top))
    return total


def overfitting(
    params: ArrayLike,
    unique_samples: ArrayLike,
    epochs: ArrayLike,
    *,
    log_P: ArrayLike,
    final: ArrayLike = 1.0,
) -> Array:
    """What overfitting adds to u, P (N/U)(e−1); nothing in the first pass or where `final` is 0."""
    xp = namespace(params, unique_samples, epochs, log_P, final)
    log_ratio = xp.log(params) - xp.log(unique_samples)
    # Bounded, so that it is nothing and not undefined where it does not count.
    each = xp.exp(xp.minimum(log_P + log_ratio, LARGE))
    added: Array = xp.asarray(final) * each * (xp.asarray(epochs) - 1.0)
    return added


def loss(
    params: ArrayLike,
    unique_samples: ArrayLike,
    epochs: ArrayLike = 1.0,
    *,
    loss_inf: ArrayLike,
    log_A: ArrayLike,
    log_B: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike,
    gamma: ArrayLike = 1.0,
    omega: ArrayLike = 2.0,
    log_P: ArrayLike = NO_PENALTY,
    final: ArrayLike = 1.0,
) -> Array:
    """Loss in nat of N parameters trained on U distinct samples, e epochs.

    `final` is 1 for the loss at the end of training, 0 for the best loss on the way.

    The replication of Chinchilla (arXiv:2404.10102) at the size and data of its largest model:

    >>> published = dict(loss_inf=1.8172, log_A=np.log(482.01), log_B=np.log(2085.43))
    >>> round(float(loss(70e9, 1.4e12, **published, alpha=0.3478, beta=0.3658)), 2)
    1.97
    """
    effective = effective_samples(unique_samples, epochs, omega)
    penalty = overfitting(params, unique_samples, epochs, log_P=log_P, final=final)
    terms = {"log_A": log_A, "log_B": log_B, "alpha": alpha, "beta": beta, "gamma": gamma}
    terms["penalty"] = penalty
    xp = namespace(params, effective, loss_inf, *terms.values())
    value: Array = xp.asarray(loss_inf) + xp.exp(log_reducible(params, effective, **terms))
    return value


def unbounded(loss: ArrayLike, ceiling: float) -> Array:
    """V = L/(1 − L/c) of a loss below its ceiling c; the loss itself for c = ∞."""
    value: Array = namespace(loss).asarray(loss)
    return value / (1.0 - value / ceiling)


def bounded(value: ArrayLike, ceiling: float) -> Array:
    """The loss L = V/(1 + V/c), below its ceiling c; the inverse of `unbounded`."""
    unbounded_value: Array = namespace(value).asarray(value)
    if ceiling == np.inf:
        return unbounded_value
    return unbounded_value / (1.0 + unbounded_value / ceiling)


def excess(
    params: ArrayLike,
    unique_samples: ArrayLike,
    epochs: ArrayLike = 1.0,
    *,
    final: ArrayLike = 1.0,
    **theta: ArrayLike,
) -> Array:
    """What runs lose to the best run of the same N·D, by the law, in log loss; shape (3, ...).

    The first row is what a network loses that is smaller than the best one, the second what one
    loses that is larger, both on fresh samples, and the third what repeats and overfitting add.

    >>> law = dict(loss_inf=1.0, log_A=0.0, log_B=0.0, alpha=0.5, beta=0.5)
    >>> lost = excess(np.array([10.0, 100.0, 1000.0]), np.array([1e3, 1e2, 1e1]), **law)
    >>> np.round(lost, 3) + 0.0
    array([[0.116, 0.   , 0.   ],
           [0.   , 0.   , 0.116],
           [0.   , 0.   , 0.   ]])
    """
    xp = namespace(params, unique_samples, epochs, final, *theta.values())
    log_A, log_B, alpha, beta = (theta[name] for name in ("log_A", "log_B", "alpha", "beta"))
    samples = xp.asarray(unique_samples) * epochs
    best = _log_optimal_params(xp.log(params * samples), log_A, log_B, alpha, beta)
    # At the optimum αA N^−α = βB D^−β.
    log_u = log_A - alpha * best + xp.log1p(xp.asarray(alpha) / beta)
    log_u_fresh = log_sum(*_log_terms(params, samples, log_A, log_B, alpha, beta))
    least, fresh = (
        xp.log(theta["loss_inf"] + xp.exp(theta.get("gamma", 1.0) * value))
        for value in (log_u, log_u_fresh)
    )
    own = xp.log(loss(params, unique_samples, epochs, **theta, final=final))
    # On fresh samples, where nothing is lost at the optimum, so that the sides meet there.
    lost, larger = xp.maximum(fresh - least, 0.0), xp.log(params) > best
    sides = xp.where(larger, 0.0, lost), xp.where(larger, lost, 0.0)
    parts: Array = xp.stack([*sides, xp.maximum(own - fresh, 0.0)])
    return parts


def scatter(
    samples: ArrayLike, *, sigma: ArrayLike, sigma_slope: ArrayLike, reference: ArrayLike
) -> Array:
    """Scale of a run's log loss about the law, σ (D / D_ref)^slope; σ is quoted at `reference`.

    Seeds of a run on few samples differ more than seeds of a run on many, so the slope is mostly
    negative.
    """
    xp = namespace(samples, sigma, sigma_slope, reference)
    # Half the time of a power, in NumPy as in XLA.
    scale: Array = xp.asarray(sigma) * xp.exp(sigma_slope * xp.log(xp.asarray(samples) / reference))
    return scale


def fall_per_decade(
    params: ArrayLike,
    unique_samples: ArrayLike,
    epochs: ArrayLike = 1.0,
    *,
    loss_inf: ArrayLike,
    log_A: ArrayLike,
    log_B: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike,
    gamma: ArrayLike = 1.0,
    omega: ArrayLike = 2.0,
    log_P: ArrayLike = NO_PENALTY,
) -> Array:
    """−∂ log L/∂ log₁₀ C where N and U grow together, half a decade each per decade of compute.

    Overfitting is left out: N/U and e do not change on the way.
    """
    effective = effective_samples(unique_samples, epochs, omega)
    xp = namespace(params, effective, loss_inf, log_A, log_B, alpha, beta, gamma)
    log_n_term, log_d_term = _log_terms(params, effective, log_A, log_B, alpha, beta)
    log_u = log_sum(log_n_term, log_d_term)
    slope = alpha * xp.exp(log_n_term - log_u) + beta * xp.exp(log_d_term - log_u)
    reducible = gamma * log_u - log_sum(gamma * log_u, xp.log(loss_inf))
    fall: Array = xp.exp(reducible) * gamma * slope * (np.log(10.0) / 2.0)
    return fall


def drift(
    decades: ArrayLike,
    params: ArrayLike,
    unique_samples: ArrayLike,
    epochs: ArrayLike = 1.0,
    **theta: ArrayLike,
) -> Array:
    """Scale of the law's own error in log loss, `decades` of compute beyond the runs, at κ = 1.

    The slope of the true loss is taken to wander about the law's, so the error is a random walk:
    it grows as √decades, in units of the fall per decade at the edge of the runs, which is where N
    and U are √(10^decades) times smaller. It is 0 within the runs.
    """
    xp = namespace(decades, params, unique_samples, epochs, *theta.values())
    back = 10.0 ** (-0.5 * xp.asarray(decades))
    edge = xp.asarray(params) * back, xp.asarray(unique_samples) * back
    scale: Array = xp.sqrt(decades) * fall_per_decade(*edge, epochs, **theta)
    return scale


def knot_weights(below: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Weights of the knots at places `below` the dearest run [decades], shape (..., `KNOTS`).

    The knots lie at span·1/`KNOTS`, …, span; the error is linear between them, 0 from the dearest
    run on and constant below the cheapest.

    >>> knot_weights(np.array([-1.0, 0.0, 1.5, 9.0]), np.array(4.0))
    array([[0. , 0. , 0. , 0. ],
           [0. , 0. , 0. , 0. ],
           [0.5, 0.5, 0. , 0. ],
           [0. , 0. , 0. , 1. ]])
    """
    place = np.clip(KNOTS * below / np.maximum(span, 1e-9), 0.0, KNOTS)
    weights: np.ndarray = np.maximum(1.0 - np.abs(place[..., None] - np.arange(1, KNOTS + 1)), 0.0)
    return weights


def expected_log_value(
    run: tuple[np.ndarray, ...],
    theta: Mapping[str, np.ndarray],
    *,
    final: ArrayLike,
    errors: Iterable[tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """log V of the law at N, U and e of `run`, corrected by its error within the runs.

    `errors` are weights and what they weigh, one after the other, for all at once would take many
    times the memory: the walk at its knots (`knot_weights`), the walls of the two sides (`excess`).
    Everything broadcasts.
    """
    value = np.log(loss(*run, **theta, final=final))
    for weight, error in errors:
        value = value + weight * error
    return np.asarray(value)


def compute_optimal(
    flops: ArrayLike,
    *,
    log_A: ArrayLike,
    log_B: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike,
    flops_per_param_sample: ArrayLike = 6.0,
) -> tuple[Array, Array]:
    """N*, D* that minimise the one-epoch loss at C = c·N·D, with c = `flops_per_param_sample`.

    N* = (αA/βB)^{1/(α+β)} (C/c)^{β/(α+β)} and D* = C/(c N*), from dL/dN = 0 on the iso-FLOP line
    (arXiv:2203.15556, Eq. 4). γ does not enter: u^γ falls where u falls.
    """
    xp = namespace(flops, log_A, log_B, alpha, beta, flops_per_param_sample)
    product = xp.log(flops) - xp.log(flops_per_param_sample)
    log_params = _log_optimal_params(product, log_A, log_B, alpha, beta)
    return xp.exp(log_params), xp.exp(product - log_params)


def _log_optimal_params(
    log_product: ArrayLike,
    log_A: ArrayLike,
    log_B: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike,
) -> Array:
    """Logarithm of N* where log(N·D) is given."""
    xp = namespace(log_product, log_A, log_B, alpha, beta)
    balance = xp.log(alpha) - xp.log(beta) + log_A - log_B
    log_params: Array = (balance + beta * xp.asarray(log_product)) / (xp.asarray(alpha) + beta)
    return log_params
