"""Jobs of a batch system: every run in one job, of about equal work, that get what they need."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.training.config import RunConfig
from isoflop.training.jobs import CORE_RATE, cut, memory_mb, request
from isoflop.training.pool import cost
from isoflop.training.records import read_records

RECORDS = Path(__file__).parents[2] / "studies" / "jets" / "records"
WIDTHS = st.sampled_from([4, 8, 16, 32, 64, 128])


def run(**settings: int) -> RunConfig:
    plain = {"particles": 10, "width": 8, "unique_samples": 1000}
    return RunConfig(features="full", **{**plain, **settings})  # type: ignore[arg-type]


@given(st.lists(st.tuples(WIDTHS, st.integers(10, 10**7)), min_size=1, max_size=40, unique=True))
def test_every_run_is_in_one_job_and_packs_are_about_equal(sizes: list[tuple[int, int]]) -> None:
    runs = [run(width=width, unique_samples=samples) for width, samples in sizes]
    jobs = cut(runs, seconds=60)
    assert sorted(run_id for job in jobs for run_id in job.run_ids) == sorted(
        run.run_id for run in runs
    )
    assert len({job.name for job in jobs}) == len(jobs)
    work = [sum(map(cost, job.runs)) for job in jobs if not job.large]
    for job, total in zip((job for job in jobs if not job.large), work, strict=True):
        assert total <= sum(work) / len(work) + max(map(cost, job.runs))
        assert total <= 2 * 60 * CORE_RATE
    for job in jobs:
        assert job.large == (cost(job.runs[0]) > 60 * CORE_RATE)
        assert len(job.runs) == 1 or not job.large


def test_the_cut_does_not_depend_on_the_order_of_the_grid() -> None:
    runs = [run(unique_samples=1000 * i, seed=i % 3) for i in range(1, 30)]
    assert {job.name for job in cut(runs, seconds=5)} == {
        job.name for job in cut(runs[::-1], seconds=5)
    }


def test_a_job_of_no_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"seconds of a job is 0; it must be above 0"):
        cut([run()], seconds=0)


def test_only_large_jobs_ask_for_a_gpu_and_wait_less_for_it() -> None:
    small, large = run(), run(width=256, unique_samples=10**7)
    jobs = {job.large: job for job in cut([small, large])}
    assert request(jobs[False], gpus=1).gpus == 0
    assert request(jobs[True], gpus=1).gpus == 1
    assert request(jobs[True], gpus=1).minutes < request(jobs[True]).minutes / 10


def test_a_job_asks_for_more_time_than_the_runs_of_the_committed_sweep_took() -> None:
    records = read_records(RECORDS)
    once = records[(records["samples"] == records["unique_samples"]) & (records["device"] == "cpu")]
    late = []
    for row in once.itertuples():
        width = int(str(row.architecture).split("width=")[1].split()[0])
        trained = RunConfig(
            features=str(row.features),
            particles=int(str(row.particles).removesuffix(".0")),
            width=width,
            unique_samples=int(float(str(row.samples))),
            test_samples=200_000,
        )
        (job,) = cut([trained])
        if not float(str(row.wall_seconds)) < 60 * request(job).minutes:
            late.append(str(row.run_id))
    assert not late


@pytest.mark.slow
@pytest.mark.parametrize(("width", "particles"), [(8, 10), (512, 30)])
def test_training_stays_within_the_memory_that_is_asked_for(
    jet_folder: Path, width: int, particles: int
) -> None:
    settings = {
        "features": "full",
        "particles": particles,
        "width": width,
        "unique_samples": 64,
        "stopping_samples": 50,
        "validation_samples": 300,
        "epochs": 2,
    }
    code = (
        "import re, torch; torch.set_num_threads(1)\n"
        "from isoflop.training.config import RunConfig\n"
        "from isoflop.training.jets.batches import open_splits\n"
        "from isoflop.training.loop import train\n"
        f"train(RunConfig(**{settings}), open_splits({str(jet_folder)!r}), device='cpu')\n"
        # Not ru_maxrss: that of a process counts what started it.
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    used = int(ended.stdout) / 1024
    assert used < memory_mb(RunConfig(**settings)) < 4 * used  # type: ignore[arg-type]
