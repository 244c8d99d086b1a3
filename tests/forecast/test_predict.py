import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from isoflop.forecast.predict import (
    QUANTILES,
    extrapolation_decades,
    group_draws,
    group_names,
    loss_draws,
    predictive_draws,
    quantiles,
)
from isoflop.inference import posterior as contract


def test_synthetic_posterior_keeps_the_contract(posterior: xr.DataTree) -> None:
    contract.check(posterior)


def test_degenerate_draws_give_the_law_exactly(exact: xr.DataTree, truth: dict[str, float]) -> None:
    n, unique, epochs = 3e6, 2e7, 4.0
    spare = truth["omega"] - 1.0
    effective = unique * (1.0 + spare * (1.0 - math.exp(-(epochs - 1.0) / spare)))
    u = math.exp(truth["log_A"]) * n ** -truth["alpha"]
    u += math.exp(truth["log_B"]) * effective ** -truth["beta"]
    expected = truth["loss_inf"] + u ** truth["gamma"]
    loss = loss_draws(group_draws(exact, "all"), n, unique_samples=unique, epochs=epochs)
    assert loss.shape == (10, 1)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_points_and_draws_broadcast(posterior: xr.DataTree) -> None:
    draws = group_draws(posterior, "all")
    points = np.array([1e5, 1e6, 1e7])
    loss = loss_draws(draws, points, unique_samples=1e7)
    assert loss.shape == (400, 3)
    assert (np.diff(loss, axis=1) < 0).all()
    own = loss_draws(draws, np.broadcast_to(points, (400, 3)), unique_samples=1e7)
    np.testing.assert_array_equal(own, loss)


def test_groups_keep_their_own_parameters(exact: xr.DataTree) -> None:
    assert group_names(exact) == ("all", "kinematic")
    low, high = (
        loss_draws(group_draws(exact, name), 1e6, unique_samples=1e7) for name in group_names(exact)
    )
    np.testing.assert_allclose(high - low, 0.4, rtol=1e-10)


def test_unknown_group_is_refused_with_the_groups_there_are(exact: xr.DataTree) -> None:
    with pytest.raises(ValueError, match="unknown group 'full'; this posterior has all, kinematic"):
        group_draws(exact, "full")


def test_predictive_interval_is_wider_than_that_of_the_law(posterior: xr.DataTree) -> None:
    draws = group_draws(posterior, "all")
    law = quantiles(loss_draws(draws, 1e6, unique_samples=1e7))[:, 0]
    new_run = quantiles(predictive_draws(draws, 1e6, unique_samples=1e7, seed=0))[:, 0]
    assert new_run[-1] - new_run[0] > law[-1] - law[0]


def test_predictive_scatter_is_the_student_t_of_the_model(exact: xr.DataTree) -> None:
    one = group_draws(exact, "all")
    law = loss_draws(one, 1e6, unique_samples=1e7)[0, 0]
    seeds = range(300)
    losses = [predictive_draws(one, 1e6, unique_samples=1e7, seed=seed) for seed in seeds]
    sigma = one.sigma[0] * (1e7 / one.sigma_samples) ** one.sigma_slope[0]
    scatter = np.log(np.concatenate(losses)[:, 0] / law) / sigma
    assert stats.kstest(scatter, stats.t(one.nu[0]).cdf).pvalue > 0.01


def test_seed_fixes_the_predictive_draws(posterior: xr.DataTree) -> None:
    draws = group_draws(posterior, "all")
    first, again, other = (
        predictive_draws(draws, 1e6, unique_samples=1e7, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_quantiles_are_those_of_known_draws() -> None:
    values = np.linspace(0.0, 1.0, 1001)[:, None] * np.array([1.0, 2.0])
    np.testing.assert_allclose(quantiles(values), np.outer(QUANTILES, [1.0, 2.0]), atol=1e-12)


@pytest.mark.parametrize(
    ("flops", "decades"), [(1e15, 0.0), (1e20, 0.0), (1e21, 1.0), (2e22, 2.301)]
)
def test_extrapolation_counts_decades_beyond_the_fitted_runs(flops: float, decades: float) -> None:
    assert extrapolation_decades(flops, 1e20) == decades


def test_largest_compute_is_that_of_the_fitted_runs(exact: xr.DataTree) -> None:
    draws = group_draws(exact, "all")
    assert draws.largest_flops == 6.0 * 1e6 * 1e7
    assert draws.smallest_flops == 6.0 * 1e4 * 1e5
    assert draws.flops_per_param_sample == 6.0


def test_the_laws_error_within_the_runs_is_followed_and_ends_at_the_dearest(
    exact: xr.DataTree,
) -> None:
    plain = group_draws(exact, "all")
    knots = np.array([0.01, 0.02, 0.02, 0.04])
    bent = replace(plain, walk=np.tile(knots, (len(plain.sigma), 1)))
    span = np.log10(plain.largest_flops / plain.smallest_flops)
    # Along D at one N: from the cheapest run to a decade beyond the dearest.
    below = np.array([1.5 * span, span, 0.375 * span, 0.125 * span, 0.0, -1.0])
    samples = plain.largest_flops / 10.0**below / plain.flops_per_param_sample / 1e5
    ratio = loss_draws(bent, 1e5, unique_samples=samples) / loss_draws(
        plain, 1e5, unique_samples=samples
    )
    expected = np.array([0.04, 0.04, 0.015, 0.005, 0.0, 0.0])
    np.testing.assert_allclose(np.log(ratio[0]), expected, atol=1e-12)
