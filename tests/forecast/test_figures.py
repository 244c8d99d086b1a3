import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection, LineCollection, PathCollection
from matplotlib.figure import Figure
from tests.forecast.legible import SMALLEST, smallest_text

from isoflop.forecast.allocate import best_plan, optimal
from isoflop.forecast.check_figures import (
    backtest_figure,
    check_figure,
    held_out_figure,
    residual_axes,
)
from isoflop.forecast.fans import ForecastCurves, OwnRun, best_group, forecast_curves
from isoflop.forecast.figures import ERROR_LABEL, save_figure
from isoflop.forecast.forecast_figures import forecast_axes, forecast_figure, isoflop_axes
from isoflop.forecast.predict import group_draws, predictive_draws, quantiles
from isoflop.forecast.table import fitted_comparison, held_out_comparison


@pytest.fixture(scope="module")
def curves(posterior: xr.DataTree) -> ForecastCurves:
    return forecast_curves(posterior, [1e18])


def test_fan_is_the_forecast_of_the_table(posterior: xr.DataTree, curves: ForecastCurves) -> None:
    fan = curves.fans[1]
    assert fan.group == "kinematic"
    assert fan.flops[-1] == pytest.approx(1e18)
    draws = group_draws(posterior, "kinematic")
    plan = best_plan(draws, fan.flops[-1])
    loss = predictive_draws(draws, plan.params, unique_samples=plan.samples, seed=0)
    np.testing.assert_allclose(fan.loss[:, -1], quantiles(loss)[:, 0], rtol=1e-6)
    assert (np.diff(fan.loss, axis=0) > 0).all()


def test_isoflop_minimum_is_the_optimum(posterior: xr.DataTree, curves: ForecastCurves) -> None:
    line = curves.isoflops[-1]
    assert line.flops == 1e18
    assert line.extrapolated
    assert not curves.isoflops[0].extrapolated
    best = np.median(optimal(group_draws(posterior, "all"), 1e18).params)
    assert line.best_params[2] == pytest.approx(best)
    assert line.best_loss == pytest.approx(line.loss[2].min(), rel=1e-3)


def test_isoflop_group_must_be_shown(posterior: xr.DataTree) -> None:
    with pytest.raises(ValueError, match="'all', which is not among the groups shown: kinematic"):
        forecast_curves(posterior, [1e18], groups=["kinematic"], iso_group="all")


def test_curves_hold_fitted_and_held_out_runs(curves: ForecastCurves) -> None:
    found = {(points.group, points.held_out): len(points.loss) for points in curves.runs}
    assert found == {("all", False): 9, ("kinematic", False): 9, ("all", True): 3}


def test_forecast_axes_show_runs_fans_budget_and_extrapolation(curves: ForecastCurves) -> None:
    ax = forecast_axes(curves)
    kinds = [type(artist) for artist in ax.collections]
    assert kinds.count(PathCollection) == len(curves.runs)
    assert kinds.count(FillBetweenPolyCollection) == 2 * len(curves.fans)
    assert [text.get_text() for text in ax.texts] == ["budget $10^{18}$", "extrapolated"]
    legend = ax.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["all", "kinematic", "held out", "68 %", "95 %"]
    assert ax.get_xlabel() == "training compute $C$ [FLOP]"
    assert ax.get_ylabel() == "validation loss $L$ [nat]"
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_a_run_off_the_fan_is_marked_in_both_panels_with_its_interval(
    curves: ForecastCurves,
) -> None:
    loss = np.array([0.7, 0.8, 0.9, 1.0, 1.2])
    own = replace(curves, own=(OwnRun(curves.iso_group, 1e18, 3e9, loss),))
    for ax, x in ((forecast_axes(own), 1e18), (isoflop_axes(own), 3e9)):
        (square,) = [line for line in ax.lines if line.get_marker() == "s"]
        assert np.asarray(square.get_xydata()).tolist() == [[x, 0.9]]
        drawn = [np.asarray(line.get_xydata()).tolist() for line in ax.lines]
        assert [[x, 0.7], [x, 1.2]] in drawn and [[x, 0.8], [x, 1.0]] in drawn
        legend = ax.get_legend()
        assert legend is not None and legend.get_texts()[-1].get_text() == "the run asked for"


def test_budget_within_the_data_marks_no_extrapolation(posterior: xr.DataTree) -> None:
    inside = forecast_curves(posterior, [1e12], groups=["kinematic"])
    ax = forecast_axes(inside)
    assert [text.get_text() for text in ax.texts] == ["budget $10^{12}$"]


def test_isoflop_axes_end_above_the_highest_run(curves: ForecastCurves) -> None:
    low, top = isoflop_axes(curves).get_ylim()
    losses = [points.loss for points in curves.runs if points.group == curves.iso_group]
    highest = max(loss.max() for loss in losses)
    assert highest < top < 1.3 * highest
    assert low < min(line.best_loss for line in curves.isoflops)


def test_isoflop_axes_name_every_curve_below_where_no_run_is_hidden(curves: ForecastCurves) -> None:
    ax = isoflop_axes(curves)
    legend = ax.get_legend()
    assert legend is not None
    lines = [text.get_text() for text in legend.get_texts() if "FLOP" in text.get_text()]
    assert len(lines) == len(curves.isoflops)
    assert lines[-1] == "$10^{18}$ FLOP"
    assert ax.get_xlabel() == "parameters $N$"
    assert not ax.texts
    figure = ax.figure
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    assert legend.get_window_extent().y1 < ax.get_window_extent().y0


def test_the_group_of_the_lowest_forecast_is_shown_first(posterior: xr.DataTree) -> None:
    assert best_group(posterior, 1e18, ["kinematic", "all"]) == "all"
    assert forecast_curves(posterior, [1e18], groups=["kinematic", "all"]).iso_group == "all"


def test_many_groups_keep_one_band_and_a_legend_below(curves: ForecastCurves) -> None:
    names = [f"group-{i}" for i in range(9)]
    many = replace(
        curves,
        fans=tuple(replace(curves.fans[0], group=name) for name in names),
        runs=tuple(replace(curves.runs[0], group=name) for name in names),
        iso_group=names[3],
    )
    ax = forecast_axes(many)
    assert sum(isinstance(artist, FillBetweenPolyCollection) for artist in ax.collections) == 2
    legend = ax.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == [*names, "68 % of group-3", "95 % of group-3"]


def test_figure_is_written_without_pyplot(
    curves: ForecastCurves, posterior: xr.DataTree, tmp_path: Path
) -> None:
    figure = forecast_figure(curves)
    assert len(figure.axes) == 2
    figure.savefig(tmp_path / "forecast.png")
    held = held_out_figure(held_out_comparison(posterior)).figure
    assert isinstance(held, Figure)
    held.savefig(tmp_path / "held_out.pdf")
    assert len(list(tmp_path.iterdir())) == 2
    assert "matplotlib.pyplot" not in sys.modules


def test_figures_draw_on_the_axes_they_are_given(
    curves: ForecastCurves, posterior: xr.DataTree
) -> None:
    axes = Figure().subplots(1, 3)
    assert forecast_axes(curves, axes[0]) is axes[0]
    assert isoflop_axes(curves, axes[1]) is axes[1]
    assert held_out_figure(held_out_comparison(posterior), axes[2]) is axes[2]


def test_held_out_figure_has_a_row_a_run(posterior: xr.DataTree) -> None:
    table = held_out_comparison(posterior)
    ax = held_out_figure(table)
    assert len(ax.get_yticks()) == 3
    markers = [line for line in ax.lines if line.get_marker() != "None"]
    shown = np.array([line.get_xdata() for line in markers], float).ravel()
    np.testing.assert_allclose(shown, table["error_percent"])
    assert ax.get_xlabel() == ERROR_LABEL


def test_residuals_have_the_sign_of_the_table_and_reach_zero_where_the_run_is_held(
    posterior: xr.DataTree,
) -> None:
    fitted, held = fitted_comparison(posterior), held_out_comparison(posterior)
    ax = residual_axes(fitted, held)
    shown = sum(
        len(np.asarray(line.get_xdata())) for line in ax.lines if line.get_marker() != "None"
    )
    assert shown == len(fitted) + len(held)
    assert ax.get_ylabel() == ERROR_LABEL
    ours = [
        line
        for line in ax.lines
        if line.get_marker() == "o" and line.get_markerfacecolor() == "white"
    ]
    np.testing.assert_allclose(np.asarray(ours[0].get_ydata()), held["error_percent"])
    ends = np.array([np.asarray(path.vertices)[:, 1] for path in _bars(ax)[-1].get_paths()])
    assert ((ends.min(axis=1) <= 0.0) & (ends.max(axis=1) >= 0.0)).tolist() == [
        bool(inside) for inside in held["inside_95"]
    ]
    assert check_figure(fitted).axes[0].get_xscale() == "log"
    assert len(check_figure(fitted, held).axes) == 2


def _bars(ax: Axes) -> list[LineCollection]:
    return [one for one in ax.collections if isinstance(one, LineCollection) and one.get_paths()]


def test_no_text_of_a_figure_is_too_small_to_read_on_its_page(
    curves: ForecastCurves, posterior: xr.DataTree
) -> None:
    fitted, held = fitted_comparison(posterior), held_out_comparison(posterior)
    for figure in (forecast_figure(curves), check_figure(fitted, held)):
        assert smallest_text(figure) >= SMALLEST


def test_a_figure_is_saved_whole_or_refused_by_its_suffix(tmp_path: Path) -> None:
    save_figure(Figure(), tmp_path / "new" / "empty.svg")
    assert (tmp_path / "new" / "empty.svg").stat().st_size > 0
    with pytest.raises(
        ValueError, match=r"cannot write .*a\.docx; its name must end in \.png, \.pdf"
    ):
        save_figure(Figure(), tmp_path / "a.docx")
    assert not (tmp_path / "a.docx").exists()


def test_back_tests_are_drawn_by_factor_or_by_group() -> None:
    rows = pd.DataFrame(
        [
            {"group": group, "method": method, "holdout": factor, "crps": factor}
            | {"coverage_68": 0.5, "coverage_95": 1.0}
            for group in ("small", "large")
            for method in ("isoflop", "approach3")
            for factor in (3.0, 10.0)
        ]
    )
    crps, held = backtest_figure(rows).axes
    assert [tick.get_text() for tick in crps.get_xticklabels()] == ["3", "10"]
    np.testing.assert_allclose(np.asarray(crps.lines[0].get_xydata()), [[3, 3], [10, 10]])
    crps, held = backtest_figure(rows[rows["holdout"] == 10.0]).axes
    for ax in (crps, held):
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["small", "large"]
        assert ax.get_xlabel().endswith("over 10")
    aside = [float(np.asarray(line.get_xdata())[0]) for line in crps.lines]
    assert aside[0] < 0.0 < aside[1]


@pytest.mark.parametrize("factors", [[10.0], [3.0, 10.0, 30.0]])
def test_the_two_shares_of_a_back_test_are_both_seen_where_both_are_all(
    factors: list[float],
) -> None:
    shares = {"coverage_68": 1.0, "coverage_95": 1.0}
    rows = [{"group": "all", "method": "isoflop", "holdout": f, "crps": 1.0} for f in factors]
    figure = backtest_figure(pd.DataFrame([row | shares for row in rows]))
    figure.draw_without_rendering()
    held = figure.axes[1]
    wide, open_ = (
        line.get_transform().transform(np.asarray(line.get_xydata())) for line in held.lines[:2]
    )
    size = float(held.lines[0].get_markersize()) * figure.dpi / 72.0
    assert (open_[:, 0] - wide[:, 0] > size).all()
    assert held.get_window_extent().x0 < wide[0, 0] < open_[-1, 0] < held.get_window_extent().x1
    if len(factors) > 1:  # the offsets do not stretch the axis
        low, high = held.get_xlim()
        assert 2.0 < low < 3.0 and 30.0 < high < 45.0
