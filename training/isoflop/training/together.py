"""Train the runs of a grid one after the other, each on all processes that torchrun started.

    torchrun --nproc-per-node 8 -m isoflop.training.together GRID -o RUNS

For runs that are too large for one GPU to finish in time; `isoflop train` gives each run one
process. The folder of records is the same, and both may work on it.
"""

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import torch

from isoflop.training import ranks
from isoflop.training.config import RunConfig, grid
from isoflop.training.jets.batches import Splits, open_splits
from isoflop.training.locks import holding
from isoflop.training.loop import train
from isoflop.training.parts import lock_file, merge_parts, write_part
from isoflop.training.sweep import check_enough


def train_together(grid_path: str | Path, out: str | Path, *, data: str | Path | None) -> None:
    """Train the runs of a grid that have no record in `out`, in the order of the file.

    Every process of the group calls this. A run that another group or sweep is training is waited
    for.
    """
    asked = grid(grid_path)
    splits = open_splits(data or asked.data, test=any(run.test_samples for run in asked.runs))
    check_enough(asked.runs, splits)
    parts = Path(out) / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    for run in asked.runs:
        _train_one(run, splits, parts)
    if ranks.is_first():
        merge_parts(out, [run.run_id for run in asked.runs])


def _train_one(run: RunConfig, splits: Splits, parts: Path) -> None:
    place, checkpoint = parts / run.run_id, parts / f".{run.run_id}.checkpoint"
    with ExitStack() as held:
        if ranks.is_first():
            held.enter_context(holding(lock_file(parts, run), wait=True))
        if ranks.told_by_first(place.is_dir()):
            return
        result = train(run, splits, device=_device(), checkpoint=checkpoint)
        if ranks.is_first():
            write_part(place, result)
            checkpoint.unlink(missing_ok=True)
            loss, seconds = result.record.loss, result.record.wall_seconds
            sys.stderr.write(f"run {run.run_id}: loss {loss} nat in {seconds:.0f} s\n")


def _device() -> str:
    return f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else "cpu"


def main() -> None:
    """Read the command line; end bad input with one line and exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("grid", help="TOML file of the runs")
    parser.add_argument("-o", "--out", required=True, help="folder of the run records")
    parser.add_argument("--data", help="folder of jets, if not the grid's")
    chosen = parser.parse_args()
    if "LOCAL_RANK" not in os.environ:
        parser.error("start it with torchrun, or use isoflop train")
    try:
        with ranks.joined():
            train_together(chosen.grid, chosen.out, data=chosen.data)
    except (ValueError, OSError, ImportError) as error:
        sys.stderr.write(f"isoflop: {' '.join(str(error).split())}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
