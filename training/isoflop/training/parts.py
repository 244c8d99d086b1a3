"""The folder of a sweep's runs: `parts/<run_id>` holds the three tables of a finished one.

A run in progress has a checkpoint and a lock beside it, branches have pieces of their trunk.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from isoflop.training.config import RunConfig
from isoflop.training.loop import TrainResult
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


def lock_file(parts: Path, run: RunConfig) -> Path:
    """The file that the process which trains a run holds."""
    return parts / f".{run.run_id}.lock"


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


def merge_parts(out: str | Path, run_ids: Sequence[str]) -> None:
    """Remake the three merged tables of `out` from the parts of the given runs."""
    for name in (RUNS_FILE, WORKING_POINTS_FILE, CURVES_FILE):
        parts = [Path(out) / "parts" / run_id / name for run_id in run_ids]
        merge_records(Path(out) / name, [part for part in parts if part.is_file()])


def remove_trunks(runs: Sequence[RunConfig], parts: Path) -> None:
    """Remove what branches began on, when all have their records."""
    for trunk in {run.trunk.run_id for run in runs if run.trunk_samples}:
        for piece in parts.glob(f".{trunk}.*.trunk"):
            piece.unlink(missing_ok=True)
