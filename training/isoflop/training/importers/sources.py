"""Which reader a source needs: told by its files, or by name."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from isoflop.training.importers.lightning import METRICS, read_lightning
from isoflop.training.importers.logs import Columns, to_records
from isoflop.training.importers.tensorboard import EVENTS, read_tensorboard
from isoflop.training.importers.wandb import read_wandb

FORMATS = ("wandb", "lightning", "tensorboard")


@dataclass(frozen=True)
class Imported:
    """Run records from another tool's logs."""

    records: pd.DataFrame
    """By the contract of `isoflop.training.records`, shape (runs, columns)."""
    form: str
    """Which of `FORMATS` was read."""
    left_out: tuple[str, ...]
    """Names of the runs that did not finish."""


def import_runs(path: str | Path, columns: Columns, *, form: str | None = None) -> Imported:
    """Run records from a W&B export, Lightning CSV logs or TensorBoard event files.

    `form` is one of `FORMATS`; without it the files tell: a CSV is a W&B export, a folder holds
    `metrics.csv` or event files. Raises `ValueError` where they do not tell, and by `to_records`.
    """
    source = Path(path)
    if not source.exists():
        raise FileNotFoundError(f"no logs at {source}; give a W&B CSV or a folder of logs")
    form = form or _form_of(source)
    if form not in FORMATS:
        raise ValueError(f"unknown format {form!r}; choose one of {', '.join(FORMATS)}")
    left_out: list[str] = []
    if form == "wandb":
        runs, left_out = read_wandb(source)
    else:
        runs = read_lightning(source) if form == "lightning" else read_tensorboard(source)
    records = to_records(runs, columns, source=str(path))
    return Imported(records, form, tuple(left_out))


def _form_of(source: Path) -> str:
    """The format that the files of a source have."""
    if source.is_file():
        return "wandb"
    held = [
        form
        for form, pattern in (("lightning", METRICS), ("tensorboard", EVENTS))
        if next(source.rglob(pattern), None)
    ]
    if len(held) != 1:
        found = "both" if held else "neither"
        raise ValueError(
            f"{source}: {found} of {METRICS} (Lightning) and event files (TensorBoard) below it; "
            + ("say which with --from" if held else "give the folder that holds the logs")
        )
    return held[0]
