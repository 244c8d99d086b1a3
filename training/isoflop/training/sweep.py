"""Train every run of a grid that has no record yet; a killed sweep loses a minute of each run.

Each finished run is a folder `parts/<run_id>` of three small Parquet files, written under another
name and renamed into place; a run in progress has a checkpoint beside it. The merged tables are
remade from the parts at the end.
"""

import multiprocessing
import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
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


@dataclass(frozen=True)
class SweepSummary:
    """What a sweep did."""

    out: Path
    """Folder of the merged tables."""
    runs: int
    """Runs asked for, all with a record now."""
    trained: int
    """Runs trained by this call; the others had a record."""
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
    `workers` processes train at once, by default one a CPU core, or one where there is CUDA.
    Progress goes to stderr.
    """
    started = time.perf_counter()
    asked = grid(grid_path)
    folder = Path(data) if data is not None else asked.data
    parts = Path(out) / "parts"
    runs = _chosen(asked.runs, only, grid_path)
    todo = sorted(
        (run for run in runs if not (parts / run.run_id).is_dir()), key=cost, reverse=True
    )
    parts.mkdir(parents=True, exist_ok=True)
    samples = 0.0
    if todo:
        splits = open_splits(folder, test=any(run.test_samples for run in todo))
        check_enough(todo, splits)
        workers = workers or default_workers()
        samples = _train_all(todo, splits, parts, workers=workers, quiet=quiet)
    if not only:
        merge_parts(out, [run.run_id for run in runs])
    seconds = time.perf_counter() - started
    return SweepSummary(Path(out), len(runs), len(todo), samples, seconds)


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
    todo: Sequence[RunConfig], data: Splits, parts: Path, *, workers: int, quiet: bool
) -> float:
    """Train the runs on a pool of processes; return the jets seen."""
    samples, work, done = 0.0, sum(map(cost, todo)), 0.0
    test = data.test.folder if data.test else None
    caches = data.train.folder, data.validation.folder, test  # later files change nothing
    started = time.perf_counter()
    context = multiprocessing.get_context("spawn")  # fork does not go with torch's threads
    with (
        _progress(len(todo), quiet=quiet) as progress,
        ProcessPoolExecutor(workers, context, initializer=_start_worker) as pool,
    ):
        bar = progress.add_task("training", total=len(todo), note="")
        jobs = {pool.submit(_train_one, run, caches, parts): run for run in todo}
        for job in as_completed(jobs):
            try:
                samples += job.result()
            except BrokenProcessPool as error:
                raise RuntimeError(
                    f"a training process was killed, perhaps for memory; {len(todo)} runs were to "
                    "do, the finished ones are kept; start again, with fewer workers"
                ) from error
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            done += cost(jobs[job])
            seconds = time.perf_counter() - started
            left = seconds * (work - done) / done
            note = f"{samples / seconds:,.0f} jets/s, {left / 60:.0f} min left"
            progress.update(bar, advance=1, note=note)
    return samples


def _progress(total: int, *, quiet: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=Console(stderr=True), disable=quiet or not total)


def _start_worker() -> None:
    """One thread a process; end with the parent, so that a killed sweep leaves none behind."""
    torch.set_num_threads(1)
    end_with_parent()


def _train_one(run: RunConfig, caches: tuple[Path, Path, Path | None], parts: Path) -> float:
    checkpoint = parts / f".{run.run_id}.checkpoint"
    seen, validation, test = caches
    splits = Splits(load_cache(seen), load_cache(validation), load_cache(test) if test else None)
    result = train(run, splits, checkpoint=checkpoint)
    write_part(parts / run.run_id, result)
    checkpoint.unlink(missing_ok=True)
    return result.record.samples


def write_part(folder: Path, result: TrainResult) -> None:
    """Write a run's tables into a folder that appears only when it is complete."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    tables: dict[str, Sequence[RunRecord | WorkingPoint | CurvePoint]] = {
        RUNS_FILE: [result.record],
        WORKING_POINTS_FILE: result.working_points,
        CURVES_FILE: result.curve,
    }
    for name, rows in tables.items():
        if rows:
            write_records(partial / name, rows)
    if not folder.is_dir():
        partial.rename(folder)
    shutil.rmtree(partial, ignore_errors=True)
