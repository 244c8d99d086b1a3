"""Scores against their closed forms for normal and exact forecasts."""

import numpy as np
import pytest
from scipy import stats

from isoflop.inference.scores import crps, log_density, score


def test_crps_of_normal_draws_is_the_closed_form() -> None:
    # Gneiting & Raftery (2007), Eq. 21, at z = 0.7.
    draws = np.random.default_rng(0).normal(size=(200_000, 1))
    z = 0.7
    exact = z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi)
    assert crps(draws, np.array([z]))[0] == pytest.approx(exact, rel=0.01)


def test_crps_of_draws_is_their_double_sum() -> None:
    draws = np.random.default_rng(1).normal(size=(40, 3))
    y = np.array([0.0, 1.0, -2.0])
    pairs = np.abs(draws[:, None] - draws[None]).mean(axis=(0, 1))
    np.testing.assert_allclose(crps(draws, y), np.abs(draws - y).mean(axis=0) - pairs / 2)


def test_log_density_of_normal_draws_is_the_normal_density() -> None:
    draws = np.random.default_rng(2).normal(size=(20_000, 2))
    y = np.array([0.0, 1.0])
    np.testing.assert_allclose(log_density(draws, y), stats.norm.logpdf(y), atol=0.05)


def test_shares_and_errors_count_as_they_say() -> None:
    draws = np.linspace(-1.0, 1.0, 2001)[:, None] * np.ones(4)
    found = score(draws, np.array([0.0, 0.5, 0.9, 3.0]))
    assert found.coverage_68 == 0.5
    assert found.coverage_95 == 0.75
    assert found.width_95 == pytest.approx(190.0, rel=1e-3)
    assert found.mae == pytest.approx(110.0, rel=1e-3)
    assert found.bias == pytest.approx(-110.0, rel=1e-3)
