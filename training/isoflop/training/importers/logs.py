"""From runs that another tool logged to run records, by columns that the user names.

A reader (`wandb`, `lightning`, `tensorboard`) turns its files into `LoggedRun`s; `to_records` picks
the columns. Nothing is guessed: a column that no run has is an error that lists those there are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from isoflop.training.records import complete_records

KINDS = ("final", "best")
"""The loss of a run: the last one that was logged, or the lowest."""
SHOWN = 40
"""Names of columns that an error lists."""


@dataclass(frozen=True)
class LoggedRun:
    """One run as its tool kept it."""

    run_id: str
    """Unique name of the run within the source."""
    constants: Mapping[str, Any]
    """Settings and summary: one value a name."""
    curves: Mapping[str, "pd.Series[float]"] = field(default_factory=dict)
    """What was logged along the training: values a name, over the rows or steps of the log.
    A NaN was logged as NaN; what was not logged is not in the series."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which logged columns are what; the names are those of the source."""

    params: str
    """N."""
    samples: str
    """D, samples seen; steps taken if `batch_size` is given."""
    loss: str
    """Validation loss, in nat."""
    loss_kind: str
    """One of `KINDS`. Of a curve it says which point is taken; of a summary, what the column is."""
    batch_size: str | None = None
    """Samples a step, a number or a column; none if `samples` counts samples."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Other columns of the run records by their source's name, as `{"group": "dataset"}`."""

    def names(self) -> list[str]:
        """Every column of the source that is asked for."""
        batch = [] if self.batch_size is None or _number(self.batch_size) else [self.batch_size]
        return [self.params, self.samples, self.loss, *batch, *self.others.values()]


def to_records(runs: Sequence[LoggedRun], columns: Columns, *, source: str) -> pd.DataFrame:
    """Run records (`isoflop.training.records`) of logged runs, shape (runs, columns).

    With a curve as loss, `samples` and the other columns are read at the point of that loss, so D
    is what the network had seen there. A loss of NaN or infinity makes the run `diverged`. U is at
    most D. Raises `ValueError` for columns that no run has and for records that break the
    contract.
    """
    _require_kind(columns.loss_kind)
    _require_names(runs, columns, source)
    rows = [_row(run, columns) for run in runs]
    return complete_records(pd.DataFrame(rows), source=source)


def _row(run: LoggedRun, columns: Columns) -> dict[str, Any]:
    """One record: its columns by the names of the contract, None where the run has no value."""
    at, loss = _loss(run, columns)
    row: dict[str, Any] = {
        "run_id": run.run_id,
        "params": _value(run, columns.params, at),
        "samples": _samples(run, columns, at),
        "loss": loss,
        "loss_kind": columns.loss_kind,
    }
    if loss is not None and not math.isfinite(loss):
        row |= {"loss": None, "status": "diverged"}
    row |= {name: _value(run, key, at) for name, key in columns.others.items()}
    unique, seen = _number(row.get("unique_samples")), _number(row["samples"])
    if unique and seen:
        row["unique_samples"] = min(unique, seen)
    return row


def _loss(run: LoggedRun, columns: Columns) -> tuple[Any, float | None]:
    """Where in the log the loss stands, None for a summary, and the loss; NaN if it diverged."""
    if columns.loss not in run.curves:
        value = run.constants.get(columns.loss)
        return None, None if _absent(value) else _required_number(run, columns.loss, value)
    curve = run.curves[columns.loss]
    if curve.empty:
        return None, None
    finite = curve[curve.map(math.isfinite)]
    last = columns.loss_kind == "final" or finite.empty
    at: Any = curve.index[-1] if last else finite.idxmin()
    return at, float(curve.loc[at])


def _samples(run: LoggedRun, columns: Columns, at: Any) -> Any:
    """D of a run: the column, or steps times samples a step."""
    value = _value(run, columns.samples, at)
    if columns.batch_size is None or _absent(value):
        return value
    each: Any = columns.batch_size
    if not _number(each):
        each = _value(run, columns.batch_size, at)
    if _absent(each):
        return None
    steps = _required_number(run, columns.samples, value)
    return steps * _required_number(run, columns.batch_size, each)


def _value(run: LoggedRun, name: str, at: Any) -> Any:
    """The value of a column: of a curve, the last one logged up to the point of the loss."""
    if name not in run.curves:
        return run.constants.get(name)
    curve = run.curves[name]
    before = curve if at is None else curve[curve.index <= at]
    return None if before.empty else before.iloc[-1]


def _require_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"unknown kind of loss {kind!r}; choose one of {', '.join(KINDS)}")


def _require_names(runs: Sequence[LoggedRun], columns: Columns, source: str) -> None:
    """Raise one `ValueError` with every asked column that no run has, and those there are."""
    if not runs:
        raise ValueError(f"{source}: no runs in it")
    there: dict[str, None] = {}
    for run in runs:
        there |= dict.fromkeys([*run.constants, *run.curves])
    missing = [name for name in dict.fromkeys(columns.names()) if name not in there]
    if missing:
        shown = ", ".join(list(there)[:SHOWN])
        more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
        raise ValueError(f"{source}: no column(s) {', '.join(missing)}; it has {shown}{more}")


def _required_number(run: LoggedRun, name: str, value: Any) -> float:
    number = _number(value)
    if number is None:
        raise ValueError(f"run {run.run_id}: {name} is {value!r}, which is no number")
    return number


def _number(value: Any) -> float | None:
    """A value as a number, or None if it is none."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _absent(value: Any) -> bool:
    return value is None or value == ""
