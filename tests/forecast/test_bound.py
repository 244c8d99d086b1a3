"""The least variance of any choice of runs against brute force and closed forms."""

from itertools import combinations_with_replacement

import numpy as np
import pytest

from isoflop.forecast.beliefs import Beliefs
from isoflop.forecast.bound import least_variance
from isoflop.forecast.selection import Limits, choose, information


def beliefs(seed: int, cells: int, common: float = 0.0) -> Beliefs:
    """A forecast and cells that share three unknowns and a little of their own."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(1 + cells, 3))
    covariance = rows @ rows.T + 0.05 * np.eye(1 + cells)
    trained = random.integers(0, 2, cells)
    return Beliefs(covariance, random.uniform(0.01, 0.2, cells), trained, common)


def variance_left(start: Beliefs, runs: np.ndarray, checks: np.ndarray) -> float:
    """Var t once the cells have so many runs and checks, by adding up precisions."""
    told = information(start.scatter, start.trained + runs, checks, start.common)
    told -= information(start.scatter, start.trained, np.zeros_like(checks), start.common)
    precision = np.linalg.inv(start.covariance) + np.diag(np.append(0.0, told))
    return float(np.linalg.inv(precision)[0, 0])


@pytest.mark.parametrize("common", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(5))
def test_no_set_of_runs_leaves_less(seed: int, common: float) -> None:
    """Every set of up to four runs and checks of five cells that can be paid."""
    start, costs = beliefs(seed, 5, common), np.array([1.0, 1.5, 2.0, 3.0, 5.0])
    limits = Limits(spend=6.0, runs=4, repeats=2, checks=1)
    best = np.inf
    for count in range(limits.runs + 1):
        for chosen in combinations_with_replacement(range(10), count):
            bought = np.bincount(np.array(chosen, int), minlength=10)
            runs, checks = bought[:5], bought[5:]
            within = (start.trained + runs <= limits.repeats) | (runs == 0)
            if costs @ (runs + checks) <= limits.spend and within.all() and checks.max() <= 1:
                best = min(best, variance_left(start, runs, checks))
    bound = least_variance(start, costs, limits)
    assert 0.5 * best < bound <= best
    assert bound <= choose(start, costs, limits)[-1].variance


def test_it_is_reached_where_everything_can_be_bought() -> None:
    start = beliefs(1, 8)
    limits = Limits(spend=100.0, runs=100, repeats=3, checks=0)
    all_of_them = variance_left(start, 3 - start.trained, np.zeros(8))
    assert least_variance(start, np.ones(8), limits) == pytest.approx(all_of_them, rel=0.005)


def test_one_cell_in_halves_is_a_closed_form() -> None:
    """Var t − w c²/(1 + w v) with w = runs/σ², 2.5 runs of cost 2 for a spend of 5."""
    start = Beliefs(np.array([[4.0, 1.5], [1.5, 1.0]]), np.array([0.5]), np.zeros(1, int), 0.0)
    bound = least_variance(start, np.array([2.0]), Limits(spend=5.0, runs=9, repeats=9, checks=0))
    assert bound == pytest.approx(4.0 - 5.0 * 1.5**2 / (1.0 + 5.0), rel=0.005)
    assert bound <= 4.0 - 5.0 * 1.5**2 / (1.0 + 5.0) + 1e-9


@pytest.mark.parametrize(
    "limits", [Limits(spend=0.5), Limits(spend=9.0, runs=0), Limits(spend=9.0, repeats=0, checks=0)]
)
def test_nothing_that_can_be_bought_leaves_what_there_is(limits: Limits) -> None:
    start = beliefs(2, 4)
    assert least_variance(start, np.ones(4), limits) == start.covariance[0, 0]


def test_cells_that_tell_nothing_leave_what_there_is() -> None:
    start = Beliefs(np.diag([4.0, 1.0, 1.0]), np.full(2, 0.1), np.zeros(2, int), 0.0)
    assert least_variance(start, np.ones(2), Limits(spend=9.0)) == 4.0


def test_costs_and_noise_over_decades_leave_a_sharp_bound() -> None:
    """200 cells, costs over four decades: the greedy choice proves the bound to a few per cent."""
    random = np.random.default_rng(5)
    rows = random.normal(size=(201, 4))
    start = Beliefs(rows @ rows.T, 10.0 ** random.uniform(-4.0, 0.0, 200), np.zeros(200, int), 0.0)
    costs = 10.0 ** random.uniform(10.0, 14.0, 200)
    limits = Limits(spend=3e12, runs=50)
    bound, chosen = least_variance(start, costs, limits), choose(start, costs, limits)[-1].variance
    assert 0.9 * chosen < bound <= chosen
