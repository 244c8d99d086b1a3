"""Train runs on a pool of processes, each run in one of them, whichever sweep's that is."""

import multiprocessing
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

from isoflop.training.config import RunConfig
from isoflop.training.counting import forward_flops
from isoflop.training.jets.batches import Splits
from isoflop.training.jets.jetclass import load_cache
from isoflop.training.locks import HeldElsewhereError, holding, is_held
from isoflop.training.loop import train
from isoflop.training.parts import lock_file, write_part
from isoflop.training.workers import end_with_parent

# FLOP-equivalents a particle that small networks cost beyond their matrix products.
_OVERHEAD = 40_000.0
_POLL_SECONDS = 0.5


def train_all(
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
            left = f"{seconds * (work / done - 1) / 60:.0f} min left" if done else ""
            note = f"{sum(seen) / seconds:,.0f} jets/s, {left}"
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


def left_over(held: Mapping[RunConfig, str], parts: Path, console: Console) -> list[RunConfig]:
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


def cost(run: RunConfig) -> float:
    """Expected work of a run in FLOP, validation included; sets the order and the time left."""
    each = forward_flops(run.network, run.particles) + _OVERHEAD * run.particles
    checks = run.epochs * run.stopping_samples if run.epochs > 1 else 0
    judged = run.test_samples or run.validation_samples
    return each * (3 * run.samples + checks + judged)


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
