"""The run records: one row per trained model, the contract between training and inference.

Three tables, each described by a frozen dataclass whose fields carry unit and meaning; the Arrow
schemas, the defaults and the checks are derived from them:

* `RunRecord` — what was trained, on how much, to which loss;
* `WorkingPoint` — signal and background counts above a cut, so that a rejection keeps its Poisson
  error;
* `CurvePoint` — the loss along the training.

CSV and Parquet are read alike. Of a CSV only `params`, `samples` and `loss` are required.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.lib
import pyarrow.parquet as pq

from isoflop.files import writing
from isoflop.training.record_faults import (
    bits_remedy,
    find_faults,
    misspelt_columns,
    names_bits,
    renaming,
)

RUN_SCHEMA = "isoflop.run_record/1"
WORKING_POINT_SCHEMA = "isoflop.working_point/1"
CURVE_SCHEMA = "isoflop.curve/1"

RUNS_FILE = "runs.parquet"
WORKING_POINTS_FILE = "working_points.parquet"
CURVES_FILE = "curves.parquet"


def _column(unit: str, meaning: str, default: Any = MISSING) -> Any:
    metadata = {"unit": unit, "meaning": meaning}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One trained model (schema `isoflop.run_record/1`). Optional fields are None when unknown."""

    run_id: str = _column("", "unique id of the run")
    group: str = _column("", "the unit that gets its own offsets, for example full-40", "all")
    study: str = _column("", "the sweep the run belongs to", "")
    params: float = _column("", "N, the parameters that the law counts")
    samples: float = _column("sample", "D, samples seen, repeats included")
    unique_samples: float = _column("sample", "U, distinct samples seen")
    flops: float = _column("FLOP", "C, training compute by `flops_convention`")
    flops_counted: float | None = _column("FLOP", "training compute counted layer by layer", None)
    flops_convention: str = _column("", "6ND, 6NDT or measured", "6ND")
    flops_spent: float | None = _column(
        "FLOP", "spent in fact: with passes after the best, without a trunk trained before", None
    )
    loss: float | None = _column("nat", "validation loss; none for a diverged run")
    loss_stderr: float | None = _column("nat", "sampling error of the validation loss", None)
    loss_kind: str = _column("", "final, best, early_stopped or smoothed", "final")
    status: str = _column("", "ok, diverged or overfitting", "ok")
    accuracy: float | None = _column("", "validation accuracy", None)
    params_total: float | None = _column("", "all trainable parameters", None)
    params_convention: str | None = _column("", "what `params` leaves out", None)
    tokens_per_sample: float | None = _column("token", "mean particles in a jet, T of 6NDT", None)
    seed: int | None = _column("", "seed of initialisation and shuffling", None)
    features: str | None = _column("", "input feature set", None)
    particles: int | None = _column("", "leading particles kept per jet", None)
    architecture: str | None = _column("", "network and its sizes", None)
    dataset: str | None = _column("", "name of the data and its selection", None)
    learning_rate: float | None = _column("", "peak learning rate", None)
    batch_size: int | None = _column("sample", "samples a step", None)
    tuning: str | None = _column("", "of the rate: ok, under-tuned or unmeasured", None)
    schedule: str | None = _column("", "learning-rate schedule", None)
    wall_seconds: float | None = _column("s", "wall time of the training", None)
    device: str | None = _column("", "device it ran on", None)
    commit: str | None = _column("", "version of the code", None)


@dataclass(frozen=True, kw_only=True)
class WorkingPoint:
    """Jets counted above a cut on the discriminant (schema `isoflop.working_point/1`).

    The cut is set on the signal, to keep the share `efficiency` of it, or on the background, to
    keep one in `rejection`. The counts that result carry their error; a rejection from none passed
    is a lower limit.
    """

    run_id: str = _column("", "the run this was measured on")
    signal: str = _column("", "signal class, for example Hbb")
    efficiency: float = _column("", "share of the signal that the cut was set to, or keeps")
    n_signal: int = _column("jet", "signal jets tested")
    n_background: int = _column("jet", "background jets tested")
    n_background_passed: int = _column("jet", "background jets above the cut")
    n_signal_passed: int | None = _column("jet", "signal jets above the cut", None)
    rejection: float | None = _column("", "rejection that set the cut; none: efficiency did", None)


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One point of a training curve (schema `isoflop.curve/1`)."""

    run_id: str = _column("", "the run")
    samples: float = _column("sample", "samples seen so far")
    train_loss: float | None = _column("nat", "mean training loss since the point before", None)
    loss: float | None = _column("nat", "validation loss", None)


_SCHEMA_OF: dict[type, str] = {
    RunRecord: RUN_SCHEMA,
    WorkingPoint: WORKING_POINT_SCHEMA,
    CurvePoint: CURVE_SCHEMA,
}
_ARROW: dict[str, pa.DataType] = {"str": pa.string(), "float": pa.float64(), "int": pa.int64()}


def arrow_schema(record: type) -> pa.Schema:
    """The Arrow schema of a record class: a column a field, unit and meaning in its metadata."""
    columns = []
    for item in fields(record):
        kind, nullable = _kind(item)
        meta = {"unit": item.metadata["unit"], "meaning": item.metadata["meaning"]}
        columns.append(pa.field(item.name, _ARROW[kind], nullable=nullable, metadata=meta))
    return pa.schema(columns, metadata={"schema": _SCHEMA_OF[record]})


def write_records(path: str | Path, rows: Iterable[RunRecord | WorkingPoint | CurvePoint]) -> None:
    """Write rows of one record class to a Parquet file, whole or not at all."""
    rows = list(rows)
    if not rows:
        raise ValueError(f"cannot write {path}: no rows were given")
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=arrow_schema(type(rows[0])))
    with writing(path) as temporary:
        pq.write_table(table, temporary)


def merge_records(path: str | Path, parts: Iterable[str | Path]) -> None:
    """Write one Parquet file from Parquet files of the same schema, in the order given."""
    table = pa.concat_tables([pq.read_table(part) for part in parts])
    with writing(path) as temporary:
        pq.write_table(table, temporary)


def read_records(
    path: str | Path, *, rename: Mapping[str, str] | None = None, check: bool = True
) -> pd.DataFrame:
    """Read run records from a CSV or Parquet file, or from a folder that `isoflop train` wrote.

    `rename` maps contract names to the names in the file (`{"params": "N"}`). Absent columns take
    the defaults of the contract; unknown columns are kept. Shape (runs, columns).

    Raises `ValueError` with every fault of the table in one message.
    """
    source = records_file(path)
    frame = _read_table(source, RUN_SCHEMA)
    if rename:
        frame = _renamed(frame, rename, source)
    return complete_records(frame, source=str(path)) if check else frame


def read_working_points(path: str | Path) -> pd.DataFrame:
    """Read the working points that belong to the records at `path`, shape (points, columns)."""
    return _read_side_table(path, WORKING_POINTS_FILE, WorkingPoint)


def find_working_points(path: str | Path) -> pd.DataFrame | None:
    """`read_working_points`, or None where no working points lie beside the records."""
    there = records_file(path).with_name(WORKING_POINTS_FILE).is_file()
    return read_working_points(path) if there else None


def read_curves(path: str | Path) -> pd.DataFrame:
    """Read the training curves that belong to the records at `path`, shape (points, columns)."""
    return _read_side_table(path, CURVES_FILE, CurvePoint)


def records_file(path: str | Path) -> Path:
    """The file that holds the records: `path` itself, or `runs.parquet` in the folder `path`."""
    source = Path(path)
    if source.is_dir():
        source = source / RUNS_FILE
    if not source.is_file():
        raise FileNotFoundError(f"no run records at {source}; give a .csv or .parquet file")
    return source


def unused_columns(path: str | Path, *, rename: Mapping[str, str] | None = None) -> list[str]:
    """A note for each column of a CSV that is not used, though a name of the contract is near."""
    source = records_file(path)
    if source.suffix != ".csv":
        return []
    given = {old: new for new, old in (rename or {}).items()}
    have = [given.get(str(name), str(name)) for name in pd.read_csv(source, nrows=0)]
    return misspelt_columns(have, [item.name for item in fields(RunRecord)])


def records_hash(path: str | Path) -> str:
    """SHA-256 of the records file, as hex digits; the posterior carries it."""
    return hashlib.sha256(records_file(path).read_bytes()).hexdigest()


def complete_records(frame: pd.DataFrame, *, source: str = "the table") -> pd.DataFrame:
    """Fill the defaults of the contract and check it; a `ValueError` names every fault."""
    required = [name for name in ("params", "samples", "loss") if name not in frame]
    if required:
        names = [str(name) for name in frame.columns]
        have, in_bits = ", ".join(names), [name for name in names if names_bits(name)]
        if len(frame.columns) == 1 and re.search(r"[;\t]", have):
            raise ValueError(f"{source}: columns must be separated by commas; it has {have!r}")
        raise ValueError(
            f"{source}: missing column(s) {', '.join(required)}; the table has {have}; "
            + renaming(required, names)
            + (bits_remedy(in_bits[0]) if in_bits and "loss" in required else "")
        )
    if frame.empty:
        raise ValueError(f"{source}: the table has no runs")
    frame = frame.copy()
    unread = _to_types(frame)
    _fill_defaults(frame)
    faults = find_faults(frame, unread)
    if faults:
        raise ValueError(f"{source}: {len(faults)} fault(s): " + "; ".join(faults))
    order = [item.name for item in fields(RunRecord)]
    return frame[order + [name for name in frame.columns if name not in order]]


def _kind(item: "Field[Any]") -> tuple[str, bool]:
    """The type name of a field without its None, and whether it may be None."""
    text = item.type if isinstance(item.type, str) else str(item.type)
    kinds = [kind for kind in _ARROW if kind in text]
    return kinds[0], "None" in text


def _read_table(source: Path, schema: str) -> pd.DataFrame:
    try:
        if source.suffix == ".csv":
            return pd.read_csv(source, dtype={"run_id": str, "group": str, "study": str})
        table = pq.read_table(source)
    except (pyarrow.lib.ArrowInvalid, pd.errors.ParserError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{source}: not a readable CSV or Parquet file ({reason})") from error
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{source}: the file is empty") from error
    found = (table.schema.metadata or {}).get(b"schema", b"").decode()
    if found and found != schema:
        raise ValueError(f"{source}: holds {found}, expected {schema}; give the run records")
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _read_side_table(path: str | Path, name: str, record: type) -> pd.DataFrame:
    source = records_file(path).with_name(name)
    if not source.is_file():
        raise FileNotFoundError(f"no {name} beside the run records at {path}")
    frame = _read_table(source, _SCHEMA_OF[record])
    absent = [item for item in fields(record) if item.name not in frame]
    missing = [item.name for item in absent if item.default is MISSING]
    if missing:
        raise ValueError(f"{source}: missing column(s) {', '.join(missing)}")
    return frame.assign(**{item.name: np.nan for item in absent})


def _renamed(frame: pd.DataFrame, rename: Mapping[str, str], source: Path) -> pd.DataFrame:
    absent = [old for old in rename.values() if old not in frame]
    if absent:
        have = ", ".join(map(str, frame.columns))
        raise ValueError(f"{source}: no column(s) {', '.join(absent)} to rename; it has {have}")
    if names_bits(rename.get("loss", "")):
        column = rename["loss"]
        raise ValueError(f"{source}: loss={column}: losses are in nat{bits_remedy(column)}")
    # A column that already has the contract's name gives way to the one the user points at.
    shadowed = [new for new, old in rename.items() if new in frame and new != old]
    return frame.drop(columns=shadowed).rename(columns={old: new for new, old in rename.items()})


def _to_types(frame: pd.DataFrame) -> dict[str, "pd.Series[Any]"]:
    """Convert columns in place to the types of the contract.

    Returns what would not become a number: by column its cells, none where all is well.
    """
    unread = {}
    for item in fields(RunRecord):
        if item.name not in frame:
            continue
        cells, (kind, _) = frame[item.name], _kind(item)
        if kind == "str":
            values = cells.astype(object)
            frame[item.name] = values.where(values.notna(), None).map(
                lambda value: value if value is None else str(value)
            )
            continue
        numbers = pd.to_numeric(cells, errors="coerce")
        unread[item.name] = cells.where(numbers.isna())
        frame[item.name] = numbers.astype(float)
    return unread


def _fill_defaults(frame: pd.DataFrame) -> None:
    if "run_id" not in frame:
        frame["run_id"] = [f"row-{number}" for number in range(1, len(frame) + 1)]
    for item in fields(RunRecord):
        default = None if item.default is MISSING else item.default
        if item.name not in frame:
            frame[item.name] = np.nan if default is None and _kind(item)[0] != "str" else default
        elif default is not None:
            frame[item.name] = frame[item.name].where(frame[item.name].notna(), default)
    frame["unique_samples"] = frame["unique_samples"].fillna(frame["samples"])
    frame["flops"] = frame["flops"].fillna(6.0 * frame["params"] * frame["samples"])
