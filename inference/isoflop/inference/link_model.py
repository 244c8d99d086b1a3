"""The NumPyro model of the working points: how many jets pass a tagger of a given loss.

For run i of group g and working point s, with the link u(L) of `isoflop.inference.rates`:

    u_i = level_gs − Σ_k slope_gsk o_k(x_i) + τ_s exp(h x_i) z_i,   x_i = L_i − L̄
    passed_i ~ Binomial(tested_i, p(u_i)),   z_i ~ Normal(0, 1)

The counts are the data: a rejection measured with three jets has their error, and one with none is
a lower limit by construction. No form of the link is given: from segment to segment of width Δ,
towards low losses, the logarithm of its slope makes a step of a random walk,

    log slope_{k+1} = log slope_k + ω √Δ z_k,

whose size ω all working points share and the counts decide. The last segment lies below every
loss that was counted at, so the walk alone speaks there: the link's error grows with the distance.
Levels and slopes are pooled over the groups, which walk apart by steps of a size of their own, and
slopes over the working points. The scatter z of a run is integrated out by quadrature, so the
sampler meets no latent of any run.
"""

from dataclasses import dataclass, fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike

from isoflop.inference import rates
from isoflop.inference.pooling import STANDARD
from isoflop.inference.priors import LINK, LinkPriors, Scale

SEGMENTS = 4
"""Segments of equal width between the highest and the lowest loss; one more lies below."""
NODES = 5
"""Nodes of the quadrature over a run's scatter; put where its counts are, five err by 1e-3."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PointData:
    """Counts of one kind of working point, arrays of shape (rows,); a pytree."""

    x: np.ndarray
    """Loss minus `centre`, in nat."""
    passed: np.ndarray
    """Jets that passed: of the background at fixed efficiency, else of the signal."""
    tested: np.ndarray
    """Jets tested."""
    group: np.ndarray
    """Index of the group."""
    signal: np.ndarray
    """Index of the working point."""
    observed: np.ndarray
    """Whether the row is a count; rows that only fill up a shape say nothing."""
    near: np.ndarray
    """u that the counts alone suggest; where the quadrature looks."""
    width: np.ndarray
    """Its standard error."""
    level: np.ndarray
    """Median of `near` over the rows about the centre, shape (signals,); locates the prior."""
    knots: np.ndarray
    """Lower ends of the segments, from high to low, minus `centre`, in nat, shape (SEGMENTS,)."""
    groups: np.ndarray
    """Zeros of shape (groups,): their number is part of the shape."""


_SHARED = ("level", "knots", "groups")


def padded(data: PointData, rows: int) -> PointData:
    """The same counts with rows that say nothing up to `rows`, so that tables share a program."""
    missing = rows - len(data.x)
    per_row = [one.name for one in fields(PointData) if one.name not in _SHARED]
    filled = {name: np.pad(getattr(data, name), (0, missing)) for name in per_row}
    filled["width"][len(data.x) :] = 1.0
    return replace(data, **filled)


def link_model(data: PointData, kind: str, priors: LinkPriors = LINK) -> None:
    """The joint density of a link's parameters and the counts."""
    link = sample_link(data, priors)
    cell = data.group, data.signal
    mean = rates.transformed(data.x, link["level"][cell], link["slope"][cell], data.knots)
    scale = rates.scatter(data.x, link["scatter"][data.signal], link["scatter_slope"])
    log_p = log_marginal(data, mean, scale, kind)
    numpyro.factor("passed_obs", jnp.sum(jnp.where(data.observed, log_p, 0.0)))


def log_marginal(data: PointData, mean: ArrayLike, scale: ArrayLike, kind: str) -> Array:
    """Log probability of the counts with the scatter integrated out, shape (rows,).

    Gauss-Hermite about the normal approximation of the integrand, up to the binomial coefficient.
    """
    mean, scale = jnp.asarray(mean), jnp.asarray(scale)
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    precision = 1.0 / scale**2 + 1.0 / data.width**2
    middle = (mean / scale**2 + data.near / data.width**2) / precision
    step = nodes[:, None] / jnp.sqrt(precision)
    u = middle + step
    passes, fails = rates.log_passing(u, kind)
    counts = data.passed * passes + (data.tested - data.passed) * fails
    normal = -0.5 * ((u - mean) / scale) ** 2 - jnp.log(scale * jnp.sqrt(precision))
    log_weight = np.log(weights / np.sqrt(2.0 * np.pi)) + 0.5 * nodes**2
    return jnp.asarray(logsumexp(log_weight[:, None] + counts + normal, axis=0))


def sample_link(data: PointData, priors: LinkPriors = LINK) -> dict[str, Array]:
    """The prior: `level` (groups, signals), `slope` (groups, signals, segments), scatter."""
    groups, signals = data.groups.shape[0], data.level.shape[0]
    about = dist.Normal(priors.level.location, priors.level.scale)
    level = data.level + numpyro.sample("level_mean", about.expand([signals]).to_event(1))
    usual = dist.Normal(priors.log_scatter.location, priors.log_scatter.scale)
    log_scatter = numpyro.sample("log_scatter_mean", usual)
    log_scatter = _about("log_scatter_signal", log_scatter, priors.tau_scatter, signals)
    h = dist.Normal(priors.scatter_slope.location, priors.scatter_slope.scale)
    link = {
        "level": level + _deviations("level", priors.tau_level, groups, (signals,)),
        "slope": jnp.exp(_log_slope(data, priors)),
        "scatter": jnp.exp(log_scatter),
    }
    link = {name: numpyro.deterministic(name, value) for name, value in link.items()}
    return link | {"scatter_slope": numpyro.sample("scatter_slope", h)}


def _log_slope(data: PointData, priors: LinkPriors) -> Array:
    """The walk of every working point and group, shape (groups, signals, SEGMENTS + 1).

    Groups begin alike at high loss, where all taggers are near guessing, and part from there; below
    the lowest loss they walk together.
    """
    groups, signals = data.groups.shape[0], data.level.shape[0]
    unit = jnp.sqrt(data.knots[0] - data.knots[1])
    usual = dist.Normal(priors.log_slope.location, priors.log_slope.scale)
    common = numpyro.sample("log_slope_mean", usual)
    first = _about("log_slope_signal", common, priors.tau_slope, signals)
    step = dist.Normal(0.0, unit * _scale(priors.tau_walk)).expand([SEGMENTS, signals])
    steps = jnp.concatenate([first[None], numpyro.sample("walk", step.to_event(2))])
    own = _deviations("walk", priors.tau_walk_group, groups, (signals, SEGMENTS - 1), unit=unit)
    return jnp.cumsum(steps.T + jnp.pad(own, ((0, 0), (0, 0), (1, 1))), axis=-1)


def _scale(tau: Scale) -> Array:
    standard = numpyro.sample(f"{tau.site}{STANDARD}", dist.Normal(0.0, 1.0))
    return jnp.asarray(
        numpyro.deterministic(tau.site, tau.median * jnp.exp(tau.log_scale * standard))
    )


def _about(site: str, mean: Array, tau: Scale, signals: int) -> Array:
    """Values of the working points about their common mean, shape (signals,)."""
    normal = dist.Normal(mean, _scale(tau)).expand([signals])
    return jnp.asarray(numpyro.sample(site, normal.to_event(1)))


def _deviations(
    name: str, tau: Scale, groups: int, shape: tuple[int, ...], *, unit: ArrayLike = 1.0
) -> Array:
    """What each group deviates by, shape (groups, *shape); zero for a single group.

    Deviations sum to zero over the groups, so that the runs inform the mean apart from them.
    """
    if groups == 1:
        return jnp.zeros((1, *shape))
    own = dist.ZeroSumNormal(_scale(tau) * unit, (groups,)).expand(shape).to_event(len(shape))
    return jnp.moveaxis(numpyro.sample(f"{name}_deviation", own), -1, 0)
