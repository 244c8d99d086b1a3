"""How to spend a budget C = c·N·D: the best N, D and epochs, per draw and in expectation.

Log u is convex in log N on an iso-FLOP line, with or without a cap on distinct samples: it is the
log-sum-exp of −α log N and −β log D_eff, log D is affine in log N, and log D_eff is concave in
log D (its slope e·x/g, x = exp(−(e−1)/(ω−1)) and g the gain, falls with e). So each draw has one
minimum, the expected loss over draws has one too, and a golden section finds them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from isoflop.forecast.predict import Draws, loss_draws
from isoflop.inference import laws

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
# In log N. The loss is flat at its minimum, so this is far below what any forecast can tell.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Optimum:
    """Each draw's own best allocation of each budget; arrays of shape (draws, points)."""

    params: np.ndarray
    """N*."""
    unique_samples: np.ndarray
    """U*, in samples."""
    epochs: np.ndarray
    """e* = D*/U*; 1 where distinct samples are not capped."""
    at_bound: np.ndarray
    """Whether the optimum sits at N = 1 or D = 1, where the law means nothing."""

    @property
    def samples(self) -> np.ndarray:
        """D* = U*·e*, in samples."""
        return np.asarray(self.unique_samples * self.epochs)


@dataclass(frozen=True)
class Run:
    """One run that could be trained."""

    flops: float
    """Training compute C, in FLOP."""
    params: float
    """N."""
    unique_samples: float
    """U, in samples."""
    epochs: float
    """e = D/U."""

    @property
    def samples(self) -> float:
        """D = U·e, in samples."""
        return self.unique_samples * self.epochs


@dataclass(frozen=True)
class Plan(Run):
    """The one run of a budget with the smallest expected loss over the draws."""

    expected_loss: float
    """Mean over the draws of the law's loss, in nat."""
    at_bound: bool
    """Whether N = 1 or D = 1, where the law means nothing."""


def optimal(draws: Draws, flops: ArrayLike) -> Optimum:
    """Compute-optimal N*, D* of each draw at one epoch, in closed form.

    `flops` [FLOP] is a scalar or has shape (points,). N* is kept within [1, C/c].
    """
    budget = _budgets(draws, flops)
    params, _ = laws.compute_optimal(
        budget,
        **draws.columns("log_A", "log_B", "alpha", "beta"),
        flops_per_param_sample=draws.flops_per_param_sample,
    )
    within = np.clip(np.asarray(params), 1.0, np.exp(_log_product(draws, budget)))
    return _optimum(draws, np.log(within), budget, unique_cap=None)


def capped(draws: Draws, flops: ArrayLike, *, unique_cap: float) -> Optimum:
    """Best N*, D* of each draw when only `unique_cap` distinct samples exist.

    Samples beyond the cap are repeats, U = min(D, cap) and e = D/U, and count by the repetition
    gain (arXiv:2305.16264, Eq. 5). Where the cap does not bind this is `optimal`.
    """
    budget = _budgets(draws, flops)
    _require_cap(unique_cap)
    terms = draws.columns("log_A", "log_B", "alpha", "beta")
    omega, log_P = draws.omega[:, None], draws.log_P[:, None]

    def reducible(log_params: np.ndarray) -> np.ndarray:
        unique, epochs = _split_samples(draws, log_params, budget, unique_cap)
        effective = laws.effective_samples(unique, epochs, omega)
        params = np.exp(log_params)
        added = laws.overfitting(params, unique, epochs, log_P=log_P, final=draws.final)
        return np.asarray(laws.log_reducible(params, effective, **terms, penalty=added))

    # u, not the loss: γ and L∞ do not move a draw's minimum, and u is not flattened by them.
    high = np.broadcast_to(_log_product(draws, budget), (len(draws.alpha), len(budget)))
    log_params = golden_section(reducible, np.zeros_like(high), high)
    return _optimum(draws, log_params, budget, unique_cap=unique_cap)


def best_plan(draws: Draws, flops: float, *, unique_cap: float | None = None) -> Plan:
    """The (N, U, e) of a budget [FLOP] that minimises the expected loss over the draws."""
    return best_plans(draws, [flops], unique_cap=unique_cap)[0]


def best_plans(
    draws: Draws, flops: ArrayLike, *, unique_cap: float | None = None
) -> tuple[Plan, ...]:
    """`best_plan` of each budget in `flops`, shape (points,).

    The expectation is over the posterior, so the plan is not the optimum of the mean parameters.
    """
    budget = _budgets(draws, flops)
    own = best_per_draw(draws, budget, unique_cap=unique_cap)
    log_own = np.log(own.params)

    def expected(log_params: np.ndarray) -> np.ndarray:
        unique, epochs = _split_samples(draws, log_params, budget, unique_cap)
        loss = loss_draws(draws, np.exp(log_params), unique_samples=unique, epochs=epochs)
        return np.asarray(loss.mean(axis=0))

    # A mean of convex functions has its minimum between the first and the last of theirs.
    log_params = golden_section(expected, log_own.min(axis=0), log_own.max(axis=0))
    at = _optimum(draws, log_params, budget, unique_cap=unique_cap)
    expected_loss = expected(np.log(at.params))
    return tuple(
        Plan(
            flops=float(budget[i]),
            params=float(at.params[i]),
            unique_samples=float(at.unique_samples[i]),
            epochs=float(at.epochs[i]),
            expected_loss=float(expected_loss[i]),
            at_bound=bool(at.at_bound[i]),
        )
        for i in range(len(budget))
    )


def best_per_draw(draws: Draws, flops: ArrayLike, *, unique_cap: float | None = None) -> Optimum:
    """Each draw's own optimum: `optimal`, or `capped` if there is a cap."""
    if unique_cap is None:
        return optimal(draws, flops)
    return capped(draws, flops, unique_cap=unique_cap)


def golden_section(
    objective: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Minimise a unimodal function of each element between `low` and `high`, to `TOLERANCE`."""
    widest = max(float(np.max(high - low)), TOLERANCE)
    for _ in range(math.ceil(math.log(TOLERANCE / widest, GOLDEN))):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        falls = objective(right) < objective(left)
        low, high = np.where(falls, left, low), np.where(falls, high, right)
    return np.asarray((low + high) / 2.0)


def _optimum(
    draws: Draws, log_params: np.ndarray, budget: np.ndarray, *, unique_cap: float | None
) -> Optimum:
    """The allocation with this log N, kept to N ≥ 1 and D ≥ 1."""
    top = _log_product(draws, budget)
    at_low, at_high = log_params < 2.0 * TOLERANCE, log_params > top - 2.0 * TOLERANCE
    within = np.where(at_low, 0.0, np.where(at_high, top, log_params))
    unique, epochs = _split_samples(draws, within, budget, unique_cap)
    return Optimum(np.exp(within), unique, epochs, at_bound=at_low | at_high)


def _split_samples(
    draws: Draws, log_params: np.ndarray, budget: np.ndarray, unique_cap: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """U and e that a budget leaves beside N: D = C/(c·N), U = min(D, cap)."""
    samples = np.exp(_log_product(draws, budget) - log_params)
    unique = samples if unique_cap is None else np.minimum(samples, unique_cap)
    return unique, samples / unique


def _log_product(draws: Draws, budget: np.ndarray) -> np.ndarray:
    """log(N·D) = log(C/c)."""
    return np.asarray(np.log(budget / draws.flops_per_param_sample))


def _budgets(draws: Draws, flops: ArrayLike) -> np.ndarray:
    """Budgets [FLOP] as an array (points,); each must pay for one parameter and one sample."""
    budget = np.atleast_1d(np.asarray(flops, float))
    least = draws.flops_per_param_sample
    bad = budget[~(np.isfinite(budget) & (budget >= least))]
    if bad.size:
        raise ValueError(
            f"budget is {bad[0]:g} FLOP; it must be finite and at least {least:g} FLOP, what one "
            f"parameter and one sample cost in group {draws.group!r}; give a larger budget"
        )
    return budget


def _require_cap(unique_cap: float) -> None:
    if not (np.isfinite(unique_cap) and unique_cap >= 1.0):
        raise ValueError(
            f"the cap on distinct samples is {unique_cap:g}; it must be finite and at least 1; "
            "leave it out if samples are not limited"
        )
