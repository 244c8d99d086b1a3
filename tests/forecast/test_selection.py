"""The choice of runs against exact linear-Gaussian posteriors and brute force."""

from itertools import combinations_with_replacement

import numpy as np
import pytest

from isoflop.forecast.beliefs import Beliefs
from isoflop.forecast.selection import (
    CHECK,
    RATE_FACTOR,
    RATE_SPREAD,
    Limits,
    choose,
    information,
    variance_reduction,
)

SIGMA = 0.1


class Toy:
    """y = Xθ + scatter in `cells` cells and the forecast t = aθ, θ ~ N(0, P)."""

    def __init__(self, seed: int = 0, cells: int = 6, dimensions: int = 3) -> None:
        random = np.random.default_rng(seed)
        root = random.normal(size=(dimensions, dimensions))
        self.prior = root @ root.T + 0.1 * np.eye(dimensions)
        self.cells = random.normal(size=(cells, dimensions))
        self.forecast = random.normal(size=dimensions)

    def beliefs(self, common: float = 0.0) -> Beliefs:
        rows = np.vstack([self.forecast, self.cells])
        cells = len(self.cells)
        return Beliefs(
            rows @ self.prior @ rows.T, np.full(cells, SIGMA**2), np.zeros(cells, int), common
        )

    def exact_variance(self, runs: list[int]) -> float:
        """Var(aθ | runs) by adding up precisions, which shares nothing with the code tested."""
        seen = self.cells[runs]
        precision = np.linalg.inv(self.prior) + seen.T @ seen / SIGMA**2
        return float(self.forecast @ np.linalg.inv(precision) @ self.forecast)


def test_the_expected_variance_is_the_exact_posterior_variance() -> None:
    toy = Toy()
    limits = Limits(spend=np.inf, runs=9, repeats=3, checks=0)
    picks = choose(toy.beliefs(), np.ones(6), limits)
    chosen = [pick.cell for pick in picks]
    assert len(set(chosen)) < len(chosen)  # a repeat is among them
    for count, pick in enumerate(picks, start=1):
        assert pick.variance == pytest.approx(toy.exact_variance(chosen[:count]), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_first_run_is_the_best_of_all_single_runs(seed: int) -> None:
    toy = Toy(seed)
    (pick,) = choose(toy.beliefs(), np.arange(1.0, 7.0), Limits(spend=10.0, runs=1))
    assert pick.cell == min(range(6), key=lambda cell: toy.exact_variance([cell]))


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_is_near_the_best_of_all_sets(seed: int) -> None:
    toy, costs = Toy(seed), np.array([1.0, 1.0, 2.0, 2.0, 4.0, 4.0])
    sets = [list(runs) for n in range(1, 6) for runs in combinations_with_replacement(range(6), n)]
    best = min(toy.exact_variance(runs) for runs in sets if costs[runs].sum() <= 5.0)
    picks = choose(toy.beliefs(), costs, Limits(spend=5.0, repeats=5, checks=0))
    now = toy.beliefs().covariance[0, 0]
    assert costs[[pick.cell for pick in picks]].sum() <= 5.0
    assert now - picks[-1].variance > 0.95 * (now - best)


def test_realised_errors_are_smaller_than_those_of_other_choices() -> None:
    """2000 truths drawn from the prior, the same spend, each choice followed by the exact mean."""
    random = np.random.default_rng(3)
    toy, costs = Toy(7, cells=20, dimensions=5), random.uniform(1.0, 10.0, 20)
    picks = choose(toy.beliefs(), costs, Limits(spend=12.0, repeats=1, checks=0))
    cheapest = _affordable(np.argsort(costs), costs, 12.0)
    others = [_affordable(random.permutation(20), costs, 12.0) for _ in range(20)]
    ours = _error(toy, [pick.cell for pick in picks], random)
    assert ours < _error(toy, cheapest, random)
    assert ours < np.mean([_error(toy, runs, random) for runs in others])
    assert ours == pytest.approx(np.sqrt(picks[-1].variance), rel=0.1)


def _affordable(order: np.ndarray, costs: np.ndarray, spend: float) -> list[int]:
    bought: list[int] = []
    for row in order:
        if costs[[*bought, row]].sum() <= spend:
            bought.append(int(row))
    return bought


def _error(toy: Toy, runs: list[int], random: np.random.Generator) -> float:
    theta = random.multivariate_normal(np.zeros(len(toy.prior)), toy.prior, size=2000)
    seen = toy.cells[runs]
    losses = theta @ seen.T + SIGMA * random.normal(size=(2000, len(runs)))
    precision = np.linalg.inv(toy.prior) + seen.T @ seen / SIGMA**2
    mean = losses @ seen @ np.linalg.inv(precision) / SIGMA**2
    return float(np.sqrt(np.mean(((mean - theta) @ toy.forecast) ** 2)))


def test_nothing_is_chosen_that_cannot_be_paid() -> None:
    picks = choose(Toy().beliefs(), np.array([1.0, 5.0, 9.0, 9.0, 9.0, 9.0]), Limits(spend=4.0))
    assert {pick.cell for pick in picks} == {0}


def test_seeds_average_the_scatter_and_leave_the_error_of_the_law() -> None:
    law, walk = 0.04, 0.01  # the forecast and the cell share the law, not the law's error
    beliefs = Beliefs(
        np.array([[law, law], [law, law + walk]]), np.array([SIGMA**2]), np.zeros(1, int), 0.0
    )
    picks = choose(beliefs, np.ones(1), Limits(spend=np.inf, runs=60, repeats=60))
    exact = [law - law**2 / (law + walk + SIGMA**2 / n) for n in range(1, len(picks) + 1)]
    assert [pick.variance for pick in picks] == pytest.approx(exact)
    assert picks[-1].variance > law - law**2 / (law + walk)


def test_seeds_do_not_average_what_repeats_have_in_common() -> None:
    runs = np.array([1, 2, 10, 10**6])
    found = 1.0 / information(np.full(4, 0.01), runs, np.zeros(4, int), 0.3)
    assert found == pytest.approx(0.01 * (0.3 + 0.7 / runs))


def test_without_repeats_that_err_together_a_learning_rate_check_is_worth_nothing() -> None:
    picks = choose(Toy().beliefs(), np.ones(6), Limits(spend=np.inf, runs=30, checks=5))
    assert not any(pick.kind == CHECK for pick in picks)


def test_a_learning_rate_check_leaves_the_share_of_the_tuning_error_that_a_simulation_leaves() -> (
    None
):
    """Nested simulation of the bowl: distance, two runs, and what is then known of the excess."""
    common, scatter = 0.4, 0.01**2
    curvature = np.sqrt(2.0 * common * scatter) / RATE_SPREAD**2
    random = np.random.default_rng(0)
    distance = RATE_SPREAD * random.normal(size=400_000)
    step = np.log(RATE_FACTOR)
    excess = 0.5 * curvature * distance**2
    moved = 0.5 * curvature * (distance - step) ** 2
    alone = np.sqrt((1.0 - common) * scatter)
    seen = moved - excess + alone * np.sqrt(2.0) * random.normal(size=len(distance))
    order = np.argsort(seen).reshape(1000, -1)
    left = excess[order].var(axis=1).mean()
    assert excess.var() == pytest.approx(common * scatter, rel=0.02)
    both = 1.0 / information(np.array([scatter]), np.array([1]), np.array([1]), common)
    assert both[0] - (1.0 - common) * scatter == pytest.approx(left, rel=0.03)


def test_a_learning_rate_check_is_chosen_where_tuning_is_most_of_the_scatter() -> None:
    picks = choose(Toy().beliefs(0.9), np.ones(6), Limits(spend=np.inf, runs=30))
    assert any(pick.kind == CHECK for pick in picks)


def test_the_reduction_is_that_of_one_more_observation() -> None:
    covariance = np.array([[2.0, 1.0], [1.0, 3.0]])
    assert variance_reduction(covariance, np.array([[1.0]])) == pytest.approx(np.array([[0.25]]))
