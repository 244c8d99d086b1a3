import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from isoflop.forecast.allocate import best_plan, optimal
from isoflop.forecast.predict import QUANTILES, group_draws, loss_draws, quantiles
from isoflop.forecast.table import (
    ForecastRow,
    fitted_comparison,
    forecast_budget,
    forecast_point,
    held_out_comparison,
    summarise_held_out,
    to_frame,
    to_intervals,
    to_json,
    write_csv,
    write_json,
)

KEYS = [
    "group",
    "budget_flops",
    "params",
    "samples",
    "unique_samples",
    "epochs",
    "quantity",
    "q",
    "value",
    "unit",
    "extrapolation_decades",
]


def test_json_rows_have_exactly_the_promised_keys(posterior: xr.DataTree) -> None:
    rows = json.loads(to_json(forecast_budget(posterior, 1e17)))["rows"]
    assert all(list(row) == KEYS for row in rows)
    assert {row["quantity"] for row in rows} == {"loss", "params_opt", "samples_opt"}
    assert {row["q"] for row in rows} == {0.025, 0.16, 0.5, 0.84, 0.975}
    assert len(rows) == 2 * 3 * 5


def test_quantiles_are_ordered(posterior: xr.DataTree) -> None:
    frame = to_frame(forecast_budget(posterior, 1e17, unique_cap=1e6))
    assert set(frame["quantity"]) == {"loss", "params_opt", "samples_opt", "epochs_opt"}
    for _, values in frame.groupby(["group", "quantity"]):
        assert list(values["q"]) == list(QUANTILES)
        assert values["value"].is_monotonic_increasing


def test_rows_are_those_of_the_best_plan(posterior: xr.DataTree) -> None:
    rows = forecast_budget(posterior, 1e17, groups=["kinematic"])
    draws = group_draws(posterior, "kinematic")
    plan = best_plan(draws, 1e17)
    assert {row.group for row in rows} == {"kinematic"}
    assert {row.params for row in rows} == {plan.params}
    assert {row.samples for row in rows} == {plan.samples}
    own = quantiles(optimal(draws, 1e17).params)[:, 0]
    values = [row.value for row in rows if row.quantity == "params_opt"]
    np.testing.assert_allclose(values, own, rtol=1e-12)


def test_point_costs_what_the_group_says(exact: xr.DataTree) -> None:
    rows = forecast_point(exact, 1e6, unique_samples=1e7, epochs=3.0, groups=["all"])
    assert {row.budget_flops for row in rows} == {6.0 * 1e6 * 3e7}
    assert {(row.params, row.samples, row.epochs) for row in rows} == {(1e6, 3e7, 3.0)}
    median = next(row.value for row in rows if row.quantity == "loss" and row.q == 0.5)
    law = loss_draws(group_draws(exact, "all"), 1e6, unique_samples=1e7, epochs=3.0)[0, 0]
    # Ten draws scatter by 0.4 % each.
    assert median == pytest.approx(law, rel=0.01)


def test_extrapolation_is_zero_within_the_data(posterior: xr.DataTree) -> None:
    largest = group_draws(posterior, "all").largest_flops
    inside, beyond = (
        forecast_budget(posterior, c, groups=["all"]) for c in (largest, 1e2 * largest)
    )
    assert {row.extrapolation_decades for row in inside} == {0.0}
    assert {row.extrapolation_decades for row in beyond} == {2.0}


def test_units_are_stated(posterior: xr.DataTree) -> None:
    rows = forecast_budget(posterior, 1e17, unique_cap=1e6)
    assert {row.quantity: row.unit for row in rows} == {
        "loss": "nat",
        "params_opt": "",
        "samples_opt": "sample",
        "epochs_opt": "",
    }


def test_seed_fixes_the_table(posterior: xr.DataTree) -> None:
    assert forecast_budget(posterior, 1e17, seed=4) == forecast_budget(posterior, 1e17, seed=4)
    assert forecast_budget(posterior, 1e17, seed=4) != forecast_budget(posterior, 1e17, seed=5)


def test_interval_table_keeps_the_order_and_the_values(posterior: xr.DataTree) -> None:
    rows = forecast_budget(posterior, 1e17, groups=["kinematic", "all"], unique_cap=1e6)
    table = to_intervals(rows)
    order = list(dict.fromkeys((row.group, row.quantity) for row in rows))
    assert list(zip(table["group"], table["quantity"], strict=True)) == order
    first = table.iloc[0]
    found = [first[name] for name in ("low_95", "low_68", "median", "high_68", "high_95")]
    assert found == [row.value for row in rows[:5]]


@pytest.mark.parametrize(
    ("params", "unique_samples", "epochs", "message"),
    [
        (0.0, 1e6, 1.0, "params is 0, it must be finite and at least 1"),
        (1e6, float("nan"), 1.0, "unique_samples is nan"),
        (1e6, 1e6, 0.5, "epochs is 0.5, it must be finite and at least 1; samples seen are"),
    ],
)
def test_impossible_run_is_refused(
    exact: xr.DataTree, params: float, unique_samples: float, epochs: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        forecast_point(exact, params, unique_samples=unique_samples, epochs=epochs)


def test_files_hold_the_rows(posterior: xr.DataTree, tmp_path: Path) -> None:
    rows = forecast_budget(posterior, 1e17)
    write_json(rows, tmp_path / "forecast.json")
    write_csv(rows, tmp_path / "forecast.csv")
    read = json.loads((tmp_path / "forecast.json").read_text())["rows"]
    assert [ForecastRow(**row) for row in read] == rows
    table = pd.read_csv(tmp_path / "forecast.csv", keep_default_na=False)
    assert list(table.columns) == KEYS == [field.name for field in fields(ForecastRow)]
    np.testing.assert_allclose(table["value"], [row.value for row in rows], rtol=1e-15)


def test_failed_write_leaves_the_old_file_and_nothing_else(
    posterior: xr.DataTree, tmp_path: Path
) -> None:
    target = tmp_path / "forecast.json"
    target.write_text("old")
    row = forecast_budget(posterior, 1e17)[0]
    not_a_number = ForecastRow(**{**vars(row), "value": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        write_json([not_a_number], target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_held_out_runs_are_compared_with_their_prediction(posterior: xr.DataTree) -> None:
    table = held_out_comparison(posterior)
    # Predictive draws are even from 0.5 to 1.5; observed are 1.4, 0.8 and 2.0, cheapest first.
    assert list(table["run"]) == ["near", "middle", "far"]
    np.testing.assert_allclose(table["median"], 1.0)
    np.testing.assert_allclose(table["low_68"], 0.66, rtol=1e-6)
    np.testing.assert_allclose(table["high_95"], 1.475, rtol=1e-6)
    assert list(table["inside_68"]) == [False, True, False]
    assert list(table["inside_95"]) == [True, True, False]
    np.testing.assert_allclose(table["error_percent"], [100 / 1.4 - 100, 25.0, -50.0])
    assert list(table["extrapolation_decades"]) == [0.0, 1.0, 2.0]
    assert list(table["epochs"]) == [1.0, 2.0, 1.0]


def test_held_out_summary_scores_the_comparison(posterior: xr.DataTree) -> None:
    summary = summarise_held_out(held_out_comparison(posterior))
    errors = np.array([100 / 1.4 - 100, 25.0, -50.0])
    assert summary.runs == 3
    assert summary.mean_absolute_error_percent == pytest.approx(np.abs(errors).mean())
    assert summary.bias_percent == pytest.approx(errors.mean())
    assert summary.coverage_68 == pytest.approx(1 / 3)
    assert summary.coverage_95 == pytest.approx(2 / 3)
    assert summary.median_width_95_percent == pytest.approx(100 * 0.95 / 1.4, rel=1e-6)


def test_posterior_without_held_out_runs_says_so(posterior: xr.DataTree) -> None:
    kept = posterior.filter(lambda node: not node.name or "predictions" not in node.name)
    with pytest.raises(ValueError, match="no runs kept apart from its fit; fit with hold_out > 0"):
        held_out_comparison(kept)


def test_runs_of_the_fit_are_compared_with_their_replications(posterior: xr.DataTree) -> None:
    table = fitted_comparison(posterior)
    assert len(table) == 18
    assert table["error_percent"].abs().max() < 0.5
    assert table["inside_95"].all()
    width = table["high_95"] / table["low_95"] - 1.0
    np.testing.assert_allclose(width, 2 * 1.96 * 0.01, rtol=0.2)
