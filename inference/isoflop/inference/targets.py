"""The compiled programs of the model: one for each law, number of groups and bucket of runs."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers

from isoflop.inference.density import Target, latent_sites
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
from isoflop.inference.pooling import STANDARD, Pooled
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
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda data: latent_sites(sample_parameters, data, law, priors), data)
    normals = {name: rng.normal(size=(draws, *site.shape)) for name, site in shapes.items()}
    drawn = _prior_program(law, priors)(normals, data)
    kappa = np.exp(priors.log_kappa.location + priors.log_kappa.scale * rng.normal(size=draws))
    return {name: np.asarray(value) for name, value in drawn.items()} | {"kappa": kappa}


@lru_cache(maxsize=64)
def _prior_program(
    law: Law, priors: Priors
) -> Callable[[dict[str, np.ndarray], RunData], dict[str, Array]]:
    # NumPyro's `Predictive` compiles each step by itself, and random numbers made inside this
    # program would take five sixths of its compilation.
    return jax.jit(jax.vmap(partial(_prior_draw, law, priors), in_axes=(0, None)))


def _prior_draw(
    law: Law, priors: Priors, normals: dict[str, Array], data: RunData
) -> dict[str, Array]:
    """All sites at the draw of the prior that standard normals stand for."""
    prior = handlers.substitute(
        sample_parameters, substitute_fn=lambda site: _standing_for(site, normals)
    )
    sites = handlers.trace(prior).get_trace(data, law, priors)
    return {name: site["value"] for name, site in sites.items()}


def _standing_for(site: dict[str, Any], normals: dict[str, Array]) -> Array | None:
    """The value of a site that standard normals stand for; every site sampled is normal."""
    if site["type"] != "sample":
        return None
    within, unit = site["fn"], normals[site["name"]]
    if isinstance(within, Pooled):
        return within.standing_for(unit)
    while not isinstance(within, dist.Normal):
        within = within.base_dist
    return jnp.asarray(within.loc + within.scale * unit)
