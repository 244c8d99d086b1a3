"""Processes that train one run together give the loss of one process with the same batches."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from isoflop.training.config import grid
from isoflop.training.jets.batches import Splits
from isoflop.training.loop import train
from isoflop.training.records import read_curves, read_records

GRID = """
data = "{data}"
features = "full"
particles = 20
width = 16
depth = 1
stopping_samples = 101
validation_samples = 299

[[grid]]
unique_samples = 330
batch_size = 33

[[grid]]
unique_samples = 97
batch_size = 32
epochs = 3
"""


def torchrun(path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *words, "-m", "isoflop.training.together", str(path), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(
    splits: Splits, jet_folder: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "grid.toml", tmp_path / "runs"
    path.write_text(GRID.format(data=jet_folder))
    ended = torchrun(path, "-o", str(out))
    assert ended.returncode == 0, ended.stderr
    records, curves = read_records(out), read_curves(out)
    for config, found in zip(grid(path).runs, records.to_dict("records"), strict=True):
        one = train(config, splits, device="cpu")
        assert found["run_id"] == one.record.run_id
        assert found["loss"] == pytest.approx(one.record.loss, abs=1e-6)
        assert found["loss_stderr"] == pytest.approx(one.record.loss_stderr, abs=1e-6)
        assert (found["samples"], found["status"]) == (one.record.samples, one.record.status)
        along = curves[curves["run_id"] == config.run_id]
        assert along["train_loss"].tolist() == pytest.approx(
            [point.train_loss for point in one.curve], abs=1e-6
        )
    # A finished grid is not trained again.
    before = (out / "parts" / config.run_id).stat().st_mtime_ns
    assert torchrun(path, "-o", str(out)).returncode == 0
    assert (out / "parts" / config.run_id).stat().st_mtime_ns == before


def test_without_torchrun_it_says_how_to_start_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "isoflop.training.together", "grid.toml", "-o", "runs"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "start it with torchrun, or use isoflop train" in ended.stderr
