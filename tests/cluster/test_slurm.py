"""The jet sweep on a real Slurm, from an empty folder, with a job killed on the way."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from isoflop.training.config import grid
from isoflop.training.jobs import Job, cut
from isoflop.training.records import read_records
from isoflop.training.sweep import train_grid

for package in ("snakemake_executor_plugin_slurm", "pythia8mc", "fastjet"):
    pytest.importorskip(package)

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("slurm.sh")

# Two jobs of four runs, each of some seconds.
MINUTES = 0.1
GRID = """
features = "kin"
particles = 20
depth = 1
stopping_samples = 50
validation_samples = 150
patience = 40

[[grid]]
width = 8
unique_samples = 400
epochs = 40
seed = [0, 1, 2, 3, 4, 5, 6, 7]
"""
CONFIG = """
grid: {folder}/grid.toml
jets: {folder}/jets
runs: {folder}/runs
simulate: {{train: 400, val: 200, test: 0}}
jets_per_file: 40
minutes: {minutes}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[None]:
    """A Slurm cluster of this machine alone."""
    if os.geteuid() != 0:
        pytest.skip("starting a Slurm cluster needs root")
    if not all(map(shutil.which, ("slurmctld", "slurmd", "munged"))):
        pytest.skip(f"Slurm is not installed; on Debian `{SCRIPT.relative_to(ROOT)} install` does")
    if Path("/etc/slurm/slurm.conf").exists():
        pytest.skip("this machine belongs to a Slurm cluster already")
    try:
        subprocess.run([SCRIPT, "start", tmp_path / "slurm"], check=True)
        yield
    finally:
        subprocess.run([SCRIPT, "stop", tmp_path / "slurm"], check=True)


def queue() -> list[tuple[str, str, str]]:
    """All jobs that Slurm remembers: id, comment with rule and wildcards, state."""
    command = ["squeue", "--states=all", "--noheader", "--format=%i|%k|%T"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [(number, comment, state) for number, comment, state in (x.split("|") for x in lines)]


def done(runs: Path) -> dict[str, int]:
    """Runs with a record and when it was written."""
    parts = (runs / "parts").glob("[!.]*")
    return {part.name: part.stat().st_mtime_ns for part in parts}


def kill_a_job_in_the_middle(
    workflow: "subprocess.Popen[bytes]", jobs: tuple[Job, ...], runs: Path
) -> tuple[Job, dict[str, int]]:
    """Cancel the Slurm job that wrote the first record; it and what was done then."""
    while not (before := done(runs)):
        assert workflow.poll() is None, "the workflow ended before it had trained a run"
        time.sleep(0.05)
    (job, *_) = [job for job in jobs if set(job.run_ids) & set(before)]
    (number,) = [number for number, comment, _ in queue() if job.name in comment]
    subprocess.run(["scancel", number], check=True)
    return job, before


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_sweep_on_slurm_ends_complete_with_no_run_lost_or_doubled_by_a_killed_job(
    tmp_path: Path,
) -> None:
    (tmp_path / "grid.toml").write_text(GRID)
    (tmp_path / "config.yaml").write_text(CONFIG.format(folder=tmp_path, minutes=MINUTES))
    asked, runs = grid(tmp_path / "grid.toml").runs, tmp_path / "runs"
    jobs = cut(asked, seconds=60 * MINUTES)
    assert [len(job.runs) for job in jobs] == [4, 4]
    command: list[str | Path] = [
        *(sys.executable, "-m", "snakemake", "-s", "studies/jets/Snakefile"),
        *("--profile", "profiles/slurm", "--configfile", tmp_path / "config.yaml"),
        *("--directory", tmp_path / "work", "--latency-wait", "5", "--until", "merge"),
        # This cluster keeps no accounts of past jobs; and its jobs are short.
        *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"),
    ]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as workflow,
    ):
        killed, before = kill_a_job_in_the_middle(workflow, jobs, runs)
    assert workflow.returncode == 0, (tmp_path / "log").read_text()

    # Slurm saw one job die, and that job alone was sent again.
    states = {job: [state for _, note, state in queue() if job.name in note] for job in jobs}
    assert states.pop(killed) == ["CANCELLED", "COMPLETED"]
    assert list(states.values()) == [["COMPLETED"]]
    # What was done before stands untouched, and every run has the numbers of a quiet sweep.
    assert done(runs).items() >= before.items()
    quiet = train_grid(
        tmp_path / "grid.toml", tmp_path / "quiet", data=tmp_path / "jets", workers=1
    )
    assert quiet.trained == 8
    told, expected = (
        read_records(folder).drop(columns="wall_seconds") for folder in (runs, tmp_path / "quiet")
    )
    pd.testing.assert_frame_equal(told, expected)
    assert sorted(told["run_id"]) == sorted(run.run_id for run in asked)
