"""NUTS arranged for a CPU: one compilation a shape, a start at the mode, chains in threads.

A NumPyro model becomes a density of one flat vector in which the data are arguments, so every
table of the same padded shape runs the same program. The mode and the curvature there give the
first mass matrix; a pilot run of all chains gives the one that is used. Adaptation after that is of
the step size alone. XLA runs a program outside Python's lock, so threads are enough for the chains.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from isoflop.inference.density import CHUNK, Target
from isoflop.inference.mode import Mode

PILOT_DRAWS = 300
"""Draws a chain whose covariance becomes the mass matrix."""
SPREAD = 1.5
"""Chains start this many posterior standard deviations about a mode: wider than the posterior, so
that R-hat can see chains that do not meet."""


@dataclass(frozen=True)
class Lengths:
    """How long to sample."""

    chains: int = 4
    """Markov chains."""
    draws: int = 1000
    """Draws kept of each chain."""
    warmup: int = 300
    """Steps that adapt the step size of a chain, in the pilot run and again after it."""


DEFAULT_LENGTHS = Lengths()


@dataclass(frozen=True)
class ChainDraws:
    """What the chains returned; every array starts with (chain, draw)."""

    sites: dict[str, np.ndarray]
    """Sampled and deterministic sites by name."""
    stats: dict[str, np.ndarray]
    """diverging, n_steps, acceptance_rate, energy and step_size, under ArviZ's names."""


def sample(
    target: Target,
    data: Any,
    mode: Mode,
    lengths: Lengths,
    *,
    seed: int,
    tick: Callable[[int], None] = lambda steps: None,
) -> ChainDraws:
    """Draw from the posterior; `tick` is told of every `CHUNK` steps that a chain has made."""
    pilot = Lengths(lengths.chains, PILOT_DRAWS, lengths.warmup)
    starts = _spread(mode, lengths.chains, seed)
    steps = _chains(target, data, starts, mode.covariance, pilot, seed=seed + 1, tick=tick)
    mass = _pooled_covariance(steps["z"], mode.covariance)
    last = steps["z"][:, -1]
    steps = _chains(target, data, last, mass, lengths, seed=seed + 2, tick=tick)
    flat = steps.pop("z").reshape(-1, target.dimensions)
    sites = jax.tree.map(np.asarray, target.constrain(flat, data))
    shape = (lengths.chains, lengths.draws)
    return ChainDraws({k: v.reshape(shape + v.shape[1:]) for k, v in sites.items()}, steps)


def laplace_draws(
    target: Target, data: Any, mode: Mode, draws: int, *, seed: int
) -> dict[str, np.ndarray]:
    """Sites drawn from the normal approximation at the mode, shape (draws, ...)."""
    root = np.linalg.cholesky(mode.covariance)
    noise = np.random.default_rng(seed).normal(size=(draws, target.dimensions))
    sites = target.constrain(mode.location + noise @ root.T, data)
    return {name: np.asarray(value) for name, value in sites.items()}


def _spread(mode: Mode, chains: int, seed: int) -> np.ndarray:
    """One start a chain about the modes in turn, shape (chains, dimensions)."""
    root = np.linalg.cholesky(mode.covariance)
    noise = np.random.default_rng(seed).normal(size=(chains, len(mode.location)))
    return np.asarray(mode.starts[np.arange(chains) % len(mode.starts)] + SPREAD * noise @ root.T)


def _pooled_covariance(z: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Covariance of the draws (chain, draw, dimension), shrunk to the correlations before.

    A few hundred draws tell every variance, but not the correlations of hundreds of dimensions.
    """
    flat = z.reshape(-1, z.shape[-1])
    weight = (2.0 * flat.shape[1] / (2.0 * flat.shape[1] + len(flat))) ** 2
    drawn = np.cov(flat.T).reshape(prior.shape)
    ratio = np.sqrt(np.diag(drawn) / np.diag(prior))
    return np.asarray((1.0 - weight) * drawn + weight * prior * np.outer(ratio, ratio))


def _chains(
    target: Target,
    data: Any,
    starts: np.ndarray,
    mass: np.ndarray,
    lengths: Lengths,
    *,
    seed: int,
    tick: Callable[[int], None],
) -> dict[str, np.ndarray]:
    """Run every chain through warm-up; its steps after that, shape (chain, draw, ...)."""
    keys = jax.random.split(jax.random.key(seed), lengths.chains)
    chunks = -(-(lengths.warmup + lengths.draws) // CHUNK)

    def run(chain: int) -> dict[str, np.ndarray]:
        z = jnp.asarray(starts[chain])
        state = target.start(keys[chain], (z, *target.energy(z, data)), jnp.asarray(mass), data)
        parts = []
        for _ in range(chunks):
            state, steps = target.advance(state, data)
            parts.append(jax.tree.map(np.asarray, steps))
            tick(CHUNK)
        kept = slice(lengths.warmup, lengths.warmup + lengths.draws)
        return {name: np.concatenate([part[name] for part in parts])[kept] for name in parts[0]}

    with ThreadPoolExecutor(min(lengths.chains, os.cpu_count() or 1)) as pool:
        outcomes = list(pool.map(run, range(lengths.chains)))
    return {name: np.stack([outcome[name] for outcome in outcomes]) for name in outcomes[0]}
