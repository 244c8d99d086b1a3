"""The contract of the run records: what is read, what is filled in, what is refused."""

import doctest
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from isoflop.training import record_faults
from isoflop.training.records import (
    CurvePoint,
    RunRecord,
    WorkingPoint,
    arrow_schema,
    complete_records,
    merge_records,
    read_curves,
    read_records,
    read_working_points,
    records_hash,
    write_records,
)


def _run(run_id: str = "a", **changes: object) -> RunRecord:
    values: dict[str, object] = {
        "run_id": run_id,
        "params": 1e4,
        "samples": 2e5,
        "unique_samples": 1e5,
        "flops": 6 * 1e4 * 2e5,
        "loss": 1.25,
    }
    return RunRecord(**(values | changes))  # type: ignore[arg-type]


def _table(**changes: object) -> pd.DataFrame:
    columns: dict[str, object] = {
        "run_id": ["a", "b", "c"],
        "params": [1e3, 2e3, 3e3],
        "samples": [1e5, 1e5, 1e5],
        "loss": [2.0, 1.9, 1.8],
    }
    return pd.DataFrame(columns | changes)


def test_three_columns_are_enough_and_the_rest_takes_documented_defaults(tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    table.write_text("params,samples,loss,note\n1000,50000,2.5,first\n2000,50000,2.25,second\n")
    records = read_records(table)
    assert list(records["run_id"]) == ["row-1", "row-2"]
    assert list(records["unique_samples"]) == [50000.0, 50000.0]
    assert list(records["flops"]) == [6.0 * 1000 * 50000, 6.0 * 2000 * 50000]
    assert set(records["group"]) == {"all"}
    assert set(records["status"]) == {"ok"}
    assert list(records["note"]) == ["first", "second"]


def test_parquet_round_trip_keeps_every_value_and_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "runs.parquet"
    runs = [_run("a", seed=3, features="full"), _run("b", loss=None, status="diverged")]
    write_records(path, runs)
    schema = pq.read_schema(path)
    assert schema.metadata[b"schema"] == b"isoflop.run_record/1"
    assert schema.field("samples").metadata[b"unit"] == b"sample"
    records = read_records(path)
    assert records.loc[0, "seed"] == 3
    assert records.loc[0, "loss"] == 1.25
    assert records.loc[1, "status"] == "diverged"
    assert records["loss"].isna().tolist() == [False, True]


def test_every_field_says_its_meaning() -> None:
    for record in (RunRecord, WorkingPoint, CurvePoint):
        assert all(field.metadata[b"meaning"] for field in arrow_schema(record))


def test_all_faults_stand_in_one_message() -> None:
    table = _table(run_id=["a", "a", "c"], params=[1e3, -2e3, 3e3], loss=[2.0, None, 0.0])
    with pytest.raises(ValueError, match="fault") as caught:
        complete_records(table, source="runs.csv")
    assert str(caught.value) == (
        "runs.csv: 4 fault(s): "
        "params must be positive and finite: 1 value(s), first -2000.0 (run a); "
        "loss is missing in 1 of 3 runs (first a); drop these runs, or set their status to "
        "diverged if they diverged; "
        "loss must be positive: 1 value(s), first 0.0 (run c), for every law here has a floor "
        "above zero and takes the logarithm of the loss, so the log likelihood of continuous data "
        "or a differential entropy is no loss for it; add a known constant, or give a loss that "
        "is positive (cross-entropy, error rate); "
        "run_id must be unique: 1 value(s), first a"
    )


def test_missing_columns_are_named_with_the_remedy() -> None:
    table = _table().drop(columns=["params", "loss"])
    with pytest.raises(ValueError, match="missing") as caught:
        complete_records(table, source="runs.csv")
    assert str(caught.value) == (
        "runs.csv: missing column(s) params, loss; the table has run_id, samples; "
        "name the right ones with --map, for example --map params=N"
    )


def test_columns_by_another_name_are_suggested() -> None:
    assert doctest.testmod(record_faults).failed == 0
    table = _table().rename(columns={"samples": "Tokens", "loss": "val_loss"})
    with pytest.raises(ValueError, match="missing") as caught:
        complete_records(table, source="runs.csv")
    assert str(caught.value) == (
        "runs.csv: missing column(s) samples, loss; the table has run_id, params, Tokens, "
        "val_loss; name the right ones with --map samples=Tokens --map loss=val_loss"
    )


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("unique_samples", 2e5, "unique_samples must not exceed samples: 1 value(s)"),
        ("status", "crashed", "status must be one of ok, diverged, overfitting"),
        ("loss_kind", "mean", "loss_kind must be one of final, best, early_stopped, smoothed"),
        ("loss_stderr", -0.1, "loss_stderr must not be negative"),
        ("samples", float("inf"), "samples must be positive and finite: 1 value(s), first inf"),
        ("samples", None, "samples is missing in 1 of 3 runs (first b); give it or drop these"),
        ("loss", float("inf"), "loss must be finite unless diverged: 1 value(s), first inf"),
        ("loss", -3.5, "loss must be positive: 1 value(s), first -3.5 (run b), for every law"),
        ("loss", "n/a", "loss: 1 value(s) are no numbers, first 'n/a'"),
    ],
)
def test_a_wrong_value_is_named_with_its_bound(column: str, value: object, message: str) -> None:
    good = _table()
    others = list(good[column]) if column in good else [None, None, None]
    table = _table(**{column: [others[0], value, others[2]]})
    with pytest.raises(ValueError, match="fault") as caught:
        complete_records(table)
    assert message in str(caught.value)


@pytest.mark.parametrize("column", ["params", "samples", "loss", "flops", "loss_stderr", "seed"])
def test_a_text_for_a_number_is_one_fault_beside_an_empty_cell(column: str) -> None:
    cells = {"params": [1e3, 2e3, 3e3], "samples": [1e4, 2e4, 3e4], "loss": [2.0, 1.9, 1.8]}
    values = cells.get(column, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="fault") as caught:
        complete_records(_table(**{column: [values[0], "abc", values[2]]}), source="runs.csv")
    assert str(caught.value) == (
        f"runs.csv: 1 fault(s): {column}: 1 value(s) are no numbers, first 'abc' (run b); "
        "give numbers or drop these runs"
    )
    if column in cells:
        with pytest.raises(ValueError, match="fault") as caught:
            complete_records(_table(**{column: [None, "abc", values[2]]}), source="runs.csv")
        assert "2 fault(s)" in str(caught.value)
        assert f"{column} is missing in 1 of 3 runs (first a)" in str(caught.value)


def test_a_diverged_run_is_kept_without_a_number() -> None:
    records = complete_records(_table(loss=[2.0, None, 1.8], status=["ok", "diverged", "ok"]))
    assert len(records) == 3


def test_half_the_losses_missing_are_counted_unless_the_runs_diverged() -> None:
    half = pd.concat([_table(), _table(run_id=["d", "e", "f"], loss=[None] * 3)])
    with pytest.raises(ValueError, match="fault") as caught:
        complete_records(half, source="runs.csv")
    assert str(caught.value) == (
        "runs.csv: 1 fault(s): loss is missing in 3 of 6 runs (first d); "
        "drop these runs, or set their status to diverged if they diverged"
    )
    diverged = half.assign(status=["ok"] * 3 + ["diverged"] * 3)
    assert len(complete_records(diverged)) == 6


@pytest.mark.parametrize(
    "column", ["seed", "loss_stderr", "unique_samples", "flops", "group", "dataset", "status"]
)
def test_an_optional_column_may_miss_half_its_values(column: str) -> None:
    known = {"status": "ok", "group": "all", "dataset": "jets"}.get(column, 7.0)
    records = complete_records(_table(**{column: [known, None, None]}))
    assert records[column].iloc[0] == known
    assert len(records) == 3


@pytest.mark.parametrize("name", ["loss_bits", "bits_per_byte", "val_bpb", "BPD", "loss (bits)"])
def test_a_loss_in_bits_is_not_taken_for_nat(name: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    _table().rename(columns={"loss": name}).to_csv(path, index=False)
    remedy = (
        f"; if {name} is a loss in bits, make a column loss of {name} times ln 2 = 0.693147 "
        "(nothing is converted silently)"
    )
    with pytest.raises(ValueError, match=r"missing column\(s\) loss; the table has") as absent:
        read_records(path)
    assert str(absent.value).endswith(f"for example --map loss=val_loss{remedy}")
    with pytest.raises(ValueError, match="losses are in nat") as mapped:
        read_records(path, rename={"loss": name})
    assert str(mapped.value) == f"{path}: loss={name}: losses are in nat{remedy}"


@pytest.mark.parametrize("name", ["orbit_loss", "loss_8bit", "4-bit loss", "habits"])
def test_a_name_that_only_contains_bit_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    _table().rename(columns={"loss": name}).to_csv(path, index=False)
    assert list(read_records(path, rename={"loss": name})["loss"]) == [2.0, 1.9, 1.8]


def test_columns_are_renamed_on_request(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    _table().rename(columns={"params": "N"}).to_csv(path, index=False)
    assert list(read_records(path, rename={"params": "N"})["params"]) == [1e3, 2e3, 3e3]
    with pytest.raises(ValueError, match=r"no column\(s\) M to rename; it has run_id, N"):
        read_records(path, rename={"params": "M"})


def test_a_folder_is_read_through_its_merged_tables(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_records(tmp_path / f"{name}.parquet", [_run(name)])
    merge_records(tmp_path / "runs.parquet", [tmp_path / "a.parquet", tmp_path / "b.parquet"])
    point = WorkingPoint(
        run_id="a",
        signal="Hbb",
        efficiency=0.5,
        n_signal=10,
        n_background=100,
        n_background_passed=0,
    )
    write_records(tmp_path / "working_points.parquet", [point])
    write_records(tmp_path / "curves.parquet", [CurvePoint(run_id="a", samples=10.0, loss=2.0)])
    assert list(read_records(tmp_path)["run_id"]) == ["a", "b"]
    assert list(read_working_points(tmp_path)["n_background_passed"]) == [0]
    assert list(read_curves(tmp_path)["loss"]) == [2.0]
    assert records_hash(tmp_path) == records_hash(tmp_path / "runs.parquet")


def test_a_table_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "curves.parquet"
    write_records(path, [CurvePoint(run_id="a", samples=10.0)])
    with pytest.raises(ValueError, match=r"holds isoflop.curve/1, expected isoflop.run_record/1"):
        read_records(path)


@pytest.mark.parametrize("name", ["runs.parquet", "runs.csv"])
def test_a_file_that_is_no_table_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x00\xff\x01 no table" if name.endswith("parquet") else b"")
    with pytest.raises(ValueError, match=f"{name}: (not a readable|the file is empty)"):
        read_records(path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no run records at .*; give a .csv or .parquet"):
        read_records(tmp_path / "none.csv")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no rows were given"):
        write_records(tmp_path / "runs.parquet", [])
    with pytest.raises(OSError, match="cannot write"):
        write_records(tmp_path, [_run()])
    assert list(tmp_path.iterdir()) == []
