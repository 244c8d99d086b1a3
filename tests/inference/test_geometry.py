"""Structured curvature and coordinates against dense matrices; pooled values against a normal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from isoflop.inference.geometry import (
    FLATTEST,
    Layout,
    coloured,
    curvature,
    inverse,
    layout_of,
    whitened,
    whitening,
)
from isoflop.inference.pooling import Pooled
from isoflop.inference.priors import Normal

SHAPES = [(1, 0, 4), (2, 2, 3), (3, 2, 1), (8, 3, 3), (31, 4, 5)]
"""Groups, slots and shared coordinates."""


def _precision(groups: int, slots: int, shared: int) -> tuple[Layout, np.ndarray]:
    """A random precision matrix of groups that hang together by what they share and their means."""
    rng = np.random.default_rng(groups)
    order = rng.permutation(shared + groups * slots)
    layout = Layout(order[:shared], order[shared:].reshape(groups, slots))
    matrix = np.zeros((len(order), len(order)))
    for own in layout.local:
        loads = rng.normal(size=(len(order), shared + slots))
        loads[np.setdiff1d(order, np.concatenate([layout.shared, own]))] = 0.0
        matrix += loads @ loads.T
    means = layout.reduced()[shared:]
    coupling = rng.normal(size=(slots, slots))
    return layout, matrix + np.eye(len(order)) + groups * means.T @ coupling @ coupling.T @ means


@pytest.mark.parametrize("shape", SHAPES)
def test_the_curvature_is_found_from_two_directions_a_slot(shape: tuple[int, int, int]) -> None:
    layout, precision = _precision(*shape)
    asked: list[np.ndarray] = []

    def gradients(z: np.ndarray) -> np.ndarray:
        asked.extend(z)
        return np.asarray(z @ precision)

    found = curvature(layout, gradients, np.ones(layout.dimensions), step=1e-3)
    np.testing.assert_allclose(found, precision, atol=1e-8 * np.abs(precision).max())
    assert len(asked) == 2 * layout.together


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_have_about_unit_covariance_in_white_coordinates(shape: tuple[int, int, int]) -> None:
    layout, precision = _precision(*shape)
    covariance, centre = np.linalg.inv(precision), np.arange(layout.dimensions, dtype=float)
    to = whitening(layout, centre, covariance)
    w = jnp.linspace(-1.0, 1.0, layout.dimensions)
    matrix = np.asarray(jax.jacfwd(lambda w: coloured(layout, to, w))(w))
    np.testing.assert_allclose(
        whitened(layout, to, np.asarray(coloured(layout, to, w))), w, atol=1e-9
    )
    white = np.linalg.solve(matrix, np.linalg.solve(matrix, covariance).T)
    values = np.linalg.eigvalsh(white)
    # Exact where groups are alike or one; a mean over unequal ones is shared out a little wrongly.
    assert values.min() > 0.4 and values.max() < 2.5
    if shape[0] <= 2:
        np.testing.assert_allclose(values, 1.0, rtol=1e-6)


def test_the_inverse_of_a_curvature_is_nowhere_wider_than_its_bound() -> None:
    found = inverse(np.diag([4.0, 1e-3, -2.0]))
    expected = np.array([0.25, 1.0 / FLATTEST, 1.0 / FLATTEST])
    np.testing.assert_allclose(np.diag(found.covariance), expected)
    np.testing.assert_allclose(found.root @ found.root.T, found.covariance)
    assert found.log_volume == pytest.approx(0.5 * np.log(expected).sum())
    regular = inverse(np.array([[2.0, 0.5], [0.5, 1.0]]))
    assert regular.log_volume == pytest.approx(-0.5 * np.log(1.75))
    np.testing.assert_allclose(regular.root @ regular.root.T, regular.covariance)


def test_sites_of_one_group_or_another_length_are_shared() -> None:
    sites = {"a": np.array([0, 1, 2]), "b": np.array([[3, 4], [5, 6], [7, 8]]), "c": np.array(9)}
    np.testing.assert_array_equal(layout_of(sites, 3).local, [[0, 3, 4], [1, 5, 6], [2, 7, 8]])
    np.testing.assert_array_equal(layout_of(sites, 3).shared, [9])
    assert layout_of(sites, 1).local.size == 0


def test_pooled_values_are_a_normal_mean_and_deviations_that_sum_to_zero() -> None:
    prior, tau, groups = Normal(0.5, 1.5, "test"), 0.3, 4
    pooled = Pooled(prior, tau, jnp.ones(groups, bool))
    even = np.full((groups, groups), 1.0 / groups)
    covariance = groups * even * prior.scale**2 + tau**2 * (np.eye(groups) - even)
    value = np.array([0.1, 0.9, -0.4, 0.6])
    expected = stats.multivariate_normal(np.full(groups, prior.location), covariance)
    assert float(pooled.log_prob(jnp.asarray(value))) == pytest.approx(expected.logpdf(value))
    draws = np.asarray(pooled.sample(jax.random.key(0), (20_000,)))
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.06)


def test_groups_that_are_not_told_lean_on_the_others_by_the_same_prior() -> None:
    prior, tau = Normal(0.5, 1.5, "test"), 0.3
    told = jnp.array([True, False, True, False])
    pooled, plain = Pooled(prior, tau, told), Pooled(prior, tau, jnp.ones(4, bool))
    coordinates = jnp.array([0.1, 1.4, -0.4, -0.3])
    values = pooled.values(coordinates)
    np.testing.assert_allclose(values, [0.1, -0.15 + 0.3 * 1.4, -0.4, -0.15 - 0.3 * 0.3])
    # Each of the two coordinates is a value over τ.
    expected = float(plain.log_prob(values)) + 2.0 * np.log(tau)
    assert float(pooled.log_prob(coordinates)) == pytest.approx(expected)
    first, second = jax.random.split(jax.random.key(1))
    drawn, same = pooled.sample(first, (20_000,)), plain.sample(second, (20_000,))
    np.testing.assert_allclose(
        np.cov(np.asarray(pooled.values(drawn)).T), np.cov(np.asarray(same).T), atol=0.08
    )
