"""Settings for all tests, and the small sweep that the tests of the command line share."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from tests.command import run

from isoflop.inference.threads import one_blas_thread

# The first call of a law compiles, which says nothing about it; and CI should not draw its luck.
settings.register_profile("isoflop", deadline=None, derandomize=True)
settings.load_profile("isoflop")

THETA = {"loss_inf": 0.80, "log_A": 3.0, "log_B": 3.4, "alpha": 0.45, "beta": 0.35, "omega": 6.0}
"""The law of the small sweep."""


@pytest.fixture(scope="session", autouse=True)
def blas_of_the_tests() -> Iterator[None]:
    """Several tests run at once: threads of a small product would wait for each other."""
    with one_blas_thread():
        yield


@pytest.fixture(scope="session")
def runs_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 runs of one group under the law of `THETA`, as a table whose column N is to be mapped."""
    from isoflop.inference.simulate import simulate_runs  # JAX takes a second

    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    cells = [(n, u, 1.0) for n in np.geomspace(1e3, 3e5, 5) for u in np.geomspace(2e3, 4e5, 5)]
    runs = simulate_runs({"full-40": THETA}, cells, sigma=0.003, seed=1)
    runs = runs[["group", "params", "samples", "loss"]].rename(columns={"params": "N"})
    runs.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def posterior_nc(runs_csv: Path) -> Path:
    """What `isoflop fit` makes of them, the two dearest runs kept apart."""
    path = runs_csv.with_name("posterior.nc")
    words = ("--map", "params=N", "--hold-out", "0.1", "--chains", "2", "--quiet")
    assert run("fit", str(runs_csv), "-o", str(path), *words) == 0
    return path
