"""Sweeps: every run once, resumed after a kill, and clear errors before anything is trained."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from isoflop.training.config import RunConfig, grid
from isoflop.training.pool import cost
from isoflop.training.records import read_curves, read_records, read_working_points
from isoflop.training.sweep import prepare_grid, train_grid

GRID = """
study = "test"
data = "{data}"
features = "kin"
particles = 5
depth = 1
stopping_samples = 50
validation_samples = 100

[[grid]]
width = [4, 8]
unique_samples = [{samples}]
epochs = [1, 2]
"""


def write_grid(folder: Path, data: Path, samples: str = "100, 200") -> Path:
    path = folder / "grid.toml"
    path.write_text(GRID.format(data=data, samples=samples))
    return path


def parts(out: Path) -> set[str]:
    folder = out / "parts"
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return {name for name in names if not name.startswith(".")}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, jet_folder: Path) -> tuple[Path, Path]:
    """A finished sweep: its grid file and its folder."""
    folder = tmp_path_factory.mktemp("sweep")
    path = write_grid(folder, jet_folder)
    summary = train_grid(path, folder / "runs", workers=1, quiet=True)
    assert (summary.runs, summary.trained) == (8, 8)
    assert summary.samples == read_records(folder / "runs")["samples"].sum()
    return path, folder / "runs"


def test_every_run_of_the_grid_has_one_record(swept: tuple[Path, Path]) -> None:
    path, out = swept
    frame = read_records(out)
    assert sorted(frame["run_id"]) == sorted(run.run_id for run in grid(path).runs)
    points, curves = read_working_points(out), read_curves(out)
    assert (points.groupby(["run_id", "signal"]).size() == 2).all()
    assert set(points["run_id"]) == set(curves["run_id"]) == set(frame["run_id"])


def test_a_finished_sweep_trains_nothing_again(swept: tuple[Path, Path]) -> None:
    path, out = swept
    before = read_records(out)
    assert train_grid(path, out, quiet=True).trained == 0
    pd.testing.assert_frame_equal(read_records(out), before)


def test_only_runs_without_a_record_are_trained(swept: tuple[Path, Path], tmp_path: Path) -> None:
    path, out = swept
    before = read_records(out).set_index("run_id")
    lost = before.index[3]
    copy = tmp_path / "runs"
    subprocess.run(["cp", "-r", out, copy], check=True)
    subprocess.run(["rm", "-r", copy / "parts" / lost], check=True)
    assert train_grid(path, copy, workers=1, quiet=True).trained == 1
    after = read_records(copy).set_index("run_id")
    # The run trained again gives the same numbers; the wall time is the only thing that differs.
    pd.testing.assert_frame_equal(
        after.drop(columns="wall_seconds"), before.drop(columns="wall_seconds")
    )


def test_runs_that_share_a_trunk_train_it_once(jet_folder: Path, tmp_path: Path) -> None:
    path, out = write_grid(tmp_path, jet_folder), tmp_path / "runs"
    branches = "[[grid]]\nwidth = 4\nunique_samples = [100, 200, 400]\ntrunk_samples = 400\n"
    head = path.read_text().split("[[grid]]")[0]
    path.write_text(f"{head}{branches}decay = 0.25\nbatch_size = 10\nwarmup = 0.02\n")
    assert train_grid(path, out, workers=2, quiet=True).trained == 3
    records = read_records(out).sort_values("samples")
    assert records["samples"].tolist() == [100, 200, 400]
    spent = records["flops_spent"] / records["flops"] * records["samples"]
    # The trunk ends after 70, 150 and 300 jets: a branch of 10 steps begins its decay after 7.
    assert spent.tolist() == pytest.approx([100, 200 - 70, 400 - 150])
    assert sorted(records["run_id"]) == sorted(parts(out)) == sorted(os.listdir(out / "parts"))


@pytest.mark.slow
def test_killed_sweep_resumes_with_no_run_lost_or_doubled(jet_folder: Path, tmp_path: Path) -> None:
    path, out = write_grid(tmp_path, jet_folder, "100, 150, 200, 250"), tmp_path / "runs"
    code = (
        "import sys; from isoflop.training.sweep import train_grid\n"
        "if __name__ == '__main__':\n"
        "    train_grid(sys.argv[1], sys.argv[2], workers=2, quiet=True)\n"
    )
    script = tmp_path / "sweep.py"
    script.write_text(code)
    with subprocess.Popen([sys.executable, str(script), str(path), str(out)]) as sweep:
        while len(parts(out)) < 2:
            assert sweep.poll() is None, "the sweep ended before it could be killed"
            time.sleep(0.01)
        os.kill(sweep.pid, signal.SIGKILL)
    done = {name: os.stat(out / "parts" / name).st_mtime_ns for name in parts(out)}
    assert 0 < len(done) < 16
    # What stands is complete, and no merged table pretends to be the whole sweep.
    assert all(pq.read_table(out / "parts" / name / "runs.parquet").num_rows == 1 for name in done)
    assert not (out / "runs.parquet").exists()
    summary = train_grid(path, out, workers=1, quiet=True)
    assert summary.runs == 16
    assert summary.trained <= 16 - len(done)
    frame = read_records(out)
    assert sorted(frame["run_id"]) == sorted(run.run_id for run in grid(path).runs)
    for name, changed in done.items():
        assert os.stat(out / "parts" / name).st_mtime_ns == changed


def test_merged_tables_carry_the_schema_of_the_contract(swept: tuple[Path, Path]) -> None:
    _, out = swept
    for name, schema in (
        ("runs", b"isoflop.run_record/1"),
        ("working_points", b"isoflop.working_point/1"),
        ("curves", b"isoflop.curve/1"),
    ):
        assert pq.read_schema(out / f"{name}.parquet").metadata[b"schema"] == schema


def test_more_training_jets_than_there_are_stops_before_the_first_run(
    jet_folder: Path, tmp_path: Path
) -> None:
    path = write_grid(tmp_path, jet_folder, "100, 5000")
    message = r"split train: 5000 jets asked for, 400 there are in equal classes .* simulate more"
    with pytest.raises(ValueError, match=message):
        train_grid(path, tmp_path / "runs", quiet=True)
    assert parts(tmp_path / "runs") == set()


def test_more_validation_jets_than_there_are_stops_before_the_first_run(
    jet_folder: Path, tmp_path: Path
) -> None:
    path = write_grid(tmp_path, jet_folder)
    path.write_text(
        path.read_text().replace("validation_samples = 100", "validation_samples = 900")
    )
    with pytest.raises(ValueError, match=r"split val: 950 jets asked for, 400 there are"):
        train_grid(path, tmp_path / "runs", quiet=True)


def test_data_folder_of_the_call_wins_over_the_grids(jet_folder: Path, tmp_path: Path) -> None:
    path = write_grid(tmp_path, tmp_path / "nowhere", "100")
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere; make jets with"):
        train_grid(path, tmp_path / "runs", quiet=True)
    summary = train_grid(path, tmp_path / "runs", data=jet_folder, workers=1, quiet=True)
    assert summary.trained == 4


def test_cost_counts_validation_and_grows_with_samples_and_width() -> None:
    run = RunConfig(features="kin", particles=5, width=8, unique_samples=1000)
    bigger = [
        RunConfig(features="kin", particles=5, width=16, unique_samples=1000),
        RunConfig(features="kin", particles=5, width=8, unique_samples=2000),
        RunConfig(features="kin", particles=5, width=8, unique_samples=1000, epochs=2),
    ]
    assert all(cost(other) > cost(run) for other in bigger)


@pytest.mark.parametrize(
    ("module", "importer"),
    [("uproot", "isoflop.training.jets.jetclass"), ("torch", "isoflop.training.models")],
)
def test_missing_package_names_the_extra_to_install(module: str, importer: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; import {importer}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = ended.stderr.splitlines()[-1]
    assert last == f'ImportError: {module} is missing; pip install "isoflop[training]"'


def test_jobs_of_a_sweep_train_their_runs_and_leave_the_tables_to_the_last_call(
    swept: tuple[Path, Path], tmp_path: Path
) -> None:
    path, out = swept
    before = read_records(out).set_index("run_id")
    first, second = before.index[:2]
    assert train_grid(path, tmp_path, only=[first], workers=1, quiet=True).trained == 1
    assert parts(tmp_path) == {first}
    assert not (tmp_path / "runs.parquet").exists()
    again = train_grid(path, tmp_path, only=[first, second], workers=1, quiet=True)
    assert (again.runs, again.trained) == (2, 1)


def test_a_run_that_the_grid_does_not_ask_for_is_named(swept: tuple[Path, Path]) -> None:
    path, out = swept
    with pytest.raises(ValueError, match=r"grid\.toml asks for no run abc"):
        train_grid(path, out, only=["abc"], quiet=True)


def test_preparing_a_grid_leaves_nothing_to_read_from_the_files(
    swept: tuple[Path, Path], tmp_path: Path, jet_folder: Path
) -> None:
    jets = tmp_path / "jets"
    subprocess.run(["cp", "-rp", jet_folder, jets], check=True)
    subprocess.run(["rm", "-rf", jets / ".cache"], check=True)
    assert prepare_grid(swept[0], data=jets) == 8
    built = sorted(path.stat().st_mtime_ns for path in (jets / ".cache").rglob("*"))
    train_grid(swept[0], tmp_path / "runs", data=jets, workers=1, quiet=True)
    assert sorted(path.stat().st_mtime_ns for path in (jets / ".cache").rglob("*")) == built
