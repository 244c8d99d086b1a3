"""The link from loss to working points: likelihood, recovery, coverage, and what it refuses."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import integrate, stats

from isoflop.inference import rates
from isoflop.inference.link import (
    fit_link,
    link_groups,
    link_tables,
    point_data,
    predicted_counts,
    predicted_u,
)
from isoflop.inference.link_backtest import backtest_link, count_scores
from isoflop.inference.link_model import PointData, log_marginal
from isoflop.inference.sampler import Lengths
from isoflop.inference.simulate import simulate_runs, simulate_working_points

LAW = {"loss_inf": 0.5, "log_A": 2.8, "log_B": 3.6, "alpha": 0.42, "beta": 0.37, "omega": 6.0}
CELLS = [(n, u, 1.0) for n in np.geomspace(1e3, 3e5, 6) for u in np.geomspace(2e3, 4e5, 8)]
CENTRE = 1.0
KNOTS = [0.95]
"""Where the slope changes, in nat."""
SIGNALS = ("Hbb", "Hcc", "Hgg", "Tbqq", "Wqq", "Zqq")
SHORT = Lengths(chains=2, draws=300, warmup=200)


def _truth(kind: str) -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(3)
    level = {"rejection": 4.5, "efficiency": 0.5}[kind]
    return {
        signal: {
            "level": level + rng.normal(0.0, 0.8),
            "slope": rng.normal(2.5, 0.4) * np.array([1.0, np.exp(rng.normal(0.0, 0.3))]),
            "scatter": 0.15 * np.exp(rng.normal(0.0, 0.2)),
            "scatter_slope": 0.4,
        }
        for signal in SIGNALS
    }


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    """96 runs of two groups that share one link: offsets of 0 are there to be found."""
    laws = {"full": LAW, "kin": LAW | {"loss_inf": 0.6}}
    return simulate_runs(laws, CELLS, sigma=0.01, seed=4)


def _points(runs: pd.DataFrame, kind: str, *, seed: int = 5) -> pd.DataFrame:
    at = {"rejection": 0.5, "efficiency": 100.0}[kind]
    return simulate_working_points(
        runs, _truth(kind), kind=kind, at=at, centre=CENTRE, knots=KNOTS, tested=5000, seed=seed
    )


@pytest.fixture(scope="module", params=["rejection", "efficiency"])
def fitted(request: pytest.FixtureRequest, runs: pd.DataFrame) -> xr.Dataset:
    kind = str(request.param)
    return fit_link(link_tables(_points(runs, kind), runs)[kind], kind, SHORT, seed=6)


def _rows(passed: int, tested: int, kind: str) -> PointData:
    table = pd.DataFrame(
        {"loss": [1.0], "passed": [passed], "tested": [tested], "group": ["g"], "signal": ["s"]}
    )
    return point_data(table, kind)[0]


@pytest.mark.parametrize("kind", ["rejection", "efficiency"])
@pytest.mark.parametrize("passed", [0, 3, 40, 2500])
@pytest.mark.parametrize("scatter", [0.05, 0.3])
def test_scatter_is_integrated_out_as_quadrature_does(
    kind: str, passed: int, scatter: float
) -> None:
    data = _rows(passed, 5000, kind)
    mean = float(data.near[0]) + scatter

    def density(u: float) -> float:
        passes, _ = rates.log_passing(np.array(u), kind)
        count = stats.binom.pmf(passed, 5000, np.exp(float(passes)))
        return float(count * stats.norm.pdf(u, mean, scatter))

    exact, _ = integrate.quad(density, mean - 8 * scatter, mean + 8 * scatter, limit=400)
    coefficient = stats.binom.logpmf(passed, 5000, 0.5) - 5000 * np.log(0.5)
    found = log_marginal(data, np.array([mean]), np.array([scatter]), kind)
    assert float(found[0]) + coefficient == pytest.approx(np.log(exact), abs=2e-3)


def test_a_rejection_with_none_passed_is_a_lower_limit() -> None:
    data = _rows(0, 5000, "rejection")
    means = np.log([10.0, 100.0, 1e3, 1e4, 1e5, 1e6])
    log_p = [
        float(log_marginal(data, np.array([m]), np.array([0.1]), "rejection")[0]) for m in means
    ]
    assert np.isfinite(log_p).all()
    assert (np.diff(log_p) > 0).all()  # the higher the better, without end
    assert log_p[-1] == pytest.approx(0.0, abs=0.01)  # and flat where none was to be expected


def test_no_tagger_rejects_less_than_everything() -> None:
    u = np.array([-50.0, -1.0, 0.0, 1.0, 8.0])
    log_r = rates.log_rejection(u)
    assert (log_r >= 0.0).all()
    assert log_r[-1] == pytest.approx(8.0)


@pytest.mark.slow
def test_known_links_are_recovered(fitted: xr.Dataset) -> None:
    """At losses across the runs; their slope changes where the model's does not."""
    loss = np.linspace(0.75, 1.5, 4)
    inside, errors = [], []
    for signal, truth in _truth(str(fitted.attrs["kind"])).items():
        knots = np.array(KNOTS) - CENTRE
        exact = rates.transformed(loss - CENTRE, truth["level"], truth["slope"], knots)
        for group in fitted["group"].values:
            u = _along(fitted.sel(group=group, signal=signal), loss)
            low, middle, high = np.quantile(u, (0.025, 0.5, 0.975), axis=0)
            inside += list((low <= exact) & (exact <= high))
            errors += list(middle - exact)
    assert np.mean(inside) >= 0.85  # 48 intervals of 95 %
    assert np.abs(errors).max() < 0.4
    usual = 0.15 * np.exp(0.4 * (float(fitted["centre"]) - CENTRE))
    assert float(fitted["scatter"].median()) == pytest.approx(usual, rel=0.25)


def _along(cell: xr.Dataset, loss: np.ndarray) -> np.ndarray:
    """u of every draw of one link, shape (draws, losses)."""
    flat = cell[["level", "slope"]].stack(all=("chain", "draw")).transpose("all", ...)
    knots = cell["knots"].values - float(cell["centre"])
    level, slope = flat["level"].values[:, None], flat["slope"].values[:, None, :]
    return np.asarray(rates.transformed(loss - float(cell["centre"]), level, slope, knots))


@pytest.mark.slow
def test_every_draw_falls_as_the_loss_rises_and_errs_more_the_farther_below(
    fitted: xr.Dataset,
) -> None:
    loss = np.linspace(0.05, 3.0, 60)
    lowest = float(fitted["knots"][-1])
    assert lowest == pytest.approx(float(fitted["lowest_loss"].min()))
    for signal in SIGNALS:
        u = _along(fitted.isel(group=0).sel(signal=signal), loss)
        assert (np.diff(u, axis=1) < 0.0).all()
        rise = _along(fitted.isel(group=0).sel(signal=signal), lowest - np.array([0.0, 0.1, 0.3]))
        widths = np.diff(np.quantile(rise - rise[:, :1], (0.16, 0.84), axis=0), axis=0)[0]
        assert widths[0] == 0.0
        assert 0.0 < 2.0 * widths[1] < widths[2]


def test_the_link_is_the_integral_of_its_slope() -> None:
    slope, knots = np.array([2.0, 4.0, 1.0]), np.array([0.3, -0.2])

    def steepness(x: float) -> float:
        return float(slope[int(np.searchsorted(-knots, -x))])

    for x in (-1.0, -0.1, 0.2, 0.9):
        ends = [one for one in knots if min(x, 0.0) < one < max(x, 0.0)] or None
        area, _ = integrate.quad(steepness, 0.0, x, points=ends)
        assert rates.transformed(x, 5.0, slope, knots) == pytest.approx(5.0 - area)


@pytest.mark.parametrize("kind", ["rejection", "efficiency"])
def test_the_error_of_a_count_is_that_of_the_binomial(kind: str) -> None:
    u = np.array([0.5, 2.0, 4.0])
    passes, _ = rates.log_passing(u, kind)
    counts = stats.binom(20000, np.exp(passes)).rvs((4000, 3), random_state=1)
    p = counts / 20000
    seen = np.std(np.log(p) if kind == "rejection" else np.log(p / (1.0 - p)), axis=0)
    np.testing.assert_allclose(rates.counting_error(u, 20000, kind), seen, rtol=0.05)
    everything = np.linspace(0.0, 20.0, 4001)
    error = rates.counting_error(everything, 200.0, kind)
    assert (np.diff(everything - 5.0 * error) > 0.0).all()  # and rises with u
    assert (np.diff(everything + 5.0 * error) > 0.0).all()
    assert error.max() <= 1.0


@pytest.mark.slow
def test_counts_of_new_runs_fall_into_their_intervals(
    fitted: xr.Dataset, runs: pd.DataFrame
) -> None:
    kind = str(fitted.attrs["kind"])
    fresh = link_tables(_points(runs, kind, seed=77), runs)[kind]
    pit = count_scores(fitted, fresh)["pit"]
    assert pit.between(0.16, 0.84).mean() == pytest.approx(0.68, abs=0.07)
    assert pit.between(0.025, 0.975).mean() == pytest.approx(0.95, abs=0.03)
    assert stats.kstest(pit, "uniform").pvalue > 1e-3


@pytest.mark.slow
def test_the_chains_of_a_link_are_judged(fitted: xr.Dataset) -> None:
    """Short chains are told to be longer, and nothing else is wrong with them."""
    assert all("sample size" in fault or "R-hat" in fault for fault in _faults(fitted))
    assert all(fault.startswith(f"link to the {fitted.attrs['kind']}") for fault in _faults(fitted))


def _faults(link: xr.Dataset) -> list[str]:
    return str(link.attrs["faults"]).splitlines()


@pytest.mark.slow
def test_a_link_has_the_draws_of_the_law(runs: pd.DataFrame) -> None:
    parts = link_groups(_points(runs, "efficiency"), runs, SHORT, shape=(1, 600), seed=6)
    assert set(parts) == {"link/efficiency", "link/efficiency_counts"}
    link = parts["link/efficiency"]
    assert dict(link["level"].sizes) == {"chain": 1, "draw": 600, "group": 2, "signal": 6}
    assert link["slope"].dims == ("chain", "draw", "group", "signal", "segment")
    assert link["slope"].attrs["units"] == "nat^-1"
    assert set(link["at"].values) == {100.0}
    assert parts["link/efficiency_counts"].sizes["row"] == 96 * 6


@pytest.mark.slow
def test_the_loss_of_each_draw_is_taken(fitted: xr.Dataset, runs: pd.DataFrame) -> None:
    kind = str(fitted.attrs["kind"])
    table = link_tables(_points(runs, kind), runs)[kind].head(3)
    quiet = fitted.assign(scatter=0.0 * fitted["scatter"])
    loss = np.linspace(0.8, 1.2, 600)[:, None] * np.ones(3)
    u = predicted_u(quiet, table, loss=loss)
    slope = np.polyfit(loss[:, 0], u[:, 0], 1)[0]
    assert slope < -1.0
    assert predicted_counts(quiet, table, loss=loss).shape == (600, 3)


@pytest.mark.slow
def test_hidden_runs_are_predicted(runs: pd.DataFrame) -> None:
    own = runs[runs["group"] == "full"]
    rows = backtest_link(own, _points(own, "rejection"), law="additive", lengths=SHORT)
    assert {row.cut for row in rows} == {"dearest 10%", "factor 10"}
    assert {row.signal for row in rows} == {"all", *SIGNALS}
    known, forecast = (
        next(row for row in rows if (row.cut, row.signal, row.given) == ("factor 10", "all", given))
        for given in ("true loss", "forecast loss")
    )
    assert known.n_test == 6 * (48 - known.n_train)
    assert known.coverage_95 >= 0.88  # of 42 counts
    assert known.mae < 2.0 * known.counting
    assert forecast.n_test == known.n_test
    assert forecast.coverage_95 >= 0.7  # runs err together, in their loss


def test_several_working_points_of_a_signal_are_told_apart(runs: pd.DataFrame) -> None:
    points = _points(runs, "rejection")
    more = points[points["signal"] == "Hbb"].assign(efficiency=0.7)
    table = link_tables(pd.concat([points, more]), runs)["rejection"]
    assert {"Hbb@0.5", "Hbb@0.7", "Hcc"} <= set(table["signal"])


def test_only_runs_of_the_fit_with_a_loss_count(runs: pd.DataFrame) -> None:
    points = _points(runs, "rejection")
    few = runs.head(10).copy()
    few.loc[few.index[0], "loss"] = np.nan
    table = link_tables(points, few)["rejection"]
    assert set(table["run_id"]) == set(few["run_id"].iloc[1:])


def test_impossible_counts_are_refused(runs: pd.DataFrame) -> None:
    points = _points(runs, "rejection")
    points.loc[0, "n_background_passed"] = 6000
    with pytest.raises(ValueError, match=r"1 row\(s\) with impossible counts, .*6000 of n_backgr"):
        link_tables(points, runs)


def test_working_points_of_other_runs_are_refused(runs: pd.DataFrame) -> None:
    points = _points(runs, "rejection").assign(run_id="other")
    with pytest.raises(ValueError, match=r"no working point belongs to a run .*--no-link"):
        link_tables(points, runs)
