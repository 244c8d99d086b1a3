"""A small posterior made from known parameters: no sampler, no file."""

import numpy as np
import pytest
import xarray as xr

from isoflop.inference import laws
from isoflop.inference import posterior as contract

TRUTH = {
    "loss_inf": 0.35,
    "log_A": 4.0,
    "log_B": 3.0,
    "alpha": 0.42,
    "beta": 0.30,
    "gamma": 0.8,
    "omega": 8.0,
    "log_P": laws.NO_PENALTY,
}
WIDTHS = {
    "loss_inf": 0.003,
    "log_A": 0.03,
    "log_B": 0.03,
    "alpha": 0.003,
    "beta": 0.002,
    "gamma": 0.005,
    "omega": 1.0,
    "log_P": 0.0,
}
SIGMA, SIGMA_SLOPE, NU = 0.004, -0.1, 5.0
# No error of the law itself: the tests that want one set it.
KAPPA = 0.0
SIGMA_SAMPLES = 1e6
COST = 6.0
# Groups differ by their irreducible loss.
OFFSETS = {"all": 0.0, "kinematic": 0.4}
LARGEST_FLOPS = COST * 1e6 * 1e7


def make_posterior(
    *, width: float = 1.0, draws: int = 200, offsets: dict[str, float] = OFFSETS, held: bool = True
) -> xr.DataTree:
    """Two chains of draws about `TRUTH`; `width` 0 repeats the truth in every draw."""
    random = np.random.default_rng(1)
    groups, shape = list(offsets), (2, draws, len(offsets))
    dims = ("chain", "draw", "group")
    theta = {
        name: (dims, value + width * WIDTHS[name] * random.standard_normal(shape))
        for name, value in TRUTH.items()
    }
    theta["loss_inf"] = (dims, theta["loss_inf"][1] + np.array(list(offsets.values())))
    values = {"sigma": SIGMA, "sigma_slope": SIGMA_SLOPE, "rho": 0.0, "nu": NU, "kappa": KAPPA}
    noise = {name: np.full(shape[:2], value) for name, value in values.items()}
    variables = theta | {name: (dims[:2], value) for name, value in noise.items()}
    law = xr.Dataset(variables, coords={"group": groups})
    law["walk"] = ((*dims, "knot"), np.zeros((*shape, laws.KNOTS)))
    law["walls"] = ((*dims, "side"), np.zeros((*shape, laws.SIDES)))
    constant = fitted_runs(offsets)
    constant["sigma_samples"] = ((), SIGMA_SAMPLES)
    constant["final"] = (("group",), np.full(len(groups), True))
    moved = [{**TRUTH, "loss_inf": TRUTH["loss_inf"] + offset} for offset in offsets.values()]
    constant["valley"] = (("group", "parameter"), [list(law.values()) for law in moved])
    constant["flops_per_param_sample"] = (("group",), np.full(len(groups), COST))
    constant = constant.assign_coords(group=groups, parameter=list(TRUTH))
    tree = {name: xr.Dataset() for name in contract.GROUPS}
    tree |= {
        "posterior": law,
        "constant_data": constant.drop_vars("loss"),
        "observed_data": constant[["loss"]],
        "posterior_predictive": replicated(constant, draws),
    }
    if held:
        tree |= held_out_groups(groups[0])
    made = xr.DataTree.from_dict(tree)
    made.attrs = {"schema": contract.SCHEMA, "law": "coupled", "ceiling": np.inf}
    return made


def fitted_runs(offsets: dict[str, float]) -> xr.Dataset:
    """A grid of 3 × 3 runs for each group, their losses exactly on the law."""
    n, d = (axis.ravel() for axis in np.meshgrid([1e4, 1e5, 1e6], [1e5, 1e6, 1e7]))
    params, samples = (np.tile(axis, len(offsets)) for axis in (n, d))
    shift = np.repeat(list(offsets.values()), len(n))
    columns = {
        "params": params,
        "samples": samples,
        "unique_samples": samples,
        "flops": COST * params * samples,
        "run_group": np.repeat(list(offsets), len(n)),
        "loss": np.asarray(laws.loss(params, samples, **TRUTH)) + shift,
    }
    names = [f"run-{i}" for i in range(len(params))]
    return xr.Dataset({k: ("run", v) for k, v in columns.items()}, coords={"run": names})


def replicated(runs: xr.Dataset, draws: int) -> xr.Dataset:
    """Losses of the runs with 1 % scatter, two chains of draws."""
    noise = np.random.default_rng(2).standard_normal((2, draws, runs.sizes["run"]))
    loss = (("chain", "draw", "run"), runs["loss"].to_numpy() * np.exp(0.01 * noise))
    return xr.Dataset({"loss": loss}, coords={"run": runs["run"]})


def held_out_groups(group: str) -> dict[str, xr.Dataset]:
    """Three held-out runs whose predictive draws are evenly spaced from 0.5 to 1.5 nat.


    Their 68 % interval is 0.66 … 1.34, their 95 % interval 0.525 … 1.475.
    """
    draws = np.linspace(0.5, 1.5, 101)
    predicted = np.broadcast_to(draws[None, :, None], (1, 101, 3)).astype(np.float32)
    columns = {
        "params": np.array([2e6, 1e6, 1e6]),
        "samples": np.array([5e7, 1e8, 1e7]),
        "unique_samples": np.array([5e7, 5e7, 1e7]),
        "flops": LARGEST_FLOPS * np.array([100.0, 10.0, 1.0]),
        "run_group": np.array([group] * 3),
        "loss": np.array([2.0, 0.8, 1.4]),
    }
    names = {"run": ["far", "middle", "near"]}
    return {
        "predictions": xr.Dataset({"loss": (("chain", "draw", "run"), predicted)}, coords=names),
        "predictions_constant_data": xr.Dataset(
            {name: ("run", value) for name, value in columns.items()}, coords=names
        ),
    }


@pytest.fixture(scope="session")
def posterior() -> xr.DataTree:
    """Draws that scatter about the truth, two groups, three held-out runs."""
    return make_posterior()


@pytest.fixture(scope="session")
def exact() -> xr.DataTree:
    """A posterior whose draws all are the truth."""
    return make_posterior(width=0.0, draws=5)


@pytest.fixture(scope="session")
def truth() -> dict[str, float]:
    """The law's parameters of group `all` in `exact`."""
    return dict(TRUTH)
