"""The workflow and its profiles as far as they can be checked without a cluster."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isoflop.training.config import grid
from isoflop.training.jobs import cut, request

pytest.importorskip("snakemake_executor_plugin_slurm")

ROOT = Path(__file__).parents[2]
# No pool, even where this machine belongs to one.
ENVIRONMENT = {**os.environ, "CONDOR_CONFIG": "/dev/null"}
GRID = ROOT / "studies" / "jets" / "grid.toml"


def snakemake(folder: Path, *words: str) -> str:
    """What a call of the jet workflow, with its folders in `folder`, prints."""
    (folder / "config.yaml").write_text(
        f"jets: {folder}/jets\nruns: {folder}/runs\nminutes: 2\ngpus: 1\n"
        "simulate: {train: 60_000, val: 20_000, test: 20_000}\n"
    )
    command = [sys.executable, "-m", "snakemake", "-s", "studies/jets/Snakefile", *words]
    command += ["--configfile", str(folder / "config.yaml")]
    ended = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=-1, stderr=subprocess.STDOUT, text=True
    )
    return ended.stdout


@pytest.mark.parametrize("how", [("--cores", "2"), ("--profile", "profiles/slurm")])
def test_an_empty_folder_is_filled_by_one_job_a_file_number_and_all_jobs_of_the_grid(
    tmp_path: Path, how: tuple[str, ...]
) -> None:
    printed = snakemake(tmp_path, *how, "--dry-run")
    planned = dict(line.split() for line in printed.splitlines() if len(line.split()) == 2)
    jobs = cut(grid(GRID).runs, seconds=120)
    assert 1 < sum(job.large for job in jobs) < len(jobs)
    assert (planned["simulate"], planned["cache"], planned["merge"]) == ("5", "1", "1"), printed
    assert planned["train"] == str(len(jobs))


def test_htcondor_is_asked_for_what_the_job_needs(tmp_path: Path) -> None:
    """Up to the door of the pool: there is none, so the submission itself fails."""
    pytest.importorskip("snakemake_executor_plugin_htcondor")
    (tmp_path / "jets" / ".jobs").mkdir(parents=True)
    for name in ("train-000", "train-001", "train-002", "val-120", "test-100", "cache"):
        (tmp_path / "jets" / ".jobs" / name).touch()
    where = ("--profile", "profiles/htcondor", "--directory", str(tmp_path))
    printed = snakemake(tmp_path, *where, "--config", f"grid={GRID}", "--verbose")
    mark = "HTCondor submit subscription: "
    found = [line.split(mark)[1] for line in printed.splitlines() if mark in line]
    assert found and "Unable to locate local daemon" in printed, printed
    for described in map(ast.literal_eval, found):
        (job,) = [one for one in cut(grid(GRID).runs, seconds=120) if one.name in str(described)]
        asked = request(job, gpus=1)
        assert described["request_memory"] == f"{asked.memory_mb}MB"
        assert described["request_cpus"] == "1"
        assert described["request_gpus"] == asked.gpus
        assert described["getenv"] is True
        assert f"--target-jobs train:job={job.name}" in described["arguments"]
        parse = "import htcondor2, sys; print(htcondor2.Submit(eval(sys.argv[1])))"
        accepted = subprocess.run(
            [sys.executable, "-c", parse, repr(described)],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"request_memory = {asked.memory_mb}MB" in accepted.stdout
