"""Ranks of truths are uniform when the model is right, and not when it is wrong."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from isoflop.inference import predictive
from isoflop.inference.calibration import (
    Laboratory,
    Replication,
    Simulation,
    judge,
    lay_out,
    ranks_table,
    recentred,
    replicate,
    simulate,
)
from isoflop.inference.laws import LAWS
from isoflop.inference.priors import DEFAULT, Normal, Priors
from isoflop.inference.ranks import (
    ecdf_band,
    ecdf_difference,
    rank_among,
    uniformity,
    uniformity_table,
)
from isoflop.inference.sampler import Lengths
from isoflop.training.records import complete_records

REPLICATIONS = 60
LENGTHS = Lengths(chains=2, draws=200, warmup=100)
GRID = [(n, u, 1.0) for n in np.geomspace(1e4, 1e6, 5) for u in np.geomspace(1e4, 1e6, 5)]
REPEATED = [(n, 1e4, e) for n in (1e5, 1e6) for e in (2.0, 8.0, 32.0)]
# Noise between 0.2 and 5 % and no very heavy tails: one compact posterior after the other.
PRIORS = Priors(
    log_sigma=Normal(np.log(0.01), 0.7, "so that every replication takes about as long"),
    log_nu_minus_2=Normal(np.log(13.0), 0.25, "so that no run is fitted exactly"),
)


def _records(cells: list[tuple[float, float, float]]) -> pd.DataFrame:
    rows = [("a", n, u * e, u, 1.0, "early_stopped") for n, u, e in cells]
    columns = ["group", "params", "samples", "unique_samples", "loss", "loss_kind"]
    return complete_records(pd.DataFrame(rows, columns=columns), source="the design")


@pytest.fixture(scope="module")
def laboratory() -> Laboratory:
    return lay_out(_records(GRID + REPEATED), LAWS["additive"], PRIORS, LENGTHS)


def _with_noise_scaled(simulation: Simulation, by: float) -> Simulation:
    law = {name: value[None] for name, value in simulation.truth.items()}
    exact = np.exp(predictive.expected_log_loss(law, simulation.runs)[0])
    scaled = exact * (simulation.runs.loss / exact) ** by
    return Simulation(simulation.truth, replace(simulation.runs, loss=scaled))


def test_rank_counts_the_thinned_draws_below_the_truth() -> None:
    draws = np.vstack([np.arange(1000.0), np.arange(1000.0)])
    assert list(rank_among(draws, np.array([-1.0, 1e4]), ranked=99)) == [0, 99]
    assert rank_among(draws, np.array([499.5, 0.5]), ranked=9)[0] == 4
    with pytest.raises(ValueError, match="50 draws cannot be thinned to 99; increase draws"):
        rank_among(draws[:, :50], np.zeros(2))


def test_uniform_ranks_pass_and_others_do_not() -> None:
    rng = np.random.default_rng(3)
    assert uniformity(rng.integers(0, 100, 400)).chi2_p > 0.01
    assert uniformity(rng.integers(0, 100, 400)).ecdf_p > 0.01
    too_wide = rng.binomial(99, 0.5, 400)
    biased = np.minimum(rng.integers(0, 100, 400), rng.integers(0, 100, 400))
    for ranks in (too_wide, biased):
        assert uniformity(ranks).chi2_p < 1e-6
        assert uniformity(ranks).ecdf_p < 1e-3


def test_chi2_is_that_of_the_histogram() -> None:
    ranks = np.repeat([0, 25, 50, 75], [10, 20, 30, 40])
    expected = stats.chisquare([10, 20, 30, 40]).pvalue
    assert uniformity(ranks, bins=4).chi2_p == pytest.approx(expected)


def test_ranks_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="ranks run from -1 to 5; 0 to 99 is possible"):
        uniformity(np.array([-1, 5]))
    with pytest.raises(ValueError, match="7 bins do not divide the 100 ranks evenly"):
        uniformity(np.array([1, 5]), bins=7)


def test_the_band_holds_whole_curves_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    band = ecdf_band(100, mass=0.9)
    curves = [ecdf_difference(rng.integers(0, 100, 100)) for _ in range(1000)]
    # A curve on the edge is inside; round-off must not push it out.
    inside = [((c >= band.low - 1e-9) & (c <= band.high + 1e-9)).all() for c in curves]
    assert 0.87 <= np.mean(inside) <= 0.94


def test_a_curve_outside_the_band_is_a_small_p_value() -> None:
    rng = np.random.default_rng(12)
    band = ecdf_band(200)
    for shift in range(0, 14, 2):
        ranks = np.clip(rng.integers(0, 100, 200) + shift, 0, 99)
        curve = ecdf_difference(ranks)
        outside = ((curve < band.low - 1e-9) | (curve > band.high + 1e-9)).any()
        assert outside == (uniformity(ranks).ecdf_p < 0.05)


def test_the_table_has_a_row_for_each_quantity() -> None:
    one = Replication(
        seed=0,
        quantities=("omega[a]", "sigma"),
        rank=np.array([10, 90]),
        contraction=np.array([0.1, 0.9]),
        z_score=np.array([-1.0, 1.0]),
        rhat=np.array([1.0, 1.01]),
        ess=np.array([300.0, 400.0]),
        divergent=0,
    )
    table = ranks_table([one, replace(one, seed=1)])
    assert len(table) == 4
    summary = uniformity_table(table).set_index("quantity")
    assert list(summary.index) == ["omega[a]", "sigma"]
    assert summary["rhat_max"].loc["sigma"] == 1.01
    assert summary["cover_50"].loc["omega[a]"] == 0.0
    assert summary["cover_90"].loc["omega[a]"] == 1.0


def test_truths_are_draws_of_the_prior_and_losses_scatter_as_the_model_says(
    laboratory: Laboratory,
) -> None:
    drawn = [simulate(laboratory, seed=seed) for seed in range(400)]
    share = [one.truth["share"].item() for one in drawn]
    assert stats.kstest(share, "norm", (DEFAULT.share.location, DEFAULT.share.scale)).pvalue > 1e-3
    tails = []
    for one in drawn:
        single = {name: value[None] for name, value in one.truth.items()}
        off = np.log(one.runs.loss) - predictive.expected_log_loss(single, one.runs)[0]
        samples = one.runs.unique_samples * one.runs.epochs / np.exp(one.runs.centre[1])
        scale = one.truth["sigma"] * samples ** one.truth["sigma_slope"]
        tails.append(stats.t.cdf(off / scale, one.truth["nu"]))
    assert stats.kstest(np.concatenate(tails), "uniform").pvalue > 1e-3


def test_recentring_moves_the_prior_and_not_the_truth(laboratory: Laboratory) -> None:
    simulation = simulate(laboratory, seed=1)
    moved = recentred(simulation)
    assert moved.runs.level[0] == pytest.approx(np.log(moved.runs.loss).mean())
    before, after = (s.runs.level + s.truth["level"] for s in (simulation, moved))
    np.testing.assert_allclose(after, before)


@pytest.mark.slow
def test_ranks_are_uniform_for_the_model_itself(laboratory: Laboratory) -> None:
    table = ranks_table(replicate(laboratory, seed=seed) for seed in range(REPLICATIONS))
    summary = uniformity_table(table).set_index("quantity")
    for test in ("chi2_p", "ecdf_p"):
        smallest = summary[test].nsmallest(3)
        assert smallest.iloc[0] > 1e-2 / len(summary), smallest
    # A quantity of the runs and the parameters sees faults that no parameter sees.
    assert {"log_likelihood", "forecast[a]", "omega[a]", "sigma", "nu"} <= set(summary.index)
    assert table["rank"].between(0, 99).all() and not table["z_score"].isna().any()


@pytest.mark.slow
def test_noise_other_than_the_model_says_is_caught(laboratory: Laboratory) -> None:
    def halved(seed: int) -> Replication:
        simulation = _with_noise_scaled(simulate(laboratory, seed=seed), 0.5)
        return judge(simulation, laboratory, seed=seed)

    summary = uniformity_table(ranks_table(map(halved, range(20)))).set_index("quantity")
    assert summary["chi2_p"].loc["sigma"] < 1e-6
    assert summary["z_mean"].loc["sigma"] < -2.0


@pytest.mark.slow
def test_a_known_floor_is_recovered_and_omega_is_what_the_prior_says_without_repeats() -> None:
    known = {
        "irreducible_group": np.zeros(1),
        "share_group": np.zeros(1),
        "log_sigma": np.log(2e-3),
        "log_nu_minus_2": np.log(13.0),
    }
    # p and s are a half each, so the slopes of log L are a quarter of γα and γβ.
    known |= {f"log_slope_{k}_group": np.log([v / 4]) for k, v in (("n", 0.45), ("d", 0.4))}
    known |= {"log_spare": np.log(8.0)}
    laboratory = lay_out(_records(GRID), LAWS["additive"], PRIORS, LENGTHS)
    truths = [simulate(laboratory, seed=seed, known=known) for seed in (0, 1, 2)]
    judged = [judge(truth, laboratory, seed=5) for truth in truths]
    summary = ranks_table(judged).set_index("quantity")
    assert summary["z_score"].loc[["loss_inf[a]"]].abs().max() < 3.5
    informed = ["loss_inf[a]", "alpha[a]", "beta[a]", "log_A[a]", "log_B[a]", "sigma", "level[a]"]
    assert summary["contraction"].loc[informed].min() > 0.9
    assert summary["contraction"].loc[["omega[a]"]].abs().max() < 0.2
