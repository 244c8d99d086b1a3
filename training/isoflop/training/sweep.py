"""Train every run of a grid that has no record yet; a killed sweep loses a minute of each run.

Each finished run is a folder `parts/<run_id>` of three small Parquet files, written under another
name and renamed into place; a run in progress has a checkpoint and a lock beside it. So several
sweeps may work on one folder: each run is trained by one of them, and what a killed one leaves
goes on in another. The merged tables are remade from the parts at the end.
"""

import math
import multiprocessing
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from isoflop.training.config import RunConfig, grid
from isoflop.training.counting import forward_flops
from isoflop.training.jets.batches import Splits, balanced_subset, open_set, open_splits
from isoflop.training.jets.jetclass import load_cache
from isoflop.training.locks import HeldElsewhereError, holding, is_held
from isoflop.training.loop import TrainResult, train
from isoflop.training.records import (
    CURVES_FILE,
    RUNS_FILE,
    WORKING_POINTS_FILE,
    CurvePoint,
    RunRecord,
    WorkingPoint,
    merge_records,
    write_records,
)
from isoflop.training.workers import cores, end_with_parent

# FLOP-equivalents a particle that small networks cost beyond their matrix products.
_OVERHEAD = 40_000.0
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class SweepSummary:
    """What a sweep did."""

    out: Path
    """Folder of the merged tables."""
    runs: int
    """Runs asked for, all with a record now."""
    trained: int
    """Runs trained by this call."""
    elsewhere: int
    """Runs that another process trained meanwhile; the others had a record before."""
    samples: float
    """Jets seen in those runs."""
    seconds: float
    """Wall time."""


def train_grid(
    grid_path: str | Path,
    out: str | Path,
    *,
    data: str | Path | None = None,
    only: Sequence[str] = (),
    workers: int | None = None,
    quiet: bool = False,
) -> SweepSummary:
    """Train the runs of a grid file that have no record in `out`, the most expensive first.

    `data` overrides the folder of ROOT files that the grid names. `only` names runs by their id: a
    job of a larger sweep, which trains no others and leaves the merged tables to a call without it.
    Runs that another process is training are left to it; the call ends when they have a record too.
    `workers` processes train at once, by default one a CPU core, or one where there is CUDA.
    Progress goes to stderr.
    """
    started = time.perf_counter()
    console = Console(stderr=True, quiet=quiet, highlight=False, markup=False, soft_wrap=True)
    asked = grid(grid_path)
    folder = Path(data) if data is not None else asked.data
    parts = Path(out) / "parts"
    runs = _chosen(asked.runs, only, grid_path)
    todo = sorted(
        (run for run in runs if not (parts / run.run_id).is_dir()), key=cost, reverse=True
    )
    parts.mkdir(parents=True, exist_ok=True)
    missing, samples = len(todo), list[float]()
    if todo:
        splits = open_splits(folder, test=any(run.test_samples for run in todo))
        check_enough(todo, splits)
    while todo:
        seen, held = _train_all(todo, splits, parts, workers or default_workers(), console)
        samples += seen
        todo = _left_over(held, parts, console)
    if not only:
        _remove_trunks(runs, parts)
        merge_parts(out, [run.run_id for run in runs])
    return SweepSummary(
        out=Path(out),
        runs=len(runs),
        trained=len(samples),
        elsewhere=missing - len(samples),
        samples=sum(samples),
        seconds=time.perf_counter() - started,
    )


def prepare_grid(grid_path: str | Path, *, data: str | Path | None = None) -> int:
    """Read the jets that a grid needs into their cache, and return how many runs it has.

    Raises `ValueError` where jets are too few. Jobs that train at the same time need this first.
    """
    asked = grid(grid_path)
    folder = Path(data) if data is not None else asked.data
    check_enough(asked.runs, open_splits(folder, test=any(run.test_samples for run in asked.runs)))
    return len(asked.runs)


def _chosen(
    runs: Sequence[RunConfig], only: Sequence[str], grid_path: str | Path
) -> Sequence[RunConfig]:
    """The runs named by `only`, or all."""
    unknown = set(only) - {run.run_id for run in runs}
    if unknown:
        raise ValueError(f"{grid_path} asks for no run {', '.join(sorted(unknown))}")
    return [run for run in runs if run.run_id in only] if only else runs


def default_workers() -> int:
    """One process a CPU core; one where a GPU does the work."""
    return 1 if torch.cuda.is_available() else cores()


def cost(run: RunConfig) -> float:
    """Expected work of a run in FLOP, validation included; sets the order and the time left."""
    each = forward_flops(run.network, run.particles) + _OVERHEAD * run.particles
    checks = run.epochs * run.stopping_samples if run.epochs > 1 else 0
    judged = run.test_samples or run.validation_samples
    return each * (3 * run.samples + checks + judged)


def check_enough(runs: Sequence[RunConfig], data: Splits) -> None:
    """Build the feature tables, and raise `ValueError` where jets are too few."""
    asked = {
        "train": (data.train, max(run.unique_samples for run in runs)),
        "val": (data.validation, max(map(_validation_jets, runs))),
    }
    if data.test is not None:
        asked["test"] = data.test, max(run.test_samples for run in runs)
    for features in sorted({run.features for run in runs}):
        for jets, _ in asked.values():
            open_set(jets, features, 1)
    for split, (jets, most) in asked.items():
        try:
            balanced_subset(jets.label, most, seed=0)
        except ValueError as error:
            raise ValueError(f"split {split}: {error}") from error


def _validation_jets(run: RunConfig) -> int:
    return run.stopping_samples + (0 if run.test_samples else run.validation_samples)


def merge_parts(out: str | Path, run_ids: Sequence[str]) -> None:
    """Remake the three merged tables of `out` from the parts of the given runs."""
    for name in (RUNS_FILE, WORKING_POINTS_FILE, CURVES_FILE):
        parts = [Path(out) / "parts" / run_id / name for run_id in run_ids]
        merge_records(Path(out) / name, [part for part in parts if part.is_file()])


def _train_all(
    todo: Sequence[RunConfig], data: Splits, parts: Path, workers: int, console: Console
) -> tuple[list[float], dict[RunConfig, str]]:
    """Train the runs on a pool of processes.

    Returns the jets seen by each run trained, and the runs that other processes hold, with those.
    """
    seen: list[float] = []
    held: dict[RunConfig, str] = {}
    work, done = sum(map(cost, todo)), 0.0
    test = data.test.folder if data.test else None
    caches = data.train.folder, data.validation.folder, test  # later files change nothing
    started = time.perf_counter()
    context = multiprocessing.get_context("spawn")  # fork does not go with torch's threads
    with (
        _progress(console) as progress,
        ProcessPoolExecutor(workers, context, initializer=_start_worker) as pool,
    ):
        bar = progress.add_task("training", total=len(todo), note="")
        jobs = {pool.submit(_train_each, runs, caches, parts): runs for runs in _jobs(todo)}
        for job in as_completed(jobs):
            for run, outcome in zip(jobs[job], _outcomes(job, pool), strict=True):
                if outcome.held_by:
                    held[run] = outcome.held_by
                if outcome.left_by:
                    console.print(f"run {run.run_id}: {outcome.left_by} was killed; finished it")
                if outcome.samples is None:
                    work -= cost(run)
                else:
                    seen.append(outcome.samples)
                    done += cost(run)
            seconds = time.perf_counter() - started
            left = seconds * (work / done - 1) if done else math.inf
            note = f"{sum(seen) / seconds:,.0f} jets/s, {left / 60:.0f} min left"
            progress.update(bar, advance=len(jobs[job]), note=note)
    return seen, held


@dataclass(frozen=True)
class _Outcome:
    """What became of a run that was to be trained."""

    samples: float | None = None
    """Jets seen, if it was trained; otherwise it has got its record or is held."""
    held_by: str = ""
    """The process that trains it instead."""
    left_by: str = ""
    """The process that began it and was killed."""


def _jobs(todo: Sequence[RunConfig]) -> list[tuple[RunConfig, ...]]:
    """Runs that one process trains one after the other, the most expensive job first.

    One run, or all that share a trunk, the shortest first: each begins where the one before left
    the trunk.
    """
    jobs: dict[str, list[RunConfig]] = {}
    for run in sorted(todo, key=lambda run: run.samples):
        jobs.setdefault(run.trunk.run_id, []).append(run)
    return sorted(map(tuple, jobs.values()), key=lambda job: -sum(map(cost, job)))


def _outcomes(job: "Future[list[_Outcome]]", pool: ProcessPoolExecutor) -> list[_Outcome]:
    """The outcomes of a finished job; after an error no other run is begun."""
    try:
        return job.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a training process was killed, perhaps for memory; the finished runs are kept, the "
            "others go on from their checkpoints; start again, with fewer workers"
        ) from error
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise


def _left_over(held: Mapping[RunConfig, str], parts: Path, console: Console) -> list[RunConfig]:
    """Wait for the processes that hold these runs; the runs that one of them left without a record.

    Returns as soon as there is one, or when all have a record.
    """
    if held:
        owners = ", ".join(sorted(set(held.values())))
        console.print(f"{len(held)} run(s) are being trained by {owners}; waiting for them")
    while True:
        left = [run for run in held if not (parts / run.run_id).is_dir()]
        if not left or not all(is_held(lock_file(parts, run)) for run in left):
            return left
        time.sleep(_POLL_SECONDS)


def lock_file(parts: Path, run: RunConfig) -> Path:
    """The file that the process which trains a run holds."""
    return parts / f".{run.run_id}.lock"


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=console, disable=console.quiet)


def _start_worker() -> None:
    """One thread a process; end with the parent, so that a killed sweep leaves none behind."""
    torch.set_num_threads(1)
    end_with_parent()


def _train_each(
    runs: Sequence[RunConfig], caches: tuple[Path, Path, Path | None], parts: Path
) -> list[_Outcome]:
    return [_train_one(run, caches, parts) for run in runs]


def _train_one(run: RunConfig, caches: tuple[Path, Path, Path | None], parts: Path) -> _Outcome:
    seen, validation, test = caches
    checkpoint = parts / f".{run.run_id}.checkpoint"
    try:
        with holding(lock_file(parts, run)) as left_by:
            if (parts / run.run_id).is_dir():
                return _Outcome()
            splits = Splits(
                load_cache(seen), load_cache(validation), load_cache(test) if test else None
            )
            result = train(run, splits, checkpoint=checkpoint, trunks=parts)
            write_part(parts / run.run_id, result)
            checkpoint.unlink(missing_ok=True)
            return _Outcome(samples=result.record.samples, left_by=left_by)
    except HeldElsewhereError as error:
        return _Outcome(held_by=str(error))


def _remove_trunks(runs: Sequence[RunConfig], parts: Path) -> None:
    for trunk in {run.trunk.run_id for run in runs if run.trunk_samples}:
        for piece in parts.glob(f".{trunk}.*.trunk"):
            piece.unlink(missing_ok=True)


def write_part(folder: Path, result: TrainResult) -> None:
    """Write a run's tables into a folder that appears only when it is complete."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    tables: dict[str, Sequence[RunRecord | WorkingPoint | CurvePoint]] = {
        RUNS_FILE: [result.record],
        WORKING_POINTS_FILE: result.working_points,
        CURVES_FILE: result.curve,
    }
    try:
        for name, rows in tables.items():
            if rows:
                write_records(partial / name, rows)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
