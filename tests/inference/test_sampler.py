"""The sampler against densities that are known, and starts where the mass is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from isoflop.inference import sampler
from isoflop.inference.density import BLOCK, DRAWS, Target
from isoflop.inference.laws import LAWS
from isoflop.inference.mode import find_mode
from isoflop.inference.model import bucket, padded, run_data
from isoflop.inference.priors import DEFAULT
from isoflop.inference.sampler import Lengths, laplace_draws, sample
from isoflop.inference.simulate import simulate_runs
from isoflop.inference.targets import padded_target

COVARIANCE = np.array([[4.0, 1.9], [1.9, 1.0]])


def _normal(location: Any) -> None:
    numpyro.sample("x", dist.MultivariateNormal(location, jnp.array(COVARIANCE)))


def test_a_normal_density_is_sampled_as_it_is() -> None:
    target = Target(_normal, jnp.zeros(2), warmup=100)
    location = jnp.array([3.0, -1.0])
    mode = find_mode(target, location)
    np.testing.assert_allclose(mode.location, location, atol=1e-3)
    np.testing.assert_allclose(mode.covariance, COVARIANCE, rtol=1e-4)
    drawn = sample(target, location, mode, Lengths(chains=4, draws=1000, warmup=100), seed=0)
    x = drawn.sites["x"].reshape(-1, 2)
    np.testing.assert_allclose(x.mean(axis=0), location, atol=0.15)
    np.testing.assert_allclose(np.cov(x.T), COVARIANCE, rtol=0.12)
    assert drawn.stats["diverging"].sum() == 0
    approximate = laplace_draws(target, location, mode, 20_000, seed=0)["x"]
    np.testing.assert_allclose(np.cov(approximate.T), COVARIANCE, rtol=0.05)


def test_the_same_program_serves_other_data_and_seeds_repeat() -> None:
    target = Target(_normal, jnp.zeros(2), warmup=100)
    lengths = Lengths(chains=2, draws=100, warmup=100)
    draws = [
        sample(target, place, find_mode(target, place), lengths, seed=seed).sites["x"]
        for place, seed in ((jnp.zeros(2), 0), (jnp.zeros(2), 0), (jnp.full(2, 50.0), 0))
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert abs(draws[2].mean() - 50.0) < 1.0


def test_chains_that_mix_too_slowly_go_on_and_are_thinned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target, location = Target(_normal, jnp.zeros(2), warmup=100), jnp.array([3.0, -1.0])
    mode, lengths = find_mode(target, location), Lengths(chains=2, draws=200, warmup=100)
    once = sample(target, location, mode, lengths, seed=0)
    monkeypatch.setattr(sampler, "MIN_ESS", np.inf)
    monkeypatch.setattr(sampler, "SHARE", np.inf)
    longest = sample(target, location, mode, lengths, seed=0)
    assert longest.sites["x"].shape == once.sites["x"].shape
    # As many leapfrog steps a kept draw as are made for all those that it stands for; the later
    # draws are from other coordinates.
    share = longest.stats["n_steps"].mean() / once.stats["n_steps"].mean()
    assert lengths.longest / 2.0 < share < 2.0 * lengths.longest
    x = longest.sites["x"].reshape(-1, 2)
    np.testing.assert_allclose(x.mean(axis=0), location, atol=0.4)
    np.testing.assert_allclose(np.cov(x.T), COVARIANCE, rtol=0.3)


def test_the_number_that_mixes_worst_decides_and_what_does_not_vary_is_left_out() -> None:
    rng = np.random.default_rng(0)
    creeping = np.cumsum(rng.normal(size=(2, 500)), axis=1)
    sites = {"good": rng.normal(size=(2, 500, 3)), "fixed": np.ones((2, 500))}
    assert sampler.least_ess(sites) > 700.0
    assert sampler.least_ess(sites | {"bad": creeping}) < 30.0


@pytest.mark.parametrize("rows", [1, 32, 33, 64, 100, 1000])
def test_buckets_hold_the_runs_and_waste_at_most_half(rows: int) -> None:
    assert max(32, rows) <= bucket(rows) <= max(32, 1.5 * rows)


def test_padding_does_not_change_the_density(one_group: Any) -> None:
    data = run_data(one_group.runs)
    target, filled = padded_target(data, LAWS["coupled"], DEFAULT)
    longer = padded(data, 2 * len(filled.loss))
    z = np.linspace(-0.5, 0.5, target.dimensions)
    values = [np.asarray(target.energy(z, rows)[0]) for rows in (filled, longer)]
    assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_slopes_are_differences_of_the_energy_in_blocks_as_one_by_one(two_groups: Any) -> None:
    target, runs = padded_target(run_data(two_groups.runs), LAWS["coupled"], DEFAULT)
    runs = replace(runs, kappa=np.array(0.1), lost=0.1 * np.ones(runs.lost.shape))
    z = 0.3 * np.random.default_rng(0).normal(size=(BLOCK + 3, target.dimensions))
    slopes = target.slopes(z, runs)
    for at, slope in zip(z[-5:], slopes[-5:], strict=True):
        np.testing.assert_array_equal(target.energy(at, runs)[1], slope)
        step = 1e-5 * np.eye(target.dimensions)
        ends = [[target.energy(at + sign * one, runs)[0] for one in step] for sign in (1, -1)]
        differences = (np.array(ends[0]) - ends[1]) / 2e-5
        np.testing.assert_allclose(slope, differences, rtol=1e-5, atol=1e-5 * np.abs(slope).max())


def test_sites_of_many_vectors_are_those_of_each(two_groups: Any) -> None:
    target, runs = padded_target(run_data(two_groups.runs), LAWS["coupled"], DEFAULT)
    z = np.random.default_rng(0).normal(size=(DRAWS + 1, target.dimensions))
    every, last = target.constrain(z, runs), target.constrain(z[-1:], runs)
    assert every["alpha"].shape == (DRAWS + 1, 2)
    for name, sites in every.items():
        np.testing.assert_array_equal(sites[-1:], last[name])


@pytest.mark.slow
def test_fewer_runs_than_parameters_are_sampled_about_their_mass_and_not_in_a_spike() -> None:
    # Ten runs a group for some eight parameters: the law can pass exactly through many of them.
    rng = np.random.default_rng(0)
    theta = {"log_A": 3.0, "log_B": 3.5, "alpha": 0.45, "beta": 0.4, "gamma": 0.7}
    truth = {f"g{i}": theta | {"loss_inf": 0.5 * np.exp(0.3 * rng.normal())} for i in range(10)}
    cells = [(n, d, 1.0) for n in (1e4, 1e5, 1e6, 1e7, 1e8) for d in (1e5, 1e7)]
    data = run_data(simulate_runs(truth, cells, sigma=0.004, seed=1))
    target, filled = padded_target(data, LAWS["coupled"], DEFAULT)
    for seed in (0, 1):
        mode = find_mode(target, filled, seed=seed)
        sigma = laplace_draws(target, filled, mode, 200, seed=0)["sigma"]
        # The truth is 4e-3; the height alone would choose 3e-6.
        assert 1e-3 < np.median(sigma) < 1e-2
    drawn = sample(target, filled, mode, Lengths(chains=2, draws=300), seed=0)
    assert drawn.stats["diverging"].mean() < 0.01
    low, high = np.quantile(drawn.sites["sigma"], (0.025, 0.975))
    assert low < 0.004 < high


@pytest.mark.slow
def test_programs_are_kept_in_the_folder_that_was_named(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import jax, isoflop.inference.density as s; s.use_compilation_cache();"
        "print(jax.config.values['jax_compilation_cache_dir'])"
    )
    for value, expected in ((str(tmp_path / "x"), str(tmp_path / "x")), ("off", "None")):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={"PATH": "", "HOME": str(tmp_path), "ISOFLOP_CACHE": value},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == expected
