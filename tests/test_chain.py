"""The whole chain through the command line: jets, runs, posterior, forecast."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import uproot
import xarray as xr

from isoflop.training.records import read_records, read_working_points

GRID = """
study = "chain"
data = "jets"
dataset = "chain"
depth = 1
stopping_samples = 50
validation_samples = 150

[[grid]]
features = ["kin", "full"]
particles = 10
width = [4, 8, 16]
unique_samples = [50, 100, 200]

[[grid]]
features = "full"
particles = 10
width = 8
unique_samples = 50
epochs = [2, 4]
"""


def _isoflop(*words: str, folder: Path) -> str:
    command = [str(Path(sys.executable).with_name("isoflop")), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_simulated_jets_become_a_forecast(tmp_path: Path) -> None:
    for split in ("train", "val"):
        _isoflop("simulate", "-n", "200", "--split", split, "-o", "jets", "-q", folder=tmp_path)
    assert len(list((tmp_path / "jets").glob("*.root"))) == 20
    with uproot.open(tmp_path / "jets" / "HToBB_120.root") as file:
        assert file["tree"].num_entries == 20

    (tmp_path / "grid.toml").write_text(GRID)
    _isoflop("train", "grid.toml", "-o", "runs", "-q", folder=tmp_path)
    records = read_records(tmp_path / "runs")
    assert records.groupby("group").size().to_dict() == {"full-10": 11, "kin-10": 9}
    # Some of these tiny runs never beat guessing, which makes them diverged: no loss, still a row.
    learned = records["status"] != "diverged"
    assert learned.mean() > 0.6
    assert records.loc[learned, "loss"].between(1.0, 2.5).all()
    assert records.loc[~learned, "loss"].isna().all()
    points = read_working_points(tmp_path / "runs")
    assert (points["n_background_passed"] <= points["n_background"]).all()
    again = json.loads(_isoflop("train", "grid.toml", "-o", "runs", "--json", "-", folder=tmp_path))
    assert (again["runs"], again["trained"]) == (20, 0)

    short = ("--draws", "200", "--warmup", "300", "-q")
    _isoflop("fit", "runs", "-o", "posterior.nc", "--hold-out", "0.1", *short, folder=tmp_path)
    with xr.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as tree:
        assert set(tree["posterior"].to_dataset()["group"].values) == {"full-10", "kin-10"}
    out = _isoflop("forecast", "posterior.nc", "--budget", "1e12", "--json", "-", folder=tmp_path)
    rows = json.loads(out)["rows"]
    assert {row["group"] for row in rows} == {"full-10", "kin-10"}
    assert all(row["extrapolation_decades"] > 2 for row in rows)
    losses = [row["value"] for row in rows if row["quantity"] == "loss"]
    assert all(0.0 < loss < 3.5 for loss in losses)
