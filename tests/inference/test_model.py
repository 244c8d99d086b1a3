"""The density of the model against the same density written by hand with SciPy."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpyro.infer.util import log_density
from scipy import stats

from isoflop.inference import laws
from isoflop.inference.model import in_valley, run_data, scaling_model
from isoflop.inference.posterior import LAW_VARIABLES
from isoflop.inference.predictive import log_likelihood
from isoflop.inference.priors import DEFAULT
from isoflop.inference.targets import prior_draws

VALUES = {
    "irreducible": -1.5,
    "share": -0.2,
    "log_slope_n": np.log(0.4),
    "log_slope_d": np.log(0.3),
    "log_gamma": -0.1,
}
P, SHARE = 1 / (1 + np.exp(1.5 + 0.5 * 0.5**2)), 1 / (1 + np.exp(0.2))
MOVED = {
    "log_slope_n": np.log((1 - P) * SHARE),
    "log_slope_d": np.log((1 - P) * (1 - SHARE)),
    "log_gamma": np.log(1 - P),
}
OTHERS = {
    "log_spare": np.log(5.0),
    "log_penalty": np.log(0.07),
    "log_sigma": np.log(0.01),
    "sigma_slope": -0.1,
    "log_rho": np.log(0.12),
    "log_nu_minus_2": np.log(6.0),
    "level": np.array([0.012]),
    "walk_step": np.array([[0.5, -1.0, 0.3, 2.0]]),
    "wall_step": np.array([[-0.5, 1.0]]),
}
SITES = OTHERS | {f"{k}_group": np.array([v + MOVED.get(k, 0.0)]) for k, v in VALUES.items()}
KAPPA = 0.2


def test_density_is_prior_times_likelihood(two_groups: Any) -> None:
    records = two_groups.runs.query("group == 'small'").copy()
    records["loss_stderr"] = 0.004
    records["loss_kind"] = np.where(np.arange(len(records)) % 2, "final", "best")
    data = replace(run_data(records), kappa=np.array(KAPPA))
    _, trace = log_density(scaling_model, (data, laws.LAWS["coupled"]), {}, SITES)
    data = in_valley(data, {name: np.asarray(trace[name]["value"]) for name in LAW_VARIABLES})
    density, _ = log_density(scaling_model, (data, laws.LAWS["coupled"]), {}, SITES)

    priors = {
        "irreducible": DEFAULT.irreducible,
        "share": DEFAULT.share,
        "log_slope_n": DEFAULT.log_slope,
        "log_slope_d": DEFAULT.log_slope,
        "log_spare": DEFAULT.log_omega_minus_1,
        "log_gamma": DEFAULT.log_gamma,
        "log_penalty": DEFAULT.log_penalty,
        "log_sigma": DEFAULT.log_sigma,
        "sigma_slope": DEFAULT.sigma_slope,
        "log_rho": DEFAULT.log_rho,
        "log_nu_minus_2": DEFAULT.log_nu_minus_2,
    }
    at = VALUES | OTHERS
    prior = sum(stats.norm.logpdf(at[k], p.location, p.scale) for k, p in priors.items())
    prior += stats.norm.logpdf(0.012, DEFAULT.level.location, DEFAULT.level.scale)
    prior += sum(np.sum(stats.norm.logpdf(SITES[k])) for k in ("walk_step", "wall_step"))

    gamma = np.exp(-0.1)
    alpha, beta = 0.4 / gamma, 0.3 / gamma
    n0 = np.exp(np.median(np.log(data.params)))
    d0 = np.exp(np.median(np.log(data.unique_samples * data.epochs)))
    at_centre = np.exp(np.log(data.loss).mean() + 0.012)
    u0 = (at_centre * (1 - P)) ** (1 / gamma)
    gain = 1 + 5.0 * (1 - np.exp(-(data.epochs - 1) / 5.0))
    u = u0 * (
        SHARE * (data.params / n0) ** -alpha
        + (1 - SHARE) * (data.unique_samples * gain / d0) ** -beta
    )
    final = np.arange(len(records)) % 2
    overfitting = 0.07 / gamma * u0 * data.params / data.unique_samples * (data.epochs - 1) / 10
    u = u + final * overfitting
    mean = np.log(at_centre * P + u**gamma)
    own = 0.01 * (data.unique_samples * data.epochs / d0) ** -0.1
    # The best run of the same N D, where a fall of one term is worth the rise of the other.
    product = data.params * data.unique_samples * data.epochs
    balance = alpha * SHARE / (beta * (1 - SHARE))
    best = n0 * (balance * (product / (n0 * d0)) ** beta) ** (1 / (alpha + beta))
    u_best = u0 * SHARE * (best / n0) ** -alpha * (1 + alpha / beta)
    lost = mean - np.log(at_centre * P + u_best**gamma)
    assert (lost > 0.0).all()
    fresh = u0 * (
        SHARE * (data.params / n0) ** -alpha
        + (1 - SHARE) * (data.unique_samples * data.epochs / d0) ** -beta
    )
    wall = np.log((at_centre * P + fresh**gamma) / (at_centre * P + u_best**gamma))
    mean = mean + 0.2 * np.where(data.params > best, 1.0, -0.5) * wall
    scale = np.sqrt(own**2 + (0.12 * lost) ** 2 + (0.004 / data.loss) ** 2 + 1e-8)
    # The error of the law, from the dearest run down.
    below = np.log10(records["flops"].max() / records["flops"].to_numpy())
    dearest, dear = np.quantile(below, (0.25, 0.5))
    halves = below <= dearest, (below > dearest) & (below <= dear)
    near, far = ([np.median(v[half]) for v in (below, np.log(data.loss))] for half in halves)
    fall = (far[1] - near[1]) / (far[0] - near[0])
    walk = KAPPA * fall * np.sqrt(below.max() / 4) * np.array([0.0, 0.5, -0.5, -0.2, 1.8])
    mean = mean + np.interp(below, np.linspace(0.0, below.max(), 5), walk)
    right = 0.99 * stats.t.pdf(np.log(data.loss), 8.0, loc=mean, scale=scale)
    wrong = 0.01 * stats.t.pdf(np.log(data.loss), 2.0, loc=mean, scale=0.3)
    likelihood = np.log(right + wrong).sum()
    assert float(density) == pytest.approx(prior + likelihood, rel=1e-9)


def test_what_one_group_samples_leaves_the_prior_of_its_slopes(one_group: Any) -> None:
    drawn = prior_draws(run_data(one_group.runs), laws.LAWS["coupled"], DEFAULT, 4000, seed=0)
    for site, prior in (("log_slope_n", DEFAULT.log_slope), ("log_gamma", DEFAULT.log_gamma)):
        assert stats.kstest(drawn[site], "norm", (prior.location, prior.scale)).pvalue > 1e-3
    slopes = np.log(drawn["alpha"] * drawn["gamma"])[:, 0]
    np.testing.assert_allclose(slopes, drawn["log_slope_n"], atol=1e-9)


def test_log_likelihood_of_draws_is_that_of_the_model(one_group: Any) -> None:
    data = replace(run_data(one_group.runs), kappa=np.array(KAPPA))
    data = replace(data, lost=np.linspace(0.0, 0.3, data.lost.size).reshape(data.lost.shape))
    _, trace = log_density(scaling_model, (data, laws.LAWS["coupled"]), {}, SITES)
    draws = {name: np.asarray(site["value"])[None, None] for name, site in trace.items()}
    observed = trace["log_loss_obs"]
    exact = observed["fn"].log_prob(observed["value"])
    np.testing.assert_allclose(log_likelihood(draws, data)[0, 0], np.asarray(exact), rtol=1e-8)


def test_an_error_that_runs_share_is_no_scatter_between_them(two_groups: Any) -> None:
    records = two_groups.runs.copy()
    records["loss_stderr"] = 0.004
    own = run_data(records).relative_stderr
    np.testing.assert_allclose(own**2, (0.004 / records["loss"]) ** 2 + 1e-8)
    records["dataset"] = records["dataset"].mask(records["group"] == "small", "validation A")
    shared = run_data(records).relative_stderr == 1e-4
    assert list(shared) == list(records["group"] == "small")
