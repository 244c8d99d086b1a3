"""Train every run of a grid that has no record yet; a killed sweep loses a minute of each run.

Each finished run is a folder `parts/<run_id>` of three small Parquet files, written under another
name and renamed into place; a run in progress has a checkpoint and a lock beside it. So several
sweeps may work on one folder: each run is trained by one of them, and what a killed one leaves
goes on in another. The merged tables are remade from the parts at the end.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from isoflop.training.config import RunConfig, grid
from isoflop.training.jets.batches import Splits, balanced_subset, open_set, open_splits
from isoflop.training.parts import merge_parts, remove_trunks
from isoflop.training.pool import left_over, train_all
from isoflop.training.workers import cores


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
    todo = [run for run in runs if not (parts / run.run_id).is_dir()]
    parts.mkdir(parents=True, exist_ok=True)
    missing, samples = len(todo), list[float]()
    if todo:
        splits = open_splits(folder, test=any(run.test_samples for run in todo))
        check_enough(todo, splits)
    while todo:
        seen, held = train_all(todo, splits, parts, workers or default_workers(), console)
        samples += seen
        todo = left_over(held, parts, console)
    if not only:
        remove_trunks(runs, parts)
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
