"""The page of the ladder study quotes its table, and the table holds the runs that it names."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from studies.ladder.draw import figure
from tests.forecast.legible import SMALLEST, smallest_text
from tests.studies.quoting import page_of

from isoflop.forecast.figures import ERROR_LABEL

STUDY = Path(__file__).parents[2] / "studies" / "ladder"
RUNS = Path(__file__).parents[3] / "shared" / "runs" / "olmo_ladder.csv"
NAMES = {
    "3B-0.5xC": "3B-0.5xC",
    "3B-1xC": "3B-1xC",
    "3B-10xC": "3B-10xC",
    "peteish7_eval_anneal": "7B-4T",
    "peteish13_eval_final": "13B-5T",
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(STUDY / "ladder.csv")


def test_the_page_quotes_the_table(table: pd.DataFrame) -> None:
    page = page_of(STUDY.name)
    by_run: dict[tuple[str, str], dict[Any, Any]] = {
        (row["method"], row["run_id"]): row for row in table.to_dict("records")
    }
    for run, name in NAMES.items():
        ours, theirs = (by_run[(method, run)] for method in ("isoflop", "approach 3"))
        decades = f"{ours['decades']:.1f}" if ours["decades"] else "0"
        cells = [name, decades, f"{ours['loss']:.3f}"]
        for one in (ours, theirs):
            cells.append(f"{one['median']:.3f} ({one['low_95']:.3f}–{one['high_95']:.3f})")
            cells.append(f"{one['error_percent']:+.2f} %".replace("-", "−"))
        assert f"| {' | '.join(cells)} |" in page
    for run in ("peteish7_eval_anneal", "peteish13_eval_final"):
        row = by_run[("isoflop", run)]
        assert f"{row['low_68']:.3f}–{row['high_68']:.3f}" in page


def test_the_scores_on_the_page_are_those_of_the_table(table: pd.DataFrame) -> None:
    page = page_of(STUDY.name)
    apart = table[~table["fitted"]]
    error = apart.groupby("method")["error_percent"].apply(lambda e: np.abs(e).mean())
    assert f"{error['isoflop']:.2f} % (isoflop) and {error['approach 3']:.2f} %" in page
    held = {
        share: (apart["loss"].between(apart[f"low_{share}"], apart[f"high_{share}"]))
        .groupby(apart["method"])
        .sum()
        for share in (95, 68)
    }
    said = (
        f"their 95 % intervals hold {held[95]['isoflop']} and {held[95]['approach 3']} of the "
        f"eight, their 68 % intervals {held[68]['isoflop']} and {held[68]['approach 3']}."
    )
    assert said in page


def test_the_figure_has_the_errors_of_the_table_in_text_that_can_be_read(
    table: pd.DataFrame,
) -> None:
    drawn = figure(table)
    _, errors = drawn.axes
    assert errors.get_xlabel() == ERROR_LABEL
    shown = {line.get_label(): np.asarray(line.get_xdata(), float) for line in errors.lines}
    for method, own in table[~table["fitted"]].groupby("method"):
        np.testing.assert_allclose(
            sorted(shown[method]), sorted(own["error_percent"]), rtol=0.0, atol=1e-3
        )
    assert smallest_text(drawn) >= SMALLEST


def test_the_refits_held_what_the_page_says() -> None:
    page = page_of(STUDY.name)
    law = pd.read_csv(STUDY / "parameters.csv").set_index(["method", "parameter"])["median"]
    assert f"held {law['isoflop', 'refits_held_95']:.0%} of".replace("%", " %") in page


def test_only_the_runs_up_to_1_3_b_were_fitted(table: pd.DataFrame) -> None:
    fitted = table[table["fitted"]]
    assert fitted["params"].max() < 1.3e9
    assert set(fitted["role"]) == {"ladder"}
    assert (fitted.groupby("method").size() == 24).all()


def test_the_observed_losses_are_those_of_the_public_table(table: pd.DataFrame) -> None:
    if not RUNS.is_file():
        pytest.skip(f"no {RUNS}: the public run tables are not part of the repository")
    public = pd.read_csv(RUNS).set_index("run_id")["loss"]
    assert table["loss"].to_numpy() == pytest.approx(public[table["run_id"]].to_numpy(), rel=1e-5)


def test_without_the_public_table_the_study_says_that_it_is_skipped(tmp_path: Path) -> None:
    outputs = ["--table", str(tmp_path / "a.csv"), "--parameters", str(tmp_path / "b.csv")]
    words = [sys.executable, str(STUDY / "predict.py"), str(tmp_path / "none.csv"), *outputs]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("skipped: no ")
    assert not list(tmp_path.iterdir())
