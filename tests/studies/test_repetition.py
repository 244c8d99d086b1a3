"""The page on repetition quotes its table, and its price is that of a search over plans."""

import numpy as np
import pytest
from studies.repetition import worth
from tests.forecast.conftest import make_posterior
from tests.studies.quoting import Row, cell, page_of, rows_of

from isoflop.forecast.allocate import capped, optimal
from isoflop.forecast.predict import Draws, group_draws
from isoflop.inference import laws

LINES = {
    ("omega", 0.0): ".1f",
    ("gain_of_passes", 4.0): ".2f",
    ("gain_of_passes", 16.0): ".1f",
    ("jets_at_compute", 10.0): ".1f",
    ("jets_at_compute", 100.0): ".1f",
    ("price_of_jets", 3.0): ".2f",
    ("price_at_compute", 10.0): ".2f",
    ("price_at_compute", 100.0): ".1f",
}


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str, float], Row]:
    return rows_of("repetition")


def test_the_page_quotes_the_table(rows: dict[tuple[str, str, float], Row]) -> None:
    page = page_of("repetition")
    repeated = {group: row["repeated_runs"] for (group, *_), row in rows.items()}
    informed = [group for group, count in repeated.items() if count > 0]
    for (quantity, at), form in LINES.items():
        cells = [cell(rows[group, quantity, at], form) for group in informed]
        assert f"| {' | '.join(cells)} |" in page, quantity
    assert f"| {' | '.join(str(repeated[group]) for group in informed)} |" in page


def test_the_answer_quotes_the_group_of_the_figure(
    rows: dict[tuple[str, str, float], Row],
) -> None:
    answer = page_of("repetition").split("**Answer.**")[1].split("![")[0]
    for key in (("omega", 0.0), ("jets_at_compute", 10.0), ("price_at_compute", 10.0)):
        assert cell(rows["full-10", *key], LINES[key]) in answer
    assert cell(rows["full-10", "compute_at_price", 10.0], ".0f") in answer


def test_the_page_compares_the_best_plans_with_the_best_runs(
    rows: dict[tuple[str, str, float], Row],
) -> None:
    page = page_of("repetition")
    few, many = (
        {name: rows["full-10", name, jets] for (_, name, at) in rows if at == jets}
        for jets in (1_000.0, 16_000.0)
    )
    plan = f"{cell(few['plan_passes'], '.0f')} passes and {cell(few['plan_loss'], '.2f')} nat"
    assert f"a network larger than any here, {plan}" in page
    run = f"{few['run_passes']['median']:.0f} passes and {few['run_loss']['median']:.2f} nat"
    assert f"{few['run_params']['median'] / 1e3:.0f} 000 parameters, {run}" in page
    assert f"where the law has {cell(few['law_at_run'], '.2f')}" in page
    assert f"the plan has {cell(many['plan_loss'], '.2f')} nat" in page
    assert f"the best run {many['run_loss']['median']:.2f}." in page


def test_price_and_worth_are_those_of_the_best_plans() -> None:
    draws = group_draws(make_posterior(draws=5), "all")
    jets, ratio = 2e4, np.array([4.0, 40.0])
    for i in range(len(draws.alpha)):
        one = at_draw(draws, i)
        flops = single_pass_flops(one, jets)
        more, price = worth.reached(one, ratio)
        best = capped(one, ratio * flops, unique_cap=jets)
        level = log_u(one, best.params, best.unique_samples, best.epochs)
        single = optimal(one, ratio * flops / price)
        assert log_u(one, single.params, single.samples) == pytest.approx(level, abs=1e-6)
        assert single.samples == pytest.approx(more * jets, rel=1e-6)


def at_draw(draws: Draws, index: int) -> Draws:
    arrays = {k: v[[index]] for k, v in vars(draws).items() if isinstance(v, np.ndarray)}
    return Draws(**(vars(draws) | arrays))


def single_pass_flops(draws: Draws, jets: float) -> float:
    """Compute whose best single pass sees `jets`, by bisection in log C."""
    low, high = 0.0, 100.0
    for _ in range(200):
        middle = (low + high) / 2.0
        seen = float(optimal(draws, np.exp(middle)).samples[0, 0])
        low, high = (middle, high) if seen < jets else (low, middle)
    return float(np.exp(low))


def log_u(
    draws: Draws, params: np.ndarray, unique: np.ndarray, epochs: np.ndarray | float = 1.0
) -> np.ndarray:
    """log(A N^−α + B D_eff^−β)."""
    terms = draws.columns("log_A", "log_B", "alpha", "beta")
    effective = laws.effective_samples(unique, epochs, draws.omega[:, None])
    return np.asarray(laws.log_reducible(params, effective, **terms))
