"""The laws against closed forms, limits and published values."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from isoflop.inference import laws

EXPONENT = st.floats(0.05, 1.5)
LOG_FACTOR = st.floats(0.0, 12.0)
GAMMA = st.floats(0.2, 1.0)


@given(unique=st.floats(1.0, 1e12), epochs=st.floats(1.0, 1e6), omega=st.floats(1.01, 100.0))
def test_repetition_gain_lies_between_one_and_omega(
    unique: float, epochs: float, omega: float
) -> None:
    gain = float(laws.effective_samples(unique, epochs, omega)) / unique
    assert 1.0 - 1e-12 <= gain <= min(omega, epochs) * (1 + 1e-12)


@given(omega=st.floats(1.5, 100.0))
def test_the_second_pass_starts_as_good_as_new_data(omega: float) -> None:
    step = 1e-6
    slope = (float(laws.effective_samples(1.0, 1.0 + step, omega)) - 1.0) / step
    assert slope == pytest.approx(1.0, rel=1e-4)


@given(alpha=EXPONENT, beta=EXPONENT, log_A=LOG_FACTOR, log_B=LOG_FACTOR, gamma=GAMMA)
def test_closed_form_optimum_is_the_numerical_one(
    alpha: float, beta: float, log_A: float, log_B: float, gamma: float
) -> None:
    flops, cost = 1e18, 240.0
    theta = {"log_A": log_A, "log_B": log_B, "alpha": alpha, "beta": beta}
    params, samples = laws.compute_optimal(flops, **theta, flops_per_param_sample=cost)
    assert float(params * samples) * cost == pytest.approx(flops, rel=1e-9)

    def objective(log_n: float) -> float:
        n = np.exp(log_n)
        return float(laws.log_reducible(n, flops / cost / n, **theta, gamma=gamma))

    centre = float(np.log(params))
    best = minimize_scalar(objective, bounds=(centre - 5, centre + 5), options={"xatol": 1e-7})
    assert best.x == pytest.approx(centre, abs=1e-3)


def test_gamma_of_one_is_the_additive_law() -> None:
    theta = {"log_A": 6.0, "log_B": 7.0, "alpha": 0.34, "beta": 0.37}
    coupled = laws.loss(1e8, 1e10, 1.0, loss_inf=1.8, **theta, gamma=1.0, omega=16.4)
    plain = 1.8 + np.exp(6.0) * 1e8**-0.34 + np.exp(7.0) * 1e10**-0.37
    assert float(coupled) == pytest.approx(plain, rel=1e-12)


def test_published_exponents_of_jets_give_the_published_compute_exponent() -> None:
    # arXiv:2602.15781: α = 0.44, β = 0.22, and L − L∞ ∝ C^−0.147.
    theta = {"log_A": 2.0, "log_B": 2.0, "alpha": 0.44, "beta": 0.22}
    excess = []
    for flops in (1e15, 1e16):
        params, samples = laws.compute_optimal(flops, **theta)
        excess.append(float(laws.log_reducible(params, samples, **theta)))
    assert (excess[0] - excess[1]) / np.log(10) == pytest.approx(0.44 * 0.22 / 0.66, rel=1e-9)


def test_draws_broadcast_over_runs() -> None:
    draws = np.full((7, 1), 0.3)
    loss = laws.loss(
        np.full(4, 1e6), 1e9, 1.0, loss_inf=1.0, log_A=3.0, log_B=3.0, alpha=draws, beta=0.4
    )
    assert loss.shape == (7, 4)


def test_an_unknown_law_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match="unknown law 'cubic'; choose one of coupled, additive"):
        laws.law_named("cubic")


def test_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(laws).failed == 0


def test_scatter_is_sigma_at_its_reference_and_falls_by_its_power() -> None:
    scale = laws.scatter(np.array([1e4, 1e5]), sigma=0.02, sigma_slope=-0.5, reference=1e4)
    np.testing.assert_allclose(scale, [0.02, 0.02 / np.sqrt(10)], rtol=1e-12)


def test_overfitting_adds_to_u_and_only_after_the_first_pass() -> None:
    theta = {"loss_inf": 0.5, "log_A": 3.0, "log_B": 3.4, "alpha": 0.45, "beta": 0.35, "omega": 9.0}
    run, gamma, log_P = (3e4, 1e5, 7.0), 0.6, -2.0
    without = laws.loss(*run, **theta, gamma=gamma)
    ended = laws.loss(*run, **theta, gamma=gamma, log_P=log_P)
    added = np.exp(log_P) * 3e4 / 1e5 * 6.0
    assert (ended - 0.5) ** (1 / gamma) == pytest.approx((without - 0.5) ** (1 / gamma) + added)
    assert laws.loss(*run, **theta, gamma=gamma, log_P=log_P, final=0.0) == without
    first = (3e4, 1e5, 1.0)
    assert laws.loss(*first, **theta, log_P=log_P) == laws.loss(*first, **theta)


def test_a_penalty_that_overflows_is_nothing_where_it_does_not_count() -> None:
    theta = {"loss_inf": 0.5, "log_A": 3.0, "log_B": 3.4, "alpha": 0.45, "beta": 0.35, "omega": 6.0}
    once, thrice = (laws.loss(1e6, 1e6, epochs, **theta) for epochs in (1.0, 3.0))
    assert laws.loss(1e6, 1e6, 1.0, **theta, log_P=1e4) == once
    assert laws.loss(1e6, 1e6, 3.0, **theta, log_P=1e4, final=0.0) == thrice
