"""κ follows the runs, its error is 0 at the dearest one, and distance widens a forecast."""

import numpy as np
import pandas as pd
import pytest

from isoflop.inference import laws
from isoflop.inference.laws import LAWS
from isoflop.inference.model import run_data
from isoflop.inference.priors import DEFAULT
from isoflop.inference.simulate import simulate_runs
from isoflop.inference.targets import padded_target
from isoflop.inference.wander import Wander, learn_wander

THETA = {"loss_inf": 0.5, "log_A": 3.0, "log_B": 3.4, "alpha": 0.45, "beta": 0.35, "gamma": 0.7}


@pytest.mark.slow
def test_many_groups_determine_kappa() -> None:
    for kappa in (0.03, 0.3):
        runs = _wandering(kappa, groups=16)
        data = run_data(runs)
        target, filled = padded_target(data, LAWS["additive"], DEFAULT)
        found = learn_wander(target, filled, DEFAULT.log_kappa)
        low, high = np.quantile(found.draws(4000, seed=0), (0.005, 0.995))
        assert low < kappa < high
        assert np.log(high / low) < 1.2
        assert found.median == pytest.approx(np.median(found.draws(4000, seed=0)), rel=0.05)


def test_draws_of_kappa_follow_their_mass() -> None:
    log_kappa = np.log(DEFAULT.log_kappa.scale) + np.linspace(-3.0, 3.0, 201)
    mass = np.exp(-0.5 * np.linspace(-3.0, 3.0, 201) ** 2)
    found = Wander(log_kappa, mass / mass.sum())
    draws = np.log(found.draws(20_000, seed=1))
    assert draws.std() == pytest.approx(1.0, rel=0.03)
    assert np.log(found.median) == pytest.approx(log_kappa.mean(), abs=1e-6)


def _wandering(kappa: float, *, groups: int) -> pd.DataFrame:
    """Runs whose loss leaves an additive law by a walk of κ times their own fall per √decade."""
    rng = np.random.default_rng(3)
    cells = [(n, u, 1.0) for n in np.geomspace(1e3, 1e6, 6) for u in np.geomspace(1e3, 1e6, 6)]
    law = {name: THETA[name] for name in ("loss_inf", "log_A", "log_B", "alpha", "beta")}
    runs = simulate_runs({f"g{i:02d}": law for i in range(groups)}, cells, sigma=0.002, seed=4)
    data = run_data(runs)
    steps = rng.normal(size=(groups, laws.KNOTS)).cumsum(axis=1)
    walk = kappa * (data.fall * np.sqrt(data.span / laws.KNOTS))[:, None] * steps
    return runs.assign(loss=data.loss * np.exp((data.hats * walk[data.group]).sum(axis=1)))


def test_fall_per_decade_is_the_derivative_of_the_law() -> None:
    step = 1e-5
    up, down = (
        np.log(laws.loss(3e4 * 10 ** (s / 2), 2e5 * 10 ** (s / 2), **THETA)) for s in (step, -step)
    )
    exact = float(laws.fall_per_decade(3e4, 2e5, **THETA))
    assert exact == pytest.approx(-(up - down) / (2 * step), rel=1e-6)


def test_drift_is_zero_within_the_runs_and_grows_as_the_root_of_decades() -> None:
    edge = 3e4, 2e5
    there = [[n * 10 ** (d / 2) for n in edge] for d in (0.0, 1.0, 4.0)]
    scales = [
        float(laws.drift(d, *n, **THETA)) for d, n in zip((0.0, 1.0, 4.0), there, strict=True)
    ]
    fall = float(laws.fall_per_decade(*edge, **THETA))
    assert scales == pytest.approx([0.0, fall, 2.0 * fall])


def test_bounded_metric_and_its_unbounded_value_are_inverse() -> None:
    rates = np.array([1e-6, 0.3, 0.999])
    np.testing.assert_allclose(laws.bounded(laws.unbounded(rates, 1.0), 1.0), rates)
    assert laws.unbounded(2.0, np.inf) == 2.0
