"""The hierarchical NumPyro model of training runs.

For run i of group g, with the law of `isoflop.inference.laws`:

    log loss_i ~ StudentT(ν, log L(N_i, U_i, e_i; θ_g), σ_i)
    σ_i² = [σ (D_i / D₀)^slope]² + (stderr_i / loss_i)²

It is sampled in an orthogonal parametrisation. At the centre (N₀, D₀) of the runs

    L_c = loss there,   L∞ = L_c·p,   u₀^γ = L_c·(1−p),   A N₀^−α = s·u₀,   B D₀^−β = (1−s)·u₀,

and (L_c, p, s, γα, γβ) are sampled, because runs near the centre inform each of them apart; A and
B are extrapolations to one parameter and one sample, so correlated that a sampler crawls.
Groups are partially pooled: their deviations from the mean share a scale τ that the runs inform.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
from jax import Array
from jax.nn import log_sigmoid, sigmoid

from isoflop.inference import laws
from isoflop.inference.laws import Law
from isoflop.inference.priors import DEFAULT, Normal, Priors, Scale


@dataclass(frozen=True)
class RunData:
    """The runs as arrays, shape (runs,), and the groups they belong to."""

    params: np.ndarray
    """N."""
    unique_samples: np.ndarray
    """U, in samples."""
    epochs: np.ndarray
    """e = D/U."""
    loss: np.ndarray
    """Validation loss, in nat."""
    relative_stderr: np.ndarray
    """Sampling error over the loss; 0 where it is unknown or common to the runs of the group."""
    group: np.ndarray
    """Index into `groups`."""
    groups: tuple[str, ...]
    """Names of the groups, sorted."""
    centre: tuple[float, float]
    """log N₀ and log D₀: medians over the runs."""
    level: np.ndarray
    """Mean log loss of each group, shape (groups,); locates the prior of the level."""


def run_data(records: pd.DataFrame) -> RunData:
    """The arrays of a checked record table whose losses are all known."""
    groups, index = np.unique(records["group"].to_numpy(str), return_inverse=True)
    loss = records["loss"].to_numpy(float)
    params = records["params"].to_numpy(float)
    samples = records["samples"].to_numpy(float)
    unique = np.minimum(records["unique_samples"].to_numpy(float), samples)
    log_loss = np.log(loss)
    return RunData(
        params=params,
        unique_samples=unique,
        epochs=samples / unique,
        loss=loss,
        relative_stderr=_own_stderr(records) / loss,
        group=index,
        groups=tuple(str(name) for name in groups),
        centre=(float(np.median(np.log(params))), float(np.median(np.log(samples)))),
        level=np.array([log_loss[index == g].mean() for g in range(len(groups))]),
    )


def _own_stderr(records: pd.DataFrame) -> np.ndarray:
    """Sampling error [nat] of each run's loss that its neighbours do not share, shape (runs,).

    Runs measured on the same validation jets err together: that shifts the whole group, L∞ with
    it, and is no scatter between runs. A group whose runs all name one `dataset` is such a case.
    """
    names = records.groupby("group")["dataset"]
    shared = names.transform("nunique").eq(1) & names.transform("count").eq(names.transform("size"))
    return records["loss_stderr"].mask(shared, 0.0).fillna(0.0).to_numpy(float)


def scaling_model(data: RunData, law: Law, priors: Priors = DEFAULT) -> None:
    """The joint density of the parameters and the runs."""
    theta, noise = sample_parameters(data, law, priors)
    mean = laws.loss(
        data.params,
        data.unique_samples,
        data.epochs,
        **{name: value[data.group] for name, value in theta.items()},
    )
    sigma = laws.scatter(
        data.unique_samples * data.epochs,
        sigma=noise["sigma"],
        sigma_slope=noise["sigma_slope"],
        reference=np.exp(data.centre[1]),
    )
    # The place of a discrepancy that grows with the distance from the runs is in this scale.
    scale = jnp.sqrt(sigma**2 + data.relative_stderr**2)
    likelihood = dist.StudentT(noise["nu"], jnp.log(mean), scale)
    numpyro.sample("log_loss_obs", likelihood, obs=jnp.log(data.loss))


def sample_parameters(
    data: RunData, law: Law, priors: Priors = DEFAULT
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The prior: the law's parameters by name, shape (groups,) each, then those of the scatter."""
    theta = _group_parameters(data, law, priors)
    noise = {
        "sigma": jnp.exp(numpyro.sample("log_sigma", _normal(priors.log_sigma))),
        "nu": jnp.exp(numpyro.sample("log_nu", _normal(priors.log_nu))),
    }
    noise = {name: numpyro.deterministic(name, value) for name, value in noise.items()}
    noise["sigma_slope"] = numpyro.sample("sigma_slope", _normal(priors.sigma_slope))
    return theta, noise


def _group_parameters(data: RunData, law: Law, priors: Priors) -> dict[str, Array]:
    """Sample the parameters of every group, shape (groups,) each, and record them by name."""
    groups = len(data.groups)
    permille = dist.Normal(priors.level.location * 1e3, priors.level.scale * 1e3)
    # The runs fix the level to 1e-3. NumPyro regularises its mass matrix towards 1e-3, so the
    # level is sampled in per mille; in natural units this alone cost six times the leapfrog steps.
    offset = numpyro.sample("level", permille.expand([groups]).to_event(1))
    level = data.level + 1e-3 * offset
    irreducible = _pooled("irreducible", priors.irreducible, priors.tau_loss_inf, groups)
    share = _pooled("share", priors.share, priors.tau_share, groups)
    log_slope_n = _pooled("log_slope_n", priors.log_slope, priors.tau_alpha, groups)
    log_slope_d = _pooled("log_slope_d", priors.log_slope, priors.tau_beta, groups)
    log_spare = _pooled("log_spare", priors.log_omega_minus_1, priors.tau_omega, groups)
    log_gamma = jnp.zeros(groups)
    if law.couples:
        log_gamma = _pooled("log_gamma", priors.log_gamma, priors.tau_gamma, groups)
    gamma = jnp.exp(log_gamma)
    alpha, beta = jnp.exp(log_slope_n - log_gamma), jnp.exp(log_slope_d - log_gamma)
    log_u0 = (level + log_sigmoid(-irreducible)) / gamma
    theta = {
        "loss_inf": jnp.exp(level) * sigmoid(irreducible),
        "log_A": log_u0 + log_sigmoid(share) + alpha * data.centre[0],
        "log_B": log_u0 + log_sigmoid(-share) + beta * data.centre[1],
        "alpha": alpha,
        "beta": beta,
        "gamma": gamma,
        "omega": 1.0 + jnp.exp(log_spare),
    }
    return {name: numpyro.deterministic(name, value) for name, value in theta.items()}


def _pooled(site: str, prior: Normal, tau: Scale, groups: int) -> Array:
    """Values of the groups about their common mean, shape (groups,); one group has no scale.

    The deviations sum to zero, so that the runs inform the mean apart from them.
    """
    mean = numpyro.sample(site, _normal(prior))
    if groups == 1:
        return jnp.reshape(mean, (1,))
    scale = numpyro.sample(tau.site, dist.LogNormal(jnp.log(tau.median), tau.log_scale))
    deviation = numpyro.sample(f"{site}_deviation", dist.ZeroSumNormal(scale, (groups,)))
    return jnp.asarray(mean + deviation)


def _normal(prior: Normal) -> dist.Normal:
    return dist.Normal(prior.location, prior.scale)
