"""The page of the large end quotes its tables, and its runs are those that its grid asks for."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from studies.large_end.draw import draw_errors, size
from tests.forecast.legible import SMALLEST, smallest_text
from tests.studies.quoting import STUDIES, cell, page_of, rows_of

from isoflop.forecast.figures import ERROR_LABEL
from isoflop.training.config import grid
from isoflop.training.records import read_records

STUDY = STUDIES / "large_end"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(STUDY / "large_end.csv")


def row_of(runs: pd.DataFrame, name: str) -> str:
    held = [int(runs["loss"].between(runs[f"low_{s}"], runs[f"high_{s}"]).sum()) for s in (68, 95)]
    error = runs["error_percent"]
    cells = [name, len(runs), *held, f"{error.abs().mean():.1f} %", f"{error.mean():+.1f} %"]
    return f"| {' | '.join(map(str, cells))} |".replace("-", "−")


def test_the_page_scores_the_runs_by_the_rule(table: pd.DataFrame) -> None:
    page = page_of("large_end").replace("`", "").replace("full-", "full−").replace("kin-", "kin−")
    by_rule = table[table["by_rule"]]
    once = by_rule["passes"] == 1.0
    assert row_of(by_rule[once], "one pass") in page
    for group, own in by_rule[once].groupby("group"):
        assert row_of(own, f"of these {group}") in page
    assert row_of(by_rule[~once], "4 or 16 passes") in page
    held = [by_rule["loss"].between(by_rule[f"low_{s}"], by_rule[f"high_{s}"]) for s in (95, 68)]
    said = f"Of {len(by_rule)} runs with the learning rate of the sweep's rule, {held[0].sum()} lie"
    assert f"{said} inside their 95 % interval and {held[1].sum()} inside the 68 % one" in page
    missed = by_rule[~held[0]]
    assert set(missed["passes"].round()) == {4.0}
    assert set(missed["group"]) == {"full-40", "full-128"}
    errors = missed.set_index("group")["error_percent"]
    assert f"forecast {errors['full-40']:.0f} and {errors['full-128']:.0f} % too high" in page


def test_the_page_says_how_far_the_runs_go(table: pd.DataFrame) -> None:
    page = page_of("large_end")
    sweep = read_records(STUDIES / "jets" / "records")
    assert f"up to {table['decades'].max():.1f} decades beyond" in page
    assert f"{table['flops'].max() / sweep['flops'].max():.0f} times the compute" in page
    assert f"up to {table['params'].max() / sweep['params'].max():.0f} times as many" in page


def test_the_page_quotes_the_ladder_of_rates(table: pd.DataFrame) -> None:
    page = page_of("large_end")
    cells = table[(table["passes"] == 1.0) & (table["seed"] == 0)].groupby(["group", "params"])
    ladders = [own.sort_values("learning_rate") for _, own in cells if len(own) == 3]
    assert len(ladders) == 3
    for own in ladders:
        assert own["by_rule"].tolist() == [False, True, False]
        name = f"`{own['group'].iloc[0]}`, {size(own['params'].iloc[0])}".replace("M", " M")
        assert f"| {name} | {' | '.join(f'{loss:.3f}' for loss in own['loss'])} |" in page


def test_the_page_quotes_the_counts() -> None:
    page = page_of("large_end")
    counts = pd.read_csv(STUDY / "counts.csv")
    for kind, name in (("rejection", "log rejection"), ("efficiency", "logit efficiency at 1")):
        row = counts[(counts["kind"] == kind) & (counts["signal"] == "all")].iloc[0]
        shares = [f"{100 * row[held]:.0f} %" for held in ("coverage_68", "coverage_95")]
        errors = [f"{row[column]:.2f}" for column in ("mae", "counting", "bias")]
        text = " | ".join([str(row["n_test"]), *shares, *errors]).replace("-", "−")
        assert f"| {name}" in page and f"| {text} |" in page
    bias = counts[counts["kind"] == "rejection"].set_index("signal")["bias"].drop("all")
    assert (
        f"from −{-bias.min():.2f} ({bias.idxmin()}) to +{bias.max():.2f} ({bias.idxmax()})" in page
    )


def test_the_counts_are_those_of_the_runs_by_the_rule(table: pd.DataFrame) -> None:
    points = pd.read_parquet(STUDY / "records" / "working_points.parquet")
    ruled = points["run_id"].isin(table["run_id"][table["by_rule"]])
    counted = points[ruled & points["rejection"].isna()]
    tested = counted["n_background"].to_numpy(float)
    p = (counted["n_background_passed"].to_numpy(float) + 0.5) / (tested + 1.0)
    row = pd.read_csv(STUDY / "counts.csv").iloc[0]
    assert (row["kind"], row["signal"], row["n_test"]) == ("rejection", "all", len(counted))
    assert row["counting"] == pytest.approx(np.sqrt((1.0 - p) / (p * tested)).mean(), rel=1e-3)


def test_the_floors_on_the_page_are_those_of_the_fit() -> None:
    page = page_of("large_end")
    rows = rows_of("inputs")
    for group in ("full-128", "full-40"):
        assert cell(rows[group, "loss_inf", 0.0], ".3f").partition(",")[0][:-1] in page


def test_the_page_quotes_the_fits_with_these_runs(table: pd.DataFrame) -> None:
    page = page_of("large_end")
    fits = pd.read_csv(STUDY / "together.csv")
    trusted = fits.groupby("runs")["trusted"].agg(["all", "any"])
    assert not trusted.loc["by the rule", "any"] and trusted.loc["tuned", "all"]
    tuned = fits[fits["runs"] == "tuned"]
    assert set(tuned["added"]) == {16}
    rows = {(row["quantity"], row["group"]): row for row in tuned.to_dict("records")}
    four = table[(table["passes"] == 4.0)].set_index("group")
    inputs, groups = rows_of("inputs"), ("full-128", "full-40")
    before = [cell(inputs[group, "loss_inf", 0.0], ".3f") for group in groups]
    before += [cell(four.loc[group].to_dict(), ".3f") for group in groups]
    after = [cell(rows[name, g], ".3f") for name in ("loss_inf", "repeated") for g in groups]
    assert f"| the sweep alone | {' | '.join(before)} |" in page
    assert f"| with 16 tuned runs | {' | '.join(after)} |" in page
    seen = " | ".join(f"{loss:.3f}" for loss in four["loss"][list(groups)])
    assert f"| observed | | | {seen} |" in page


def test_the_grid_asks_for_the_committed_runs(table: pd.DataFrame) -> None:
    asked = {run.run_id for run in grid(STUDY / "grid.toml").runs}
    assert asked == set(read_records(STUDY / "records")["run_id"]) == set(table["run_id"])


def test_the_figure_has_the_errors_of_the_table_in_text_that_can_be_read(
    table: pd.DataFrame,
) -> None:
    figure = Figure(figsize=(5.0, 6.4))
    ax = figure.subplots()
    draw_errors(ax, table[table["by_rule"]])
    assert ax.get_xlabel() == ERROR_LABEL
    drawn = [np.asarray(line.get_xdata(), float) for line in ax.lines]
    shown = [float(x[0]) for x in drawn if len(x) == 1]
    expected = table[table["by_rule"]]["error_percent"]
    assert sorted(shown) == pytest.approx(sorted(expected), abs=0.1)
    assert smallest_text(figure) >= SMALLEST
