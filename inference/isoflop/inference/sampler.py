"""NUTS arranged for a CPU: one compilation a shape, a start at the mode, chains in threads.

A NumPyro model becomes a density of one flat vector in which the data are arguments, so every
table of the same padded shape runs the same program. Chains run in coordinates in which the
posterior is about a standard normal (`geometry`): by the mode and the curvature there at first, by
the draws of a pilot run of all chains after that. Adaptation is of the step size alone. Where a
site mixes slowly all chains go on, in coordinates by the draws so far. XLA runs a program outside
Python's lock, so threads are enough for the chains.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from arviz_base import rcParams
from arviz_stats.base import array_stats

from isoflop.inference.density import CHUNK, Target
from isoflop.inference.diagnostics import MIN_ESS
from isoflop.inference.geometry import Whitening, whitened, whitening
from isoflop.inference.mode import Mode

PILOT_DRAWS = 300
"""Draws a chain whose mean and covariance say what is about standard normal."""
MANY = 200
"""Dimensions above which a second pilot run starts where the first one ended."""
SHARE = 0.2
"""Effective draws for a draw kept, of the site that mixes worst, that are enough where so few are
kept that these are less than what the verdict asks for; with fewer, chains go on."""
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
    longest: int = 4
    """Times as many draws are made, at most, where chains mix slowly; every so many-th is kept."""


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
    pilot = replace(lengths, draws=PILOT_DRAWS)
    to = whitening(target.layout, mode.location, mode.covariance)
    at, covariance = _spread(mode, lengths.chains, seed), mode.covariance
    for run in range(pilots(target)):
        z = _chains(target, data, at, to, pilot, seed=seed + 100 * run + 1, tick=tick)["z"]
        (to, covariance), at = _learned(target, z, covariance), z[:, -1]
    parts: list[dict[str, np.ndarray]] = []
    for run in range(lengths.longest):
        parts.append(_chains(target, data, at, to, lengths, seed=seed + 1000 * run + 2, tick=tick))
        kept = _thinned(parts)
        sites = _sites(target, data, kept.pop("z"))
        if least_ess(sites) >= min(MIN_ESS, SHARE * lengths.chains * lengths.draws):
            break
        z = np.concatenate([part["z"] for part in parts], axis=1)
        (to, covariance), at = _learned(target, z, covariance), z[:, -1]
    return ChainDraws(sites, kept)


def least_ess(sites: Mapping[str, np.ndarray]) -> float:
    """Effective sample size, of bulk or tails, of the number that mixes worst of all that vary.

    Sites have the shape (chains, draws, ...).
    """
    columns = [site.reshape(*site.shape[:2], -1) for site in sites.values()]
    numbers = np.concatenate(columns, axis=-1)
    numbers = numbers[..., np.ptp(numbers, axis=(0, 1)) > 0.0]
    axes = {"chain_axis": 0, "draw_axis": 1}
    bulk = array_stats.ess(numbers, method="bulk", **axes)
    # The tails that the verdict looks at.
    tail = array_stats.ess(numbers, method="tail", prob=rcParams["stats.ci_prob"], **axes)
    return float(min(np.min(bulk), np.min(tail)))


def _sites(target: Target, data: Any, z: np.ndarray) -> dict[str, np.ndarray]:
    """Sites by name at flat vectors of the shape (chains, draws, dimensions)."""
    sites = target.constrain(z.reshape(-1, z.shape[-1]), data)
    return {name: site.reshape(z.shape[:2] + site.shape[1:]) for name, site in sites.items()}


def _thinned(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """As many steps of each chain as a part has, evenly from all parts.

    A step counts the leapfrog steps of those left out before it, and diverged if any of them did.
    """
    rounds = len(parts)
    whole = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
    blocks = {n: v.reshape(v.shape[0], -1, rounds, *v.shape[2:]) for n, v in whole.items()}
    return {name: block[:, :, -1] for name, block in blocks.items()} | {
        "n_steps": blocks["n_steps"].sum(axis=2),
        "diverging": blocks["diverging"].any(axis=2),
    }


def _learned(target: Target, z: np.ndarray, covariance: np.ndarray) -> tuple[Whitening, np.ndarray]:
    """The coordinates that draws (chains, draws, dimensions) suggest, and their covariance."""
    draws = z.reshape(-1, target.dimensions)
    covariance = _pooled_covariance(draws, covariance, target.layout.together)
    return whitening(target.layout, draws.mean(axis=0), covariance), covariance


def pilots(target: Target) -> int:
    """Pilot runs before the draws that are kept: one more where the first has a long way to go.

    The scales of many groups are far from their prior medians, at which the mode is sought.
    """
    return 2 if target.dimensions > MANY else 1


def laplace_draws(
    target: Target, data: Any, mode: Mode, draws: int, *, seed: int
) -> dict[str, np.ndarray]:
    """Sites drawn from the normal approximation at the mode, shape (draws, ...)."""
    root = np.linalg.cholesky(mode.covariance)
    noise = np.random.default_rng(seed).normal(size=(draws, target.dimensions))
    return target.constrain(mode.location + noise @ root.T, data)


def _spread(mode: Mode, chains: int, seed: int) -> np.ndarray:
    """One start a chain about the modes in turn, shape (chains, dimensions)."""
    root = np.linalg.cholesky(mode.covariance)
    noise = np.random.default_rng(seed).normal(size=(chains, len(mode.location)))
    return np.asarray(mode.starts[np.arange(chains) % len(mode.starts)] + SPREAD * noise @ root.T)


def _pooled_covariance(draws: np.ndarray, prior: np.ndarray, together: int) -> np.ndarray:
    """Covariance of draws (draws, dimensions), shrunk to the correlations before.

    A few hundred draws tell every variance, but not all correlations of `together` dimensions.
    """
    weight = (2.0 * together / (2.0 * together + len(draws))) ** 2
    drawn = np.cov(draws.T).reshape(prior.shape)
    ratio = np.sqrt(np.diag(drawn) / np.diag(prior))
    return np.asarray((1.0 - weight) * drawn + weight * prior * np.outer(ratio, ratio))


def _chains(
    target: Target,
    data: Any,
    starts: np.ndarray,
    to: Whitening,
    lengths: Lengths,
    *,
    seed: int,
    tick: Callable[[int], None],
) -> dict[str, np.ndarray]:
    """Run every chain through warm-up; its steps after that, shape (chain, draw, ...)."""
    keys = jax.random.split(jax.random.key(seed), lengths.chains)
    chunks = -(-(lengths.warmup + lengths.draws) // CHUNK)
    on_device = jax.device_put(to)
    start, advance = target.chains(data)

    def run(chain: int) -> dict[str, np.ndarray]:
        w = jnp.asarray(whitened(target.layout, to, starts[chain]))
        state = start(keys[chain], w, target.energy(starts[chain], data), on_device, data)
        parts = []
        for _ in range(chunks):
            state, steps = advance(state, on_device, data)
            parts.append(jax.tree.map(np.asarray, steps))
            tick(CHUNK)
        kept = slice(lengths.warmup, lengths.warmup + lengths.draws)
        return {name: np.concatenate([part[name] for part in parts])[kept] for name in parts[0]}

    with ThreadPoolExecutor(min(lengths.chains, os.cpu_count() or 1)) as pool:
        outcomes = list(pool.map(run, range(lengths.chains)))
    return {name: np.stack([outcome[name] for outcome in outcomes]) for name in outcomes[0]}
