"""The fit recovers what made the runs, reproduces a published fit, and refuses the rest."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from isoflop.inference.diagnostics import diagnose
from isoflop.inference.fit import fit, split_most_expensive, thinned, usable_runs
from isoflop.inference.simulate import simulate_runs
from isoflop.training.records import complete_records, read_records

PUBLIC_RUNS = Path(__file__).parents[2] / ".." / "shared" / "runs"


def _interval(tree: xr.DataTree, name: str, group: str, mass: float) -> tuple[float, float]:
    values = tree["posterior"].to_dataset()[name].sel(group=group)
    low, high = np.quantile(values, [(1 - mass) / 2, (1 + mass) / 2])
    return float(low), float(high)


@pytest.mark.slow
def test_known_parameters_are_recovered_per_group(posterior: xr.DataTree, two_groups: Any) -> None:
    for group, theta in two_groups.truth.items():
        for name, truth in theta.items():
            low, high = _interval(posterior, name, group, 0.999)
            assert low <= truth <= high, f"{name}[{group}] {truth} not in {low:.3f}, {high:.3f}"
    sigma = posterior["posterior"].to_dataset()["sigma"]
    assert float(sigma.median()) == pytest.approx(two_groups.sigma, rel=0.25)


@pytest.mark.slow
def test_runs_without_noise_give_back_their_law(two_groups: Any) -> None:
    cells = [(n, u, 1.0) for n in np.geomspace(1e3, 3e5, 5) for u in np.geomspace(2e3, 4e5, 5)]
    cells += [(n, u, e) for n in (3e4, 3e5) for u in (5e3, 3e4) for e in (2.0, 8.0, 32.0)]
    tree = fit(simulate_runs(two_groups.truth, cells, sigma=0.0), draws=500, seed=4)
    draws = tree["posterior"].to_dataset()
    for group, theta in two_groups.truth.items():
        for name, truth in theta.items():
            found = float(draws[name].sel(group=group).median())
            assert found == pytest.approx(truth, rel=0.005), f"{name}[{group}]"
    table = diagnose(tree).table
    assert table["rhat"].max() < 1.02
    assert table["ess_bulk"].min() > 300


@pytest.mark.slow
def test_the_overfitting_penalty_of_final_losses_is_recovered(two_groups: Any) -> None:
    theta = dict(two_groups.truth["small"]) | {"gamma": 0.7, "log_P": -4.0, "omega": 12.0}
    sizes = np.geomspace(1e3, 1e5, 5)
    cells = [(n, u, 1.0) for n in sizes for u in np.geomspace(5e3, 5e5, 5)]
    cells += [(n, u, e) for n in sizes for u in (3e4, 3e5) for e in (4.0, 16.0, 60.0)]
    runs = simulate_runs({"small": theta}, cells, sigma=0.003, loss_kind="final", seed=3)
    tree = fit(runs, draws=300, seed=0)
    for name in ("log_P", "omega", "beta", "loss_inf"):
        low, high = _interval(tree, name, "small", 0.999)
        assert low <= theta[name] <= high, f"{name}: {theta[name]} not in {low:.3f}, {high:.3f}"
    low, high = _interval(tree, "log_P", "small", 0.95)
    assert high - low < 1.0
    assert not diagnose(tree).prior_driven


@pytest.mark.slow
def test_intervals_are_narrow_enough_to_be_useful(posterior: xr.DataTree) -> None:
    low, high = _interval(posterior, "loss_inf", "large", 0.95)
    assert high - low < 0.05


@pytest.mark.slow
def test_runs_kept_apart_are_predicted_within_their_intervals(posterior: xr.DataTree) -> None:
    predicted = posterior["predictions"].to_dataset()["loss"]
    observed = posterior["predictions_constant_data"].to_dataset()
    low, high = predicted.quantile([0.005, 0.995], dim=("chain", "draw"))
    inside = (observed["loss"] >= low) & (observed["loss"] <= high)
    fitted = posterior["constant_data"].to_dataset()
    assert observed.sizes["run"] == 10
    assert float(observed["flops"].min()) >= float(fitted["flops"].max())
    assert float(inside.mean()) >= 0.8


@pytest.mark.slow
def test_posterior_predictive_holds_the_runs_of_the_fit(posterior: xr.DataTree) -> None:
    draws = posterior["posterior_predictive"].to_dataset()["loss"]
    low, high = draws.quantile([0.025, 0.975], dim=("chain", "draw"))
    observed = posterior["observed_data"].to_dataset()["loss"]
    assert 0.88 <= float(((observed >= low) & (observed <= high)).mean()) <= 1.0


@pytest.mark.slow
def test_the_sampler_converges_and_gains_on_repeated_runs_are_informed(
    posterior: xr.DataTree,
) -> None:
    diagnosis = diagnose(posterior)
    assert diagnosis.table["rhat"].max() < 1.03
    assert diagnosis.divergent <= 2
    assert not diagnosis.prior_driven


@pytest.mark.slow
def test_same_seed_same_posterior_and_omega_without_repetition_is_prior_driven(
    one_group: Any,
) -> None:
    runs = one_group.runs
    first, second = (fit(runs, "coupled", draws=200, seed=4) for _ in range(2))
    xr.testing.assert_identical(first["posterior"].to_dataset(), second["posterior"].to_dataset())
    assert diagnose(first).prior_driven == ("omega[small]",)


@pytest.mark.slow
def test_published_chinchilla_coefficients_come_out() -> None:
    table = PUBLIC_RUNS / "chinchilla_kyotakano.csv"
    if not table.is_file():
        pytest.skip("the public run tables are not beside this checkout (../shared/runs)")
    tree = fit(read_records(table), "additive", seed=1)
    median = tree["posterior"].to_dataset().median(("chain", "draw")).isel(group=0)
    # The replication, arXiv:2404.10102, and the margins we ask for.
    assert float(median["loss_inf"]) == pytest.approx(1.82, abs=0.05)
    assert float(median["alpha"]) == pytest.approx(0.35, abs=0.03)
    assert float(median["beta"]) == pytest.approx(0.37, abs=0.05)
    assert diagnose(tree).verdict.ok


def test_too_few_sizes_say_which_exponent_cannot_be_identified(one_group: Any) -> None:
    runs = one_group.runs
    with pytest.raises(ValueError, match="identified") as caught:
        fit(runs[(runs["params"] < 2e3) & (runs["samples"] < 5e3)])
    assert str(caught.value) == (
        "the table has 1 run(s) to fit and law 'coupled' with its 6 free parameters needs at least "
        "7 (12 or more are advised); add runs; alpha cannot be identified: params takes 1 distinct "
        "value(s), law 'coupled' needs at least 3; beta cannot be identified: samples takes 1 "
        "distinct value(s), law 'coupled' needs at least 3; add runs of other sizes"
    )


def test_runs_that_the_law_does_not_describe_are_left_out(one_group: Any) -> None:
    runs = one_group.runs.copy()
    runs.loc[runs.index[0], ["status", "loss"]] = ["diverged", np.nan]
    # Beyond the passes to which the overfitting penalty holds: in general, and where N > 4 U.
    for place, params, epochs in ((1, 1e3, 101.0), (2, 1e6, 31.0), (3, 1e3, 99.0)):
        row = runs.index[place]
        runs.loc[row, ["params", "unique_samples", "loss_kind"]] = [params, 1e5, "final"]
        runs.loc[row, "samples"] = 1e5 * epochs
    runs.loc[runs.index[4], ["unique_samples", "loss_kind"]] = [1.0, "early_stopped"]
    assert list(usable_runs(runs).index) == list(runs.index[3:])
    low = usable_runs(runs, loss_below=1.5)
    assert 0 < len(low) < len(runs)
    assert low["loss"].max() < 1.5
    with pytest.raises(ValueError, match="no run to fit: every run diverged, repeats its samples"):
        usable_runs(runs.iloc[:2])


def test_an_outlier_does_not_move_the_fit(one_group: Any) -> None:
    runs = one_group.runs
    outlier = runs.copy()
    outlier.loc[runs.index[len(runs) // 2], "loss"] *= 10.0
    first, second = (
        fit(table, draws=200, seed=3)["posterior"].to_dataset() for table in (runs, outlier)
    )
    for name in ("loss_inf", "alpha", "beta"):
        shift = abs(float(second[name].median()) - float(first[name].median()))
        assert shift < 0.3 * float(first[name].std()), name


def test_the_most_expensive_runs_are_split_off(two_groups: Any) -> None:
    runs = two_groups.runs
    kept, apart = split_most_expensive(runs, 0.1)
    assert len(kept) + len(apart) == len(runs)
    assert kept["flops"].max() <= apart["flops"].min()
    with pytest.raises(ValueError, match=r"the held-out fraction is 1.5; it must lie in \[0, 1\)"):
        split_most_expensive(runs, 1.5)


def test_a_group_that_would_lose_every_run_is_named(two_groups: Any) -> None:
    runs = two_groups.runs
    dear = runs[runs["flops"] == runs["flops"].max()].assign(group="dear", run_id=["x", "y"])
    with pytest.raises(ValueError, match=r"no run left to fit in group\(s\) dear; hold out fewer"):
        split_most_expensive(complete_records(pd.concat([runs, dear])), 0.05)


def test_a_long_table_is_thinned_evenly_over_groups_and_compute(two_groups: Any) -> None:
    runs = two_groups.runs
    few = thinned(runs, 40, seed=0)
    assert len(few) == 40
    assert few["run_id"].is_unique
    assert set(few["run_id"]) <= set(runs["run_id"])
    cells = (few["group"], np.floor(2.0 * np.log10(few["flops"])))
    whole = (runs["group"], np.floor(2.0 * np.log10(runs["flops"])))
    # Every cell keeps a run before any keeps many.
    assert few.groupby(list(cells)).ngroups == runs.groupby(list(whole)).ngroups
    pd.testing.assert_frame_equal(few, thinned(runs, 40, seed=0))


@pytest.mark.slow
def test_a_thinned_fit_says_so_and_agrees(two_groups: Any, posterior: xr.DataTree) -> None:
    few = fit(two_groups.runs, "additive", max_runs=60, draws=200, seed=2)
    assert str(few.attrs["warnings"]).startswith("60 of 104 runs were fitted, drawn at random")
    for name in ("alpha", "beta"):
        low, high = _interval(few, name, "large", 0.999)
        assert (
            low
            <= float(posterior["posterior"].to_dataset()[name].sel(group="large").median())
            <= high
        )
