from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from isoflop.forecast.allocate import best_plan, best_plans, capped, golden_section, optimal
from isoflop.forecast.predict import Draws, group_draws, loss_draws
from isoflop.inference.laws import KNOTS, NO_PENALTY, SIDES


def law(
    *,
    log_A: ArrayLike,
    log_B: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike,
    gamma: ArrayLike,
    omega: ArrayLike = 8.0,
) -> Draws:
    """Draws of a law, one for each element; scalars make one draw."""
    given = (log_A, log_B, alpha, beta, gamma, omega, 0.3, 0.01, 5.0)
    columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(value, float)) for value in given))
    a, b, own_alpha, own_beta, own_gamma, own_omega, loss_inf, sigma, nu = columns
    return Draws(
        group="all",
        loss_inf=loss_inf,
        log_A=a,
        log_B=b,
        alpha=own_alpha,
        beta=own_beta,
        gamma=own_gamma,
        omega=own_omega,
        sigma=sigma,
        sigma_slope=np.zeros_like(sigma),
        rho=np.zeros_like(sigma),
        sigma_samples=1e6,
        nu=nu,
        log_P=np.full_like(sigma, NO_PENALTY),
        final=True,
        kappa=np.zeros_like(sigma),
        walk=np.zeros((len(sigma), KNOTS)),
        walls=np.zeros((len(sigma), SIDES)),
        valley={"loss_inf": 0.4, "log_A": 4.0, "log_B": 3.0, "alpha": 0.4, "beta": 0.3},
        ceiling=np.inf,
        flops_per_param_sample=6.0,
        smallest_flops=1e12,
        largest_flops=1e15,
    )


some_law = st.builds(
    law,
    log_A=st.floats(1.0, 9.0),
    log_B=st.floats(1.0, 9.0),
    alpha=st.floats(0.1, 0.8),
    beta=st.floats(0.1, 0.8),
    gamma=st.sampled_from([1.0, 0.4, 0.7, 1.3]),
    omega=st.floats(1.5, 40.0),
)


def on_grid(draws: Draws, flops: float, unique_cap: float = np.inf) -> tuple[float, float]:
    """(N, loss) of the best of many N on an iso-FLOP line, by looking at all of them."""
    product = flops / draws.flops_per_param_sample
    params = np.geomspace(1.0, product, 10001)
    samples = product / params
    unique = np.minimum(samples, unique_cap)
    loss = loss_draws(draws, params, unique_samples=unique, epochs=samples / unique)[0]
    return float(params[loss.argmin()]), float(loss.min())


@settings(max_examples=25, deadline=None)
@given(draws=some_law, decades=st.floats(14.0, 24.0))
def test_closed_form_is_the_numerical_optimum(draws: Draws, decades: float) -> None:
    flops = 10.0**decades
    best = optimal(draws, flops)
    loss = loss_draws(draws, best.params, unique_samples=best.unique_samples)[0, 0]
    _, smallest = on_grid(draws, flops)
    assert loss <= smallest * (1.0 + 1e-12)
    assert loss == pytest.approx(smallest, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(draws=some_law, decades=st.floats(14.0, 24.0), cap_decades=st.floats(3.0, 10.0))
def test_capped_optimum_is_the_best_of_a_grid(
    draws: Draws, decades: float, cap_decades: float
) -> None:
    flops, cap = 10.0**decades, 10.0**cap_decades
    best = capped(draws, flops, unique_cap=cap)
    loss = loss_draws(draws, best.params, unique_samples=best.unique_samples, epochs=best.epochs)
    _, smallest = on_grid(draws, flops, cap)
    assert loss[0, 0] <= smallest * (1.0 + 1e-9)
    assert loss[0, 0] == pytest.approx(smallest, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(draws=some_law, decades=st.floats(14.0, 24.0))
def test_optimum_spends_the_budget_whatever_the_coupling(draws: Draws, decades: float) -> None:
    flops = 10.0**decades
    best = optimal(draws, flops)
    assert 6.0 * best.params * best.samples == pytest.approx(flops)
    other = optimal(replace(draws, gamma=draws.gamma * 0.5), flops)
    np.testing.assert_array_equal(other.params, best.params)


def test_cap_that_does_not_bind_changes_nothing(posterior: xr.DataTree) -> None:
    draws = group_draws(posterior, "all")
    free = optimal(draws, 1e17)
    bound = capped(draws, 1e17, unique_cap=1e15)
    np.testing.assert_allclose(bound.params, free.params, rtol=1e-4)
    np.testing.assert_array_equal(bound.epochs, 1.0)
    plan, same = best_plan(draws, 1e17), best_plan(draws, 1e17, unique_cap=1e15)
    assert same.params == pytest.approx(plan.params, rel=1e-3)
    assert same.expected_loss == pytest.approx(plan.expected_loss, rel=1e-8)


def test_cap_that_binds_repeats_samples_and_enlarges_the_model(posterior: xr.DataTree) -> None:
    draws = group_draws(posterior, "all")
    free, bound = optimal(draws, 1e17), capped(draws, 1e17, unique_cap=1e6)
    np.testing.assert_array_equal(bound.unique_samples, 1e6)
    assert (bound.epochs > 1.0).all()
    assert (bound.params > free.params).all()
    assert bound.samples == pytest.approx(bound.unique_samples * bound.epochs)


def test_plan_beats_every_other_allocation_in_expectation(posterior: xr.DataTree) -> None:
    draws = group_draws(posterior, "all")
    plan = best_plan(draws, 1e18)
    factors = np.geomspace(0.2, 5.0, 41)
    loss = loss_draws(draws, plan.params * factors, unique_samples=plan.samples / factors)
    expected = loss.mean(axis=0)
    assert expected.argmin() == 20
    assert plan.expected_loss == pytest.approx(expected[20], rel=1e-12)


def test_plan_beats_the_optimum_of_the_mean_parameters() -> None:
    # Two equally likely laws whose optima lie decades apart.
    both = law(
        log_A=[2.0, 4.0], log_B=[7.0, 2.0], alpha=[0.5, 0.2], beta=[0.25, 0.5], gamma=[1.0, 1.0]
    )
    at_mean = optimal(law(log_A=3.0, log_B=4.5, alpha=0.35, beta=0.375, gamma=1.0), 1e18)
    loss = loss_draws(both, at_mean.params[0], unique_samples=at_mean.unique_samples[0])
    assert best_plan(both, 1e18).expected_loss < loss.mean() - 1e-3


def test_plan_of_one_law_is_its_closed_form(exact: xr.DataTree) -> None:
    draws = group_draws(exact, "all")
    plan, best = best_plan(draws, 1e17), optimal(draws, 1e17)
    assert plan.params == pytest.approx(best.params[0, 0], rel=1e-12)
    assert plan.samples == pytest.approx(best.samples[0, 0], rel=1e-12)
    assert not plan.at_bound


def test_plans_of_several_budgets_are_those_of_each(posterior: xr.DataTree) -> None:
    draws = group_draws(posterior, "all")
    together = best_plans(draws, [1e15, 1e19], unique_cap=1e7)
    for plan, flops in zip(together, (1e15, 1e19), strict=True):
        alone = best_plan(draws, flops, unique_cap=1e7)
        assert plan.params == pytest.approx(alone.params, rel=1e-3)
        assert plan.flops == flops


def test_optimum_at_a_bound_is_flagged() -> None:
    # The law wants far fewer than one parameter.
    tiny = law(log_A=-9.0, log_B=9.0, alpha=0.3, beta=0.3, gamma=1.0)
    best = optimal(tiny, 6e3)
    assert best.params == pytest.approx(1.0)
    assert best.at_bound.all()
    assert best_plan(tiny, 6e3).at_bound
    assert capped(tiny, 6e3, unique_cap=1e9).at_bound.all()


@pytest.mark.parametrize("flops", [0.0, -1e20, 5.0, float("nan"), float("inf")])
def test_budget_below_one_parameter_and_one_sample_is_refused(
    exact: xr.DataTree, flops: float
) -> None:
    message = "must be finite and at least 6 FLOP, what one parameter and one sample cost"
    with pytest.raises(ValueError, match=message):
        optimal(group_draws(exact, "all"), flops)


@pytest.mark.parametrize("cap", [0.0, -1.0, float("nan")])
def test_cap_below_one_sample_is_refused(exact: xr.DataTree, cap: float) -> None:
    with pytest.raises(ValueError, match=r"cap on distinct samples is .* at least 1; leave it out"):
        best_plan(group_draws(exact, "all"), 1e17, unique_cap=cap)


def test_golden_section_finds_each_minimum() -> None:
    centre = np.array([0.1, 2.0, 7.5])
    found = golden_section(lambda x: (x - centre) ** 2, np.zeros(3), np.full(3, 10.0))
    np.testing.assert_allclose(found, centre, atol=1e-5)
