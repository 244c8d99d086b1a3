"""`isoflop threshold`: from records and curves to a table, JSON and a figure."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isoflop.training.records import CurvePoint, RunRecord, write_records

PASSES = 16


def write_runs(folder: Path, most: float = 10.0) -> Path:
    """A sweep in which networks with more than `most` parameters a sample overfit."""
    records, curves = [], []
    for params in (1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6):
        for unique in (1e3, 3e3, 1e4, 3e4):
            name = f"{params:g}-{unique:g}"
            records.append(
                RunRecord(
                    run_id=name,
                    params=params,
                    samples=PASSES * unique,
                    unique_samples=unique,
                    flops=6 * params * PASSES * unique,
                    loss=1.0,
                    loss_kind="early_stopped",
                )
            )
            loss = np.linspace(1.5, 1.0, PASSES)
            if params > most * unique:
                loss[-1] = 1.2
            curves += [
                CurvePoint(run_id=name, samples=unique * n, train_loss=1.6 - n / 20, loss=float(x))
                for n, x in enumerate(loss, start=1)
            ]
    write_records(folder / "runs.parquet", records)
    write_records(folder / "curves.parquet", curves)
    return folder


def isoflop(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [Path(sys.executable).with_name("isoflop"), *words]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_the_threshold_is_told_in_words_in_json_and_in_a_figure(tmp_path: Path) -> None:
    runs = write_runs(tmp_path)
    out, figure = tmp_path / "threshold.json", tmp_path / "threshold.png"
    ended = isoflop("threshold", runs, "--json", out, "--figure", figure, "--strict")
    assert ended.returncode == 0, ended.stderr
    assert "28 runs over repeated samples: 10 overfitting, 18 underfitting, 0 undecided" in (
        ended.stdout
    )
    assert "Every run is judged over its first 16 passes" in ended.stdout
    assert "Published for jets: x = 0.47 (arXiv:2602.15781)" in ended.stdout
    assert "Verdict: the sampler converged" in ended.stdout
    told = json.loads(out.read_text())
    x, size = told["parameters"]["x"], told["parameters"]["N_thr[all]"]
    assert x["low_95"] < 1.0 < x["high_95"]
    assert size["low_95"] < 10 * told["unique_samples_of_N_thr"] < size["high_95"]
    assert {run["label"] for run in told["runs"]} == {"overfitting", "underfitting"}
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_quiet_says_that_one_overfitting_run_tells_no_threshold(
    tmp_path: Path,
) -> None:
    ended = isoflop("threshold", write_runs(tmp_path, most=500.0), "--quiet", "--strict")
    assert (ended.returncode, ended.stdout) == (3, "")
    (verdict,) = ended.stderr.splitlines()
    assert verdict.startswith("Verdict: NOT to be trusted: ")
    assert "only 1 run(s) overfitting, at least " in verdict


def test_a_group_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    ended = isoflop("threshold", write_runs(tmp_path), "--group", "kin")
    assert ended.returncode == 2
    assert ended.stderr == f"isoflop: {tmp_path} has no group kin; it has all\n"


def test_records_without_curves_are_refused(tmp_path: Path) -> None:
    runs = write_runs(tmp_path)
    (runs / "curves.parquet").unlink()
    ended = isoflop("threshold", runs)
    assert ended.returncode == 2
    assert ended.stderr == f"isoflop: no curves.parquet beside the run records at {runs}\n"
