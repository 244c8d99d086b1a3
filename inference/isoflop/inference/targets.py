"""The compiled programs of the model: one for each law, number of groups and bucket of runs."""

from collections.abc import Callable
from functools import lru_cache, partial

import jax
import numpy as np
from jax import Array
from numpyro import handlers

from isoflop.inference.density import Target
from isoflop.inference.laws import Law
from isoflop.inference.model import (
    NOISE,
    UNEVEN,
    RunData,
    bucket,
    padded,
    sample_parameters,
    scaling_model,
)
from isoflop.inference.pooling import STANDARD
from isoflop.inference.priors import Priors
from isoflop.inference.sampler import Lengths

MAX_PROGRAMS = 12
"""A program takes about 100 MB; beyond this many all are dropped, and come back from disk."""

_TARGETS: dict[tuple[Law, Priors, int, int, int], Target] = {}


def padded_target(
    data: RunData, law: Law, priors: Priors, *, warmup: int = Lengths.warmup
) -> tuple[Target, RunData]:
    """The program that serves these runs, and the runs filled up to its shape, on the device."""
    filled = jax.device_put(padded(data, bucket(len(data.loss))))
    key = (law, priors, len(filled.loss), len(filled.level), warmup)
    if key not in _TARGETS:
        if len(_TARGETS) >= MAX_PROGRAMS:
            _TARGETS.clear()
            _prior_program.cache_clear()
            jax.clear_caches()
        _TARGETS[key] = Target(
            scaling_model,
            filled,
            law,
            priors,
            warmup=warmup,
            held=STANDARD,
            noise=NOISE,
            uneven=UNEVEN,
            groups=len(filled.level),
        )
    return _TARGETS[key], filled


def prior_draws(
    data: RunData, law: Law, priors: Priors, draws: int, *, seed: int
) -> dict[str, np.ndarray]:
    """Independent draws of all sites before the runs are seen, draws first; κ among them."""
    keys = jax.random.split(jax.random.key(seed), draws)
    drawn = _prior_program(law, priors)(keys, data)
    scale = priors.log_kappa.scale * np.random.default_rng(seed).normal(size=draws)
    kappa = np.exp(priors.log_kappa.location + scale)
    return {name: np.asarray(value) for name, value in drawn.items()} | {"kappa": kappa}


@lru_cache(maxsize=64)
def _prior_program(law: Law, priors: Priors) -> Callable[[Array, RunData], dict[str, Array]]:
    # One compilation of the whole is quicker than NumPyro's `Predictive`, which compiles each step.
    return jax.jit(jax.vmap(partial(_prior_draw, law, priors), in_axes=(0, None)))


def _prior_draw(law: Law, priors: Priors, key: Array, data: RunData) -> dict[str, Array]:
    prior = handlers.seed(sample_parameters, key)
    sites = handlers.trace(prior).get_trace(data, law, priors)
    return {name: site["value"] for name, site in sites.items()}
