"""Values of groups that share a scale: each group has a coordinate of its own.

Values v_g = m + δ_g have a mean m with the prior of a single group and deviations δ that sum to
zero and share the scale τ. Sampled are the v_g themselves and not m and δ: given what the groups
share, the runs of one group then speak of its own coordinates only, which `geometry` makes use of.
A group whose runs do not tell its value leans on those that do, and τ is nearly all that is known
of its distance from them. Sampled is that distance in units of τ, as the value itself would crowd
where τ is small.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import constraints

from isoflop.inference.priors import Normal, Scale

STANDARD = "_standard"
"""Ending of the sites of group scales: log τ in prior standard deviations about its median."""
VALUES = "_group"
"""Ending of the sites of the groups' values."""


class Pooled(dist.Distribution):  # type: ignore[misc]
    """Values of groups, shape (groups,): a normal mean, and deviations of one scale about it."""

    arg_constraints: ClassVar = {"scale": constraints.positive}
    support = constraints.real_vector

    def __init__(self, prior: Normal, scale: Array | float, told: Array | np.ndarray) -> None:
        """`prior` is that of the mean over the groups, `scale` τ; `told`, shape (groups,), says of
        which groups the runs tell the value, of one at least."""
        self.mean_prior = dist.Normal(prior.location, prior.scale)
        self.scale = scale
        self.told = told
        self.deviations = dist.ZeroSumNormal(scale, told.shape)
        super().__init__(event_shape=told.shape, validate_args=False)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Coordinates of values drawn."""
        return self.standing_for(jax.random.normal(key, (*sample_shape, *self.event_shape)))

    def standing_for(self, normals: Array) -> Array:
        """The coordinates that independent standard normals, shape (..., groups), stand for.

        Their mean over the groups, of deviation 1/√groups, is independent of what is left of them.
        """
        middle = normals.mean(axis=-1, keepdims=True)
        spread = self.mean_prior.scale * jnp.sqrt(normals.shape[-1])
        values = self.mean_prior.loc + spread * middle + self.scale * (normals - middle)
        return jnp.where(self.told, values, (values - self._middle(values)) / self.scale)

    def values(self, coordinates: Array) -> Array:
        """The values, shape (..., groups), at what is sampled."""
        leaning = self._middle(coordinates) + self.scale * coordinates
        return jnp.where(self.told, coordinates, leaning)

    def _middle(self, values: Array) -> Array:
        """Mean over the groups that are told, shape (..., 1)."""
        return jnp.mean(values, axis=-1, where=self.told, keepdims=True)

    def log_prob(self, value: Array) -> Array:
        """Log density of the coordinates: that of the values, and the Jacobians of the two maps."""
        values = self.values(value)
        mean = values.mean(axis=-1)
        deviations = self.deviations.log_prob(values - mean[..., None])
        jacobian = jnp.sum(~self.told) * jnp.log(self.scale) - 0.5 * jnp.log(values.shape[-1])
        return jnp.asarray(self.mean_prior.log_prob(mean) + deviations + jacobian)


def pooled(
    site: str, prior: Normal, tau: Scale, told: Array | np.ndarray, shift: Array | float = 0.0
) -> Array:
    """Values of the groups about their common mean, shape (groups,); one group has no scale.

    `told`, shape (groups,), says of which groups the runs tell the value, of one at least.
    The value of a single group is sampled plus `shift`, shape (1,), which may depend on other
    sites: the runs may fix the sum where they do not fix the value, whose prior stays what it is.
    Many groups lean on their mean instead. The mean is recorded under the name of the site.
    """
    if told.shape[0] == 1:
        location = jnp.full(1, prior.location) + shift
        alone = dist.Normal(location, prior.scale).to_event(1)
        values = numpyro.sample(f"{site}{VALUES}", alone) - shift
    else:
        together = Pooled(prior, _scale(tau), told)
        values = together.values(numpyro.sample(f"{site}{VALUES}", together))
    numpyro.deterministic(site, values.mean())
    return jnp.asarray(values)


def loosely_pooled(site: str, prior: Normal, tau: Scale, groups: int) -> Array:
    """Values about a mean where most groups know nothing of theirs, shape (groups,).

    Deviations are sampled in units of their scale, as standard normals less their mean: the same as
    deviations that sum to zero, and the mean that is taken off concerns nothing else.
    """
    mean = numpyro.sample(site, dist.Normal(prior.location, prior.scale))
    if groups == 1:
        return jnp.reshape(mean, (1,))
    scale = _scale(tau)
    unit = numpyro.sample(f"{site}{VALUES}", dist.Normal(0.0, 1.0).expand([groups]).to_event(1))
    return jnp.asarray(mean + scale * (unit - unit.mean()))


def _scale(tau: Scale) -> Array:
    """The scale τ of the groups, log-normal."""
    standard = numpyro.sample(f"{tau.site}{STANDARD}", dist.Normal(0.0, 1.0))
    scale = tau.median * jnp.exp(tau.log_scale * standard)
    return jnp.asarray(numpyro.deterministic(tau.site, scale))
