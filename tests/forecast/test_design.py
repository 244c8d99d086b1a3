"""What is believed of runs before they are trained, and the table of runs to train next."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from isoflop.forecast.beliefs import believe, common_share
from isoflop.forecast.candidates import complete_candidates, default_grid, fitted_cells
from isoflop.forecast.design import design, to_json
from isoflop.forecast.design_figures import design_figure
from isoflop.forecast.goals import make_goal
from isoflop.forecast.predict import group_draws
from isoflop.forecast.selection import Limits, choose
from isoflop.inference import laws
from isoflop.inference.posterior import LAW_VARIABLES

BUDGET = 6e16  # three decades beyond the runs of the posterior
KAPPA = 0.2


def _with_error(posterior: xr.DataTree) -> xr.DataTree:
    """The posterior with a law that errs beyond its runs."""
    erring = posterior.copy(deep=True)
    draws = erring["posterior"].to_dataset()
    erring["posterior"] = xr.DataTree(draws.assign(kappa=xr.full_like(draws["kappa"], KAPPA)))
    return erring


def _cells(posterior: xr.DataTree, params: list[float], samples: list[float]) -> pd.DataFrame:
    table = pd.DataFrame({"group": "all", "params": params, "unique_samples": samples})
    return complete_candidates(table, posterior)


def _along(posterior: xr.DataTree, decades: list[float]) -> pd.DataFrame:
    """Cells of the forecast's shape so many decades of compute beyond the dearest run."""
    goal = make_goal(posterior, BUDGET, group="all")
    down = 10.0 ** ((np.array(decades) - goal.decades) / 2.0)
    run = goal.runs.iloc[0]
    return _cells(
        posterior, list(run["params"] * down), list(run["unique_samples"] * run["epochs"] * down)
    )


def test_the_error_of_the_law_is_a_random_walk_in_compute(exact: xr.DataTree) -> None:
    posterior = _with_error(exact)
    cells = _along(posterior, [1.0, 2.0])
    goal = make_goal(posterior, BUDGET, group="all")
    found = believe(posterior, cells, goal).covariance
    theta = group_draws(posterior, "all").columns(*LAW_VARIABLES)
    edge = cells.iloc[0]["params"] / np.sqrt(10.0), cells.iloc[0]["unique_samples"] / np.sqrt(10.0)
    fall = float(np.asarray(laws.fall_per_decade(*edge, **theta))[0, 0])
    step = (KAPPA * fall) ** 2
    loss = goal.values[0]
    wanted = step * np.array([[3 * loss**2, loss, 2 * loss], [loss, 1, 1], [2 * loss, 1, 2]])
    assert found == pytest.approx(wanted, rel=1e-6)


def test_a_run_near_the_forecast_tells_more_than_one_far_from_it(posterior: xr.DataTree) -> None:
    erring = _with_error(posterior)
    goal = make_goal(erring, BUDGET, group="all")
    beliefs = believe(erring, _along(erring, [-2.0, 0.5, 1.5, 2.5, 3.0]), goal)
    alone = [choose(beliefs, _only(cell), Limits(2.0, runs=1))[0].variance for cell in range(5)]
    assert alone == sorted(alone, reverse=True)
    # The forecast's own run leaves little more than its scatter.
    assert alone[4] < 1.5 * goal.scatter**2 < 0.5 * alone[1]


def _only(cell: int) -> np.ndarray:
    costs = np.full(5, 3.0)
    costs[cell] = 1.0
    return costs


def test_a_run_of_another_shape_tells_less_of_the_error_of_the_law(exact: xr.DataTree) -> None:
    posterior = _with_error(exact)
    near = _along(posterior, [2.0])
    far = near.assign(params=near["params"] * 30.0, unique_samples=near["unique_samples"] / 30.0)
    goal = make_goal(posterior, BUDGET, group="all")
    covariance = believe(posterior, pd.concat([near, far], ignore_index=True), goal).covariance
    left = covariance[0, 1:] ** 2 / np.diag(covariance)[1:]
    assert left[1] < 0.7 * left[0]


def test_another_group_tells_of_the_law_alone(exact: xr.DataTree) -> None:
    posterior = _with_error(exact)
    goal = make_goal(posterior, BUDGET, group="all")
    covariance = believe(posterior, _along(posterior, [2.0]).assign(group="kinematic"), goal)
    assert covariance.covariance[0, 1] == pytest.approx(0.0, abs=1e-15)


def test_the_error_of_the_law_in_compute_does_not_move_the_best_size(
    posterior: xr.DataTree,
) -> None:
    goal = make_goal(posterior, BUDGET, group="all", quantity="params_opt")
    erring = _with_error(posterior)
    cells = _along(posterior, [1.0, 2.0])
    plain, with_error = (believe(tree, cells, goal).covariance for tree in (posterior, erring))
    assert with_error[0] == pytest.approx(plain[0])
    assert with_error[0, 0] == pytest.approx(goal.values.var(ddof=1))


def test_what_a_loss_is_worth_carries_the_error_of_the_law(posterior: xr.DataTree) -> None:
    """A rejection exp(5 − 2 L), linear enough for its covariance to be −2 R times the loss's."""
    erring = _with_error(posterior)
    cells = _along(erring, [1.0, 2.0])
    loss, rejection = (
        make_goal(erring, BUDGET, group="all", quantity=name, worth=worth)
        for name, worth in (("loss", None), ("rejection:x", lambda nat: np.exp(5.0 - 2.0 * nat)))
    )
    of_loss, of_rejection = (believe(erring, cells, goal).covariance for goal in (loss, rejection))
    slope = -2.0 * rejection.values.mean()
    assert of_rejection[0, 1:] == pytest.approx(slope * of_loss[0, 1:], rel=0.02)
    assert of_rejection[0, 0] == pytest.approx(slope**2 * of_loss[0, 0], rel=0.02)
    assert rejection.scatter == pytest.approx(-slope * loss.scatter, rel=0.02)


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_what_repeats_have_in_common_is_found(exact: xr.DataTree, share: float) -> None:
    random = np.random.default_rng(5)
    cells, sigma = np.repeat(np.arange(100), 3), 0.004
    log_loss = np.sqrt(share) * random.normal(size=100)[cells]
    log_loss = sigma * (log_loss + np.sqrt(1 - share) * random.normal(size=300))
    samples = np.full(300, 1e6)
    runs = {
        "params": 1e4 * 1.1**cells,
        "samples": samples,
        "unique_samples": samples,
        "flops": 6e10 * 1.1**cells,
        "run_group": np.full(300, "all"),
    }
    posterior = exact.copy(deep=True)
    constant = exact["constant_data"].to_dataset().drop_dims("run")
    posterior["constant_data"] = xr.DataTree(
        constant.assign({name: ("run", value) for name, value in runs.items()})
    )
    posterior["observed_data"] = xr.DataTree(xr.Dataset({"loss": ("run", np.exp(log_loss))}))
    # ν = 5 there, and a normal deviate is worth (ν+3)/(ν+1) of the scale squared.
    assert common_share(posterior) == pytest.approx(1 - (1 - share) * 6 / 8, abs=0.08)


def test_a_fit_without_repeats_has_nothing_in_common(posterior: xr.DataTree) -> None:
    assert common_share(posterior) == 0.0


def test_the_default_grid_spans_the_runs_and_modestly_exceeds_them(posterior: xr.DataTree) -> None:
    grid, runs = default_grid(posterior, groups=["all"]), fitted_cells(posterior)
    assert grid["params"].min() == 1e4 and 2e6 <= grid["params"].max() <= 4e6
    assert grid["unique_samples"].min() == 1e5 and 2e7 <= grid["unique_samples"].max() <= 4e7
    assert set(grid["epochs"]) == {1.0}
    assert (grid["flops"] == 6 * grid["params"] * grid["unique_samples"]).all()
    assert not grid.duplicated().any() and set(runs["group"]) > {"all"}


def test_the_default_grid_keeps_to_the_samples_there_are(posterior: xr.DataTree) -> None:
    assert default_grid(posterior, unique_cap=5e6)["unique_samples"].max() == 5e6


def test_the_design_lists_what_it_spends_and_expects(posterior: xr.DataTree) -> None:
    erring = _with_error(posterior)
    goal = make_goal(erring, BUDGET, group="all")
    found = design(erring, default_grid(erring), goal, Limits(spend=2e14, runs=5), batch=2)
    table = found.table
    assert table["spend"].iloc[-1] <= 2e14
    assert (np.diff([found.sd_now, *table["expected_sd"]]) < 0).all()
    assert found.sd_after == table["expected_sd"].iloc[-1]
    assert list(table["batch"]) == [1 + i // 2 for i in range(len(table))]
    content = json.loads(to_json(found))
    assert content["linearised"] is True and content["quantity"] == "loss"
    assert content["runs"][0]["params"] == table["params"][0]


def test_the_runs_that_are_left_out_take_less_than_a_hundredth_together(
    posterior: xr.DataTree,
) -> None:
    erring = _with_error(posterior)
    goal, grid = make_goal(erring, BUDGET, group="all"), default_grid(erring)
    limits = Limits(1e15, runs=40)
    beliefs, costs = believe(erring, grid, goal), grid["flops"].to_numpy(float)
    everything = choose(beliefs, costs, limits)
    found = design(erring, grid, goal, limits)
    assert len(found.table) < len(everything)
    assert everything[-1].variance >= 0.99 * found.sd_after**2
    assert found.sd_least <= np.sqrt(everything[-1].variance)


def test_the_figure_falls_from_now_to_the_bound(posterior: xr.DataTree) -> None:
    goal = make_goal(posterior, BUDGET, group="all")
    found = design(posterior, default_grid(posterior), goal, Limits(1e15))
    _, right = design_figure(found, fitted_cells(posterior)).axes[:2]
    curve = np.asarray(right.lines[0].get_ydata())
    levels = [np.asarray(line.get_ydata()).tolist() for line in right.lines]
    assert [found.sd_least] * 2 in levels and found.sd_least <= curve[-1] < curve[0]
    assert "no choice within the limits leaves less" in [text.get_text() for text in right.texts]


def test_columns_of_the_user_are_kept(posterior: xr.DataTree) -> None:
    cells = _cells(posterior, [1e6], [4e7]).assign(width=64)
    goal = make_goal(posterior, BUDGET, group="all")
    found = design(posterior, cells, goal, Limits(spend=1e15))
    assert (found.table["width"] == 64).all()


def test_mistakes_in_the_candidates_are_named(posterior: xr.DataTree) -> None:
    table = pd.DataFrame({"group": ["all"], "params": [1e5], "unique_samples": [0.5]})
    with pytest.raises(ValueError, match="unique_samples must be a finite number of at least 1; "):
        complete_candidates(table, posterior)
    with pytest.raises(ValueError, match=r"unknown group\(s\) x; this posterior has all, kinem"):
        complete_candidates(table.assign(group="x"), posterior)
    with pytest.raises(ValueError, match=r"missing column\(s\) group; it has params"):
        complete_candidates(table[["params", "unique_samples"]], posterior)
    with pytest.raises(ValueError, match="no candidates; give at least one row"):
        complete_candidates(table[:0], posterior)
