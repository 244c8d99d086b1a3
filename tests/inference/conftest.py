"""Runs from known parameters, and one small posterior that several tests look at."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from isoflop.inference.fit import fit
from isoflop.inference.simulate import simulate_runs


@dataclass(frozen=True)
class Case:
    """Runs and what made them."""

    truth: Mapping[str, Mapping[str, float]]
    sigma: float
    runs: pd.DataFrame


SMALL = {"loss_inf": 0.80, "log_A": 3.0, "log_B": 3.4, "alpha": 0.45, "beta": 0.35, "omega": 6.0}
LARGE = {"loss_inf": 0.50, "log_A": 2.8, "log_B": 3.6, "alpha": 0.42, "beta": 0.37, "omega": 6.0}
ONE_EPOCH = [(n, u, 1.0) for n in np.geomspace(1e3, 3e5, 6) for u in np.geomspace(2e3, 4e5, 6)]
REPEATED = [(n, u, e) for n in (3e4, 3e5) for u in (5e3, 3e4) for e in (2.0, 4.0, 8.0, 32.0)]


@pytest.fixture(scope="session")
def two_groups() -> Case:
    truth = {"small": SMALL, "large": LARGE}
    return Case(truth, 0.003, simulate_runs(truth, ONE_EPOCH + REPEATED, sigma=0.003, seed=5))


@pytest.fixture(scope="session")
def one_group() -> Case:
    truth = {"small": SMALL}
    return Case(truth, 0.003, simulate_runs(truth, ONE_EPOCH, sigma=0.003, seed=5))


@pytest.fixture(scope="session")
def posterior(two_groups: Case) -> xr.DataTree:
    """Short chains on two groups, the most expensive tenth of the runs kept apart."""
    return fit(two_groups.runs, "additive", hold_out=0.1, draws=300, seed=2)
