"""Sweeps that share a folder, are killed, or fill the disk lose nothing and say what happened."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from isoflop.training.checkpoint import LoopState, load_checkpoint, save_checkpoint
from isoflop.training.config import RunConfig, grid
from isoflop.training.jets.features import open_features
from isoflop.training.jets.jetclass import open_jets
from isoflop.training.models import Transformer
from isoflop.training.records import read_records

GRID = """
data = "{data}"
features = "kin"
particles = 5
depth = 1
stopping_samples = 50
validation_samples = 100
patience = 1000

[[grid]]
width = 4
unique_samples = [50, 100, 150, 200]
epochs = [1, 2]

[[grid]]
width = 4
unique_samples = 200
epochs = {longest}
"""
RUNS = 9


def write_grid(folder: Path, data: Path, *, longest: int) -> Path:
    path = folder / "grid.toml"
    path.write_text(GRID.format(data=data, longest=longest))
    return path


def start_sweep(path: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    isoflop = str(Path(sys.executable).with_name("isoflop"))
    command = [isoflop, "train", str(path), "-o", str(out), "--workers", "1", "--json", "-", *more]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def end_of(sweep: subprocess.Popen[str]) -> tuple[dict[str, float], str]:
    """The summary that a sweep prints, and what it says."""
    out, said = sweep.communicate()
    assert sweep.returncode == 0, said
    return json.loads(out), said


def finished(out: Path) -> list[str]:
    """The runs with a record."""
    return [entry.name for entry in (out / "parts").iterdir() if not entry.name.startswith(".")]


def assert_complete(path: Path, out: Path) -> None:
    """One record a run, and nothing else."""
    asked = sorted(run.run_id for run in grid(path).runs)
    assert sorted(read_records(out)["run_id"]) == asked
    assert sorted(entry.name for entry in (out / "parts").iterdir()) == asked


@pytest.mark.slow
def test_two_sweeps_on_one_folder_share_its_runs(jet_folder: Path, tmp_path: Path) -> None:
    path, out = write_grid(tmp_path, jet_folder, longest=20), tmp_path / "runs"
    with start_sweep(path, out) as first, start_sweep(path, out) as second:
        (one, _), (other, _) = end_of(first), end_of(second)
    assert one["trained"] + other["trained"] == RUNS
    assert min(one["trained"], other["trained"]) > 0
    assert one["runs"] == other["runs"] == RUNS
    assert_complete(path, out)


@pytest.mark.slow
def test_a_killed_sweep_leaves_its_runs_to_the_other(jet_folder: Path, tmp_path: Path) -> None:
    path, out = write_grid(tmp_path, jet_folder, longest=20), tmp_path / "runs"
    with start_sweep(path, out) as first:
        while not list((out / "parts").glob(".*.lock")):
            assert first.poll() is None
            time.sleep(0.01)
        os.killpg(first.pid, signal.SIGSTOP)  # it holds its run as long as it lives
        done = len(finished(out))
        with start_sweep(path, out) as second:
            while len(finished(out)) < RUNS - 1:
                assert second.poll() is None
                time.sleep(0.01)
            os.killpg(first.pid, signal.SIGKILL)
            summary, said = end_of(second)
    assert (summary["runs"], summary["trained"], summary["elsewhere"]) == (RUNS, RUNS - done, 0)
    assert "1 run(s) are being trained by process" in said
    assert " was killed; finished it" in said
    assert_complete(path, out)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, *, leave: int) -> Path:
    """A file that leaves so many bytes."""
    filler = disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - leave))
    return filler


FULL = r"no space left on device, 0\.0 MB are free in .*; free some space and start again, what is"


def test_a_checkpoint_that_does_not_fit_is_named_and_the_old_one_kept(small_disk: Path) -> None:
    config = RunConfig(features="kin", particles=5, width=32, unique_samples=100)
    checkpoint = small_disk / "run.checkpoint"
    model = Transformer(config.network)
    optimizer = torch.optim.AdamW(model.parameters())
    save_checkpoint(checkpoint, config.run_id, LoopState(step=7), model, optimizer, {})
    filler = fill(small_disk, leave=20_000)
    with pytest.raises(OSError, match=rf"cannot write .*run\.checkpoint: {FULL}"):
        save_checkpoint(checkpoint, config.run_id, LoopState(step=8), model, optimizer, {})
    assert sorted(small_disk.iterdir()) == [filler, checkpoint]
    found = load_checkpoint(checkpoint, config.run_id, model, optimizer)
    assert found is not None and found[0].step == 7


@pytest.mark.parametrize("leave", [0, 8_192, 24_576])
def test_a_cache_that_does_not_fit_is_named_and_nothing_is_left(
    jet_folder: Path, small_disk: Path, leave: int
) -> None:
    for path in jet_folder.glob("HToBB_00*.root"):
        (small_disk / path.name).symlink_to(path)
    filler = fill(small_disk, leave=leave)
    with pytest.raises(OSError, match=rf"cannot write .*: {FULL}"):
        open_jets(small_disk, "train")
    filler.unlink()
    assert not any((small_disk / ".cache").glob("*"))
    jets = open_jets(small_disk, "train")
    fill(small_disk, leave=leave)
    with pytest.raises(OSError, match=rf"cannot write .*: {FULL}"):
        open_features(jets, "full")
    assert not any(path.suffix == ".partial" for path in jets.folder.iterdir())


@pytest.mark.slow
def test_a_sweep_that_fills_the_disk_ends_with_code_2_and_resumes(
    jet_folder: Path, small_disk: Path, tmp_path: Path
) -> None:
    path, out = write_grid(tmp_path, jet_folder, longest=3), small_disk / "runs"
    filler = fill(small_disk, leave=120_000)
    with start_sweep(path, out) as sweep:
        printed, said = sweep.communicate()
    assert (sweep.returncode, printed) == (2, "")
    assert re.search(rf"\nisoflop: cannot write .*runs/parts/.*: {FULL} .*\n$", said), said
    done = finished(out)
    assert 0 < len(done) < RUNS
    assert all(len(read_records(out / "parts" / name)) == 1 for name in done)
    filler.unlink()
    with start_sweep(path, out) as sweep:
        summary, _ = end_of(sweep)
    assert summary["trained"] == RUNS - len(done)
    assert_complete(path, out)


@pytest.mark.slow
def test_a_killed_worker_ends_the_sweep_with_code_2_and_what_to_do(
    jet_folder: Path, tmp_path: Path
) -> None:
    path, out = write_grid(tmp_path, jet_folder, longest=100), tmp_path / "runs"
    with start_sweep(path, out) as sweep:
        while (
            not (owners := [x.read_text() for x in (out / "parts").glob(".*.lock")]) or "" in owners
        ):
            assert sweep.poll() is None
            time.sleep(0.01)
        os.kill(int(owners[0].split()[1]), signal.SIGKILL)
        printed, said = sweep.communicate()
    assert (sweep.returncode, printed) == (2, "")
    assert "isoflop: a training process was killed, perhaps for memory; the finished runs" in said
    with start_sweep(path, out) as sweep:
        _, said = end_of(sweep)
    assert " was killed; finished it" in said
    assert_complete(path, out)
