"""κ follows the errors of the refits, and only their distance beyond the runs widens a forecast."""

import numpy as np
import pytest

from isoflop.inference import laws
from isoflop.inference.priors import DEFAULT
from isoflop.inference.rolling import RollingErrors, kappa_draws

THETA = {"loss_inf": 0.5, "log_A": 3.0, "log_B": 3.4, "alpha": 0.45, "beta": 0.35, "gamma": 0.7}


def _errors(kappa: float, groups: int, *, seed: int = 0) -> RollingErrors:
    """Four runs of each group, missed together by κ times their drift."""
    rng = np.random.default_rng(seed)
    group = np.repeat([f"g{i}" for i in range(groups)], 4)
    drift = np.tile([0.05, 0.1, 0.15, 0.2], groups)
    return RollingErrors(
        run=np.array([str(i) for i in range(4 * groups)]),
        group=group,
        cutoff=np.full(4 * groups, 10.0),
        decades=np.full(4 * groups, 1.0),
        error=kappa * drift * np.repeat(rng.normal(size=groups), 4),
        spread=np.full(4 * groups, 1e-4),
        drift=drift,
    )


def test_without_refits_kappa_is_its_prior() -> None:
    draws = kappa_draws(_errors(0.1, 0), DEFAULT.log_kappa, 20_000, seed=1)
    assert np.median(draws) == pytest.approx(0.1, rel=0.03)
    assert np.log(draws).std() == pytest.approx(DEFAULT.log_kappa.scale, rel=0.03)


@pytest.mark.parametrize("kappa", [0.03, 0.3])
def test_many_groups_determine_kappa(kappa: float) -> None:
    draws = kappa_draws(_errors(kappa, 80), DEFAULT.log_kappa, 4000, seed=1)
    low, high = np.quantile(draws, (0.005, 0.995))
    assert low < kappa < high
    assert np.log(high / low) < 1.2


def test_many_runs_of_one_group_are_one_observation() -> None:
    few, many = _errors(0.5, 1, seed=3), _errors(0.5, 1, seed=3)
    repeated = {name: np.repeat(getattr(many, name), 50) for name in many.__dataclass_fields__}
    spreads = [
        np.log(kappa_draws(errors, DEFAULT.log_kappa, 20_000, seed=0)).std()
        for errors in (few, RollingErrors(**repeated))
    ]
    assert spreads[0] == pytest.approx(spreads[1], rel=1e-6)


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
