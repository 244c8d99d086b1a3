"""The law may err off the optimum of a budget: the walls do not decide how its floor falls."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats

from isoflop.inference import laws
from isoflop.inference.fit import sample_law, usable_runs
from isoflop.inference.laws import LAWS
from isoflop.inference.mode import find_mode
from isoflop.inference.model import in_valley, run_data
from isoflop.inference.priors import DEFAULT
from isoflop.inference.simulate import simulate_runs
from isoflop.inference.targets import padded_target
from isoflop.inference.valley import held_in, learn_valley
from isoflop.training.records import read_records

PUBLIC_RUNS = Path(__file__).parents[2] / ".." / "shared" / "runs"

LAW = {"loss_inf": 1.6, "log_A": 6.0, "log_B": 7.4, "alpha": 0.34, "beta": 0.36, "gamma": 0.9}
STEEPER = 0.5
"""By so much of what the law says are networks too large punished; those too small by none."""


def _sweep() -> pd.DataFrame:
    """Seven budgets of nine networks from a thirtieth to thirty times the best."""
    cells = []
    for product in np.geomspace(1e14, 1e17, 7):
        terms = {name: LAW[name] for name in ("log_A", "log_B", "alpha", "beta")}
        best, _ = laws.compute_optimal(product, **terms, flops_per_param_sample=1.0)
        cells += [(best * off, product / best / off, 1.0) for off in np.geomspace(1 / 30, 30, 9)]
    runs = simulate_runs({"all": LAW}, cells, sigma=0.002, seed=1)
    lost = laws.excess(runs["params"].to_numpy(), runs["samples"].to_numpy(), **LAW)
    return runs.assign(loss=runs["loss"] * np.exp(STEEPER * np.asarray(lost)[1]))


def test_what_runs_lose_is_what_the_best_of_their_compute_has() -> None:
    params = np.geomspace(1e3, 1e9, 400)
    lost = np.asarray(laws.excess(params, 1e14 / params, **LAW))
    loss = np.log(np.asarray(laws.loss(params, 1e14 / params, **LAW)))
    assert (lost >= 0.0).all()
    assert lost[:2].min(axis=0).max() == 0.0  # one side or the other
    assert not lost[2].any()
    np.testing.assert_allclose(lost.sum(axis=0), loss - loss.min(), atol=1e-4)
    assert (np.diff(np.argmax(lost, axis=0)) >= 0).all()


def test_repeats_and_overfitting_are_lost_against_fresh_samples() -> None:
    fresh = np.asarray(laws.excess(1e6, 1e9, **LAW, omega=5.0))
    repeated = np.asarray(laws.excess(1e6, 1e8, 10.0, **LAW, omega=5.0))
    overfitted = np.asarray(laws.excess(1e6, 1e8, 10.0, **LAW, omega=5.0, log_P=1.0))
    np.testing.assert_allclose(repeated[:2], fresh[:2], atol=1e-12)
    assert fresh[2] < repeated[2] < overfitted[2]


def test_walls_steeper_than_the_law_are_found_and_leave_its_floor() -> None:
    drawn = sample_law(_sweep(), LAWS["coupled"], seed=3).sites
    small, large = (
        np.quantile(drawn["walls"][..., 0, side], (0.025, 0.5, 0.975)) for side in (0, 1)
    )
    assert large[0] < STEEPER < large[2]
    assert small[0] < 0.0 < small[2]
    theta = {name: drawn[name][..., 0] for name in LAWS["coupled"].parameters if name in LAW}
    for product in (1e17, 1e18):
        terms = {name: LAW[name] for name in ("log_A", "log_B", "alpha", "beta")}
        best = laws.compute_optimal(product, **terms, flops_per_param_sample=1.0)
        forecast = np.quantile(laws.loss(*best, **theta), (0.025, 0.5, 0.975))
        truth = float(laws.loss(*best, **LAW))
        assert forecast[0] < truth < forecast[2]
        assert forecast[1] == pytest.approx(truth, rel=0.01)


def test_the_law_of_the_papers_has_no_walls() -> None:
    drawn = sample_law(_sweep(), LAWS["additive"], seed=3).sites
    assert not drawn["walls"].any()
    assert not drawn["rho"].any()


def test_what_runs_lose_is_held_at_the_law_that_the_runs_tell() -> None:
    runs = _sweep()
    data, law = run_data(runs), LAWS["coupled"]
    target, filled = padded_target(data, law, DEFAULT)
    held = in_valley(data, learn_valley(target, filled, law, DEFAULT)).lost
    truth = np.asarray(laws.excess(data.params, data.unique_samples, **LAW)).T
    # The walls are not the law's, so they move its optimum; by how little is what counts.
    assert np.corrcoef(held[:, 0], truth[:, 0])[0, 1] > 0.99
    assert np.corrcoef(held[:, 1], truth[:, 1])[0, 1] > 0.99
    assert not held[:, 2].any()


def test_a_mode_nearby_is_a_shorter_way_to_the_same_mode() -> None:
    data, law = run_data(_sweep()), LAWS["coupled"]
    target, filled = padded_target(data, law, DEFAULT)
    exact = find_mode(target, filled, starts=1)
    held = held_in(filled, learn_valley(target, filled, law, DEFAULT))
    modes = (find_mode(target, held, starts=1, near=mode) for mode in (None, exact))
    far, near, before = (target.constrain(mode.location[None], held) for mode in (*modes, exact))
    for name in ("loss_inf", "alpha", "beta", "gamma"):
        np.testing.assert_allclose(near[name], far[name], rtol=0.01)
        assert abs(before[name] / far[name] - 1.0) > 0.03  # it is another mode to begin with


def test_a_run_without_company_cannot_be_seen_to_have_gone_wrong() -> None:
    cells = [(1e8, 1e9, 1.0), (1e9, 1e9, 1.0), (1e9, 1e10, 1.0)]
    three = simulate_runs({"three": LAW}, cells, sigma=0.002, seed=3)
    two = simulate_runs({"two": LAW}, cells[:2], sigma=0.002, seed=3)
    data = run_data(pd.concat([three, two], ignore_index=True))
    np.testing.assert_allclose(data.wrong, [0.01, 0.01, 0.01, 1e-9, 1e-9])


@pytest.mark.slow
def test_single_runs_and_mixtures_under_one_name_do_not_keep_chains_apart() -> None:
    table = PUBLIC_RUNS / "datablations_c4.csv"
    if not table.is_file():
        pytest.skip("the public run tables are not beside this checkout (../shared/runs)")
    # Ten groups: six single runs, nine mixtures with code at one size, 222 runs of one corpus.
    records = usable_runs(read_records(table))
    drawn = sample_law(records, LAWS["coupled"], seed=1).sites
    for name in ("loss_inf", "alpha", "beta", "gamma", "omega", "sigma", "rho"):
        rhat = array_stats.rhat(drawn[name], chain_axis=0, draw_axis=1)
        assert np.max(rhat) < 1.02, name
