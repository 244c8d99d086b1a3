"""Rejection on jets that no run was counted on: runs that share their jets share an error."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from isoflop.forecast.rejection import link_draws
from isoflop.inference.link import fit_link, link_tables
from isoflop.inference.sampler import Lengths
from isoflop.inference.simulate import simulate_runs, simulate_working_points

CENTRE = 1.0
SIGNALS = [f"signal-{i:02d}" for i in range(16)]
LAW = {"loss_inf": 0.5, "log_A": 2.8, "log_B": 3.6, "alpha": 0.42, "beta": 0.37, "omega": 6.0}
CELLS = [(n, u, 1.0) for n in np.geomspace(1e3, 3e5, 6) for u in np.geomspace(2e3, 4e5, 8)]


def _truth(kind: str) -> dict[str, dict[str, float]]:
    """Links of which 5 to 100 of 2000 background jets pass, or about half of the signal."""
    rng = np.random.default_rng(8)
    low, high = {"rejection": (3.0, 5.0), "efficiency": (-1.0, 1.0)}[kind]
    slope = rng.normal(2.5, 0.4, len(SIGNALS))
    shared = {"scatter": 0.1, "scatter_slope": 0.4}
    levels = rng.uniform(low, high, len(SIGNALS))
    each = zip(SIGNALS, levels, slope, strict=True)
    return {s: {"level": a, "slope": b, **shared} for s, a, b in each}


def _tree(runs: pd.DataFrame, kind: str) -> xr.DataTree:
    at = {"rejection": 0.5, "efficiency": 100.0}[kind]
    points = simulate_working_points(
        runs, _truth(kind), kind=kind, at=at, centre=CENTRE, tested=2000, same_jets=True, seed=2
    )
    link = fit_link(link_tables(points, runs)[kind], kind, Lengths(2, 200, 200), seed=3)
    return xr.DataTree.from_dict({f"link/{kind}": link})


@pytest.mark.slow
def test_the_true_rejection_lies_in_its_interval_though_all_runs_share_their_jets() -> None:
    runs = simulate_runs({"full": LAW}, CELLS, sigma=0.01, seed=4)
    tree = _tree(runs, "rejection")
    u: dict[str, list[np.ndarray]] = {"same jets": [], "new jets": []}
    for signal, truth in _truth("rejection").items():
        link = link_draws(tree, "full", signal, kind="rejection")
        loss = np.array([link.lowest_loss - 0.05, link.lowest_loss + 0.1])
        exact = truth["level"] - truth["slope"] * (loss - CENTRE)
        each = np.broadcast_to(loss, (len(link.level), 2))
        mean = link.mean(each)
        same = mean - exact
        # The simulation sets its cut without an error.
        other = same + link.other_jets(mean, seed=1)
        for name, one in (("same jets", same), ("new jets", other)):
            u[name].append((one < 0.0).mean(axis=0))
    pit = {name: np.ravel(one) for name, one in u.items()}
    held = {name: np.abs(one - 0.5) for name, one in pit.items()}
    assert np.mean(held["same jets"] < 0.34) < 0.5  # of 32 intervals
    assert 0.5 < np.mean(held["new jets"] < 0.34) < 0.95
    assert np.mean(held["new jets"] < 0.475) > 0.85
