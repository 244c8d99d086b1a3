"""The floors of the known-floor study are those of its data, and its page quotes its tables."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from studies.known_floor import train as study
from studies.known_floor.train import Data, Run, Teacher
from tests.studies.quoting import STUDIES, Row, cell, joined, page_of
from torch import Tensor

from isoflop.training.records import read_records

STUDY = Path(__file__).parents[2] / "studies" / "known_floor"
GROUPS = [*study.NOISE, study.CLASSIFICATION]


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher()


@pytest.fixture(scope="module")
def test_data(teacher: Teacher) -> Data:
    return study.data(teacher, 100_000, seed=5)


def loss_by_sample(predicted: Tensor, shown: Tensor) -> Tensor:
    """Squared error or cross-entropy [nat] on labels as a student is shown them, by torch."""
    if shown.dtype == torch.int64:
        return torch.nn.functional.cross_entropy(predicted, shown, reduction="none")
    return torch.nn.functional.mse_loss(predicted[:, 0], shown, reduction="none")


def within_error(values: Tensor, expected: float) -> bool:
    error = float(values.std()) / math.sqrt(len(values))
    return abs(float(values.mean()) - expected) <= 4.0 * error


@pytest.mark.parametrize("group", GROUPS)
def test_the_floor_is_the_loss_of_the_teacher_on_its_own_labels(
    group: str, test_data: Data
) -> None:
    shown = study.labels(group, test_data.y, torch.Generator().manual_seed(6))
    known = test_data.y[:, :1] if group in study.NOISE else study.SHARPNESS * test_data.y[:, 1:]
    assert within_error(loss_by_sample(known, shown), study.floor(group, test_data.y))
    assert float(study.excess(group, known, test_data.y).abs().max()) < 1e-5


@pytest.mark.parametrize("group", GROUPS)
def test_a_loss_on_labels_is_the_floor_and_the_excess(group: str, test_data: Data) -> None:
    run = Run(group, width=10, samples=2048, unique_samples=1024, seed=0)
    student = study.train([run], Data(test_data.x[:4096], test_data.y[:4096]))
    with torch.no_grad():
        predicted = student(test_data.x[None])[0]
    shown = study.labels(group, test_data.y, torch.Generator().manual_seed(7))
    ((above, stderr),) = study.judge([run], student, test_data)
    assert within_error(loss_by_sample(predicted, shown), study.floor(group, test_data.y) + above)
    assert 0.05 < above < 0.6
    assert 0.0 < stderr < 0.02 * above


def test_a_run_trains_alike_again_and_beside_others(test_data: Data) -> None:
    runs = [Run("noise-0.25", 10, 2048, 512, 0), Run("noise-0", 10, 2048, 512, 1)]
    pool = Data(test_data.x[:4096], test_data.y[:4096])
    first, again, alone = (study.train(some, pool) for some in (runs, runs, runs[1:]))
    for one, two, apart in zip(first.parameters, again.parameters, alone.parameters, strict=True):
        assert torch.equal(one, two)
        torch.testing.assert_close(one[1:], apart, rtol=1e-2, atol=1e-3)


def test_the_teacher_has_unit_outputs(test_data: Data) -> None:
    torch.testing.assert_close(test_data.y.mean(0), torch.zeros(5), rtol=0.0, atol=0.02)
    torch.testing.assert_close(test_data.y.std(0), torch.ones(5), rtol=0.02, atol=0.0)


def test_the_committed_runs_are_those_of_the_grid() -> None:
    runs = read_records(STUDY / "runs.csv").set_index("run_id")
    grid = {run.run_id: run for run in study.grid()}
    assert set(runs.index) == set(grid)
    counted = [sum(p[0].numel() for p in stack(grid[name]).parameters) for name in runs.index]
    assert runs["params"].tolist() == counted
    assert runs["flops"].to_numpy() == pytest.approx(6 * runs["params"] * runs["samples"])
    assert runs["loss"].to_numpy() == pytest.approx((runs["floor"] + runs["excess"]).to_numpy())
    for name, variance in study.NOISE.items():
        assert (runs.loc[runs["group"] == name, "floor"] == variance).all()
    assert (STUDY / "runs.csv").stat().st_size < 200_000


def stack(run: Run) -> study.Stack:
    return study.Stack([run], [torch.Generator()])


def test_the_floor_of_the_classes_is_an_entropy_of_its_own_samples(test_data: Data) -> None:
    runs = pd.read_csv(STUDY / "runs.csv")
    committed = runs.loc[runs["group"] == study.CLASSIFICATION, "floor"]
    assert committed.nunique() == 1
    assert committed.iloc[0] == pytest.approx(study.floor("classes", test_data.y), abs=0.005)


@pytest.fixture(scope="module")
def laws() -> pd.DataFrame:
    return pd.read_csv(STUDY / "laws.csv")


@pytest.fixture(scope="module")
def forecasts() -> pd.DataFrame:
    return pd.read_csv(STUDY / "forecasts.csv")


def floors_of(laws: pd.DataFrame, law: str) -> pd.DataFrame:
    """L∞ of one kind of fit with the truth, positive floors only, and whether it is held."""
    truth = pd.read_csv(STUDY / "runs.csv").groupby("group")["floor"].first()
    own = laws[(laws["law"] == law) & (laws["parameter"] == "loss_inf")].copy()
    own["floor"] = own["group"].map(truth)
    for share in (68, 95):
        own[f"held_{share}"] = own["floor"].between(own[f"low_{share}"], own[f"high_{share}"])
    return own


def floor_rows(laws: pd.DataFrame) -> list[str]:
    own = floors_of(laws, "coupled")
    by_fit: dict[tuple[str, float], Row] = {
        (row["group"], row["cut"]): row for row in own.to_dict("records")
    }
    rows = []
    for group in GROUPS:
        cells = [group, f"{by_fit[group, 1.0]['floor']:.3g}"]
        for row in (by_fit[group, cut] for cut in (1.0, 10.0, 100.0)):
            cells.append(f"{row['median']:.4f} ({row['low_95']:.4f}–{row['high_95']:.4f})")
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def held_text(laws: pd.DataFrame, law: str) -> str:
    """Of the positive floors, over all cuts, how many either interval holds."""
    own = floors_of(laws, law)
    own = own[own["floor"] > 0]
    return f"{own['held_68'].sum()} and {own['held_95'].sum()} of {len(own)}"


def forecast_rows(forecasts: pd.DataFrame) -> list[str]:
    """Held shares and mean error of the hidden runs by cut, positive floors and zero apart."""
    own = forecasts[forecasts["decade"].astype(str) == "all"]
    rows = []
    for cut in (3.0, 10.0, 30.0, 100.0):
        part = own[own["cut"] == cut].set_index("group")
        cells = [f"{cut:.0f}"]
        for groups in (part.drop("noise-0"), part.loc[["noise-0"]]):
            runs = groups["runs"]
            held = [(groups[f"coverage_{s}"] * runs).sum() / runs.sum() for s in (68, 95)]
            bias = (groups["bias"] * runs).sum() / runs.sum()
            crps = np.exp(np.log(groups["crps"]).mean())
            cells += [str(runs.sum()), f"{held[0]:.2f}, {held[1]:.2f}"]
            cells += [f"{bias:+.1f}".replace("-", "−"), f"{crps:.2f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def exponent_rows(laws: pd.DataFrame) -> list[str]:
    """α, β and γ of a fit to all runs of a group, beside one that knows the floor."""
    rows = []
    table: dict[tuple[str, str, str], Row] = {
        (row["law"], row["group"], row["parameter"]): row
        for row in laws[laws["cut"] == 1.0].to_dict("records")
    }
    for group in GROUPS:
        cells = [group]
        for name in ("alpha", "beta", "gamma"):
            for law in ("coupled", "coupled, floor known"):
                cells.append(cell(table[law, group, name], ".2f"))
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def test_the_page_quotes_the_tables(laws: pd.DataFrame, forecasts: pd.DataFrame) -> None:
    page = page_of("known_floor")
    for row in [*floor_rows(laws), *forecast_rows(forecasts), *exponent_rows(laws)]:
        assert row in page
    assert held_text(laws, "coupled") in page


def test_the_answer_quotes_the_fit_of_all_runs(laws: pd.DataFrame) -> None:
    answer = page_of("known_floor").split("**Answer.**")[1].split("![")[0]
    own = floors_of(laws, "coupled")
    for row in own[own["cut"] == 1.0].to_dict("records"):
        text = cell(row, ".4f")
        if not row["held_68"]:
            text = f"{row['median']:.4f} ({row['low_95']:.4f}–{row['high_95']:.4f}"
        assert text in answer


def test_readme_quotes_the_study(laws: pd.DataFrame, forecasts: pd.DataFrame) -> None:
    page = joined(STUDIES.parent / "README.md")
    own = floors_of(laws, "coupled")
    own = own[own["floor"] > 0]
    assert f"holds it in {own['held_95'].sum()} of {len(own)} cases" in page
    every = forecasts[forecasts["decade"].astype(str) == "all"]
    zero = every["group"] == "noise-0"
    assert (every.loc[~zero, "coverage_95"] == 1.0).all()
    assert f"all {every.loc[~zero, 'runs'].sum()} hidden runs lie inside theirs" in page
    low, high = every.loc[zero, "bias"].min(), every.loc[zero, "bias"].max()
    assert f"tends to 0 is forecast {low:.0f} to {high:.0f} % too high" in page
