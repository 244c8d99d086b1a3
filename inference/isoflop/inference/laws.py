"""Scaling laws as pure functions of parameters and budgets, in `jax.numpy`.

Every function broadcasts its arguments, so a draw axis in front of a run axis needs no loop.
Symbols: N parameters, D samples seen, U distinct samples, e = D/U epochs, C FLOP, L loss in nat.
The law (Hoffmann et al., arXiv:2203.15556, Eq. 2, with the repetition gain and the coupling γ):

    D_eff = U · [1 + (ω−1)(1 − exp(−(e−1)/(ω−1)))]
    u     = A N^(−α) + B D_eff^(−β)
    L     = L∞ + u^γ
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

# Losses agree to 1e-4 between seeds and budgets span 1e24: single precision is not enough.
jax.config.update("jax_enable_x64", True)


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


LAWS = {
    law.name: law
    for law in (
        Law(
            name="coupled",
            parameters=("loss_inf", "log_A", "log_B", "alpha", "beta", "gamma", "omega"),
            equation="L = L∞ + (A N^−α + B D_eff^−β)^γ",
            couples=True,
        ),
        Law(
            name="additive",
            parameters=("loss_inf", "log_A", "log_B", "alpha", "beta", "omega"),
            equation="L = L∞ + A N^−α + B D_eff^−β",
            couples=False,
        ),
    )
}


def law_named(name: str) -> Law:
    """The law of this name; `ValueError` lists the names there are."""
    if name not in LAWS:
        raise ValueError(f"unknown law {name!r}; choose one of {', '.join(LAWS)}")
    return LAWS[name]


def effective_samples(unique_samples: ArrayLike, epochs: ArrayLike, omega: ArrayLike) -> Array:
    """Effective data D_eff of U samples seen e ≥ 1 times, in samples.

    The gain D_eff/U has slope 1 at e = 1 and never exceeds ω > 1. With R* = ω − 1 this is the
    form of Muennighoff et al., arXiv:2305.16264, Eq. 5.

    >>> round(float(effective_samples(100.0, 1.0, 16.4)), 3)
    100.0
    >>> round(float(effective_samples(100.0, 1e9, 16.4)), 3)
    1640.0
    """
    spare = jnp.asarray(omega) - 1.0
    return jnp.asarray(unique_samples) * (
        1.0 - spare * jnp.expm1(-(jnp.asarray(epochs) - 1.0) / spare)
    )


def log_reducible(
    params: ArrayLike,
    effective: ArrayLike,
    *,
    log_A: ArrayLike,
    log_B: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike,
    gamma: ArrayLike = 1.0,
) -> Array:
    """Logarithm of the reducible loss, γ log(A N^−α + B D_eff^−β), summed without overflow."""
    log_n_term = log_A - alpha * jnp.log(params)
    log_d_term = log_B - beta * jnp.log(effective)
    return jnp.asarray(gamma) * jnp.logaddexp(log_n_term, log_d_term)


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
) -> Array:
    """Loss in nat of N parameters trained on U distinct samples, e epochs.

    The replication of Chinchilla (arXiv:2404.10102) at the size and data of its largest model:

    >>> published = dict(loss_inf=1.8172, log_A=jnp.log(482.01), log_B=jnp.log(2085.43))
    >>> round(float(loss(70e9, 1.4e12, **published, alpha=0.3478, beta=0.3658)), 2)
    1.97
    """
    effective = effective_samples(unique_samples, epochs, omega)
    terms = {"log_A": log_A, "log_B": log_B, "alpha": alpha, "beta": beta, "gamma": gamma}
    return jnp.asarray(loss_inf) + jnp.exp(log_reducible(params, effective, **terms))


def scatter(
    samples: ArrayLike, *, sigma: ArrayLike, sigma_slope: ArrayLike, reference: ArrayLike
) -> Array:
    """Scale of a run's log loss about the law, σ (D / D_ref)^slope; σ is quoted at `reference`.

    Seeds of a run on few samples differ more than seeds of a run on many, so the slope is mostly
    negative.
    """
    return jnp.asarray(sigma) * (jnp.asarray(samples) / reference) ** sigma_slope


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
    product = jnp.log(jnp.asarray(flops)) - jnp.log(jnp.asarray(flops_per_param_sample))
    balance = jnp.log(jnp.asarray(alpha)) - jnp.log(jnp.asarray(beta)) + log_A - log_B
    log_params = (balance + beta * product) / (jnp.asarray(alpha) + beta)
    return jnp.exp(log_params), jnp.exp(product - log_params)
