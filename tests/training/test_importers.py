"""Logs of other tools become run records: real small files of Lightning and TensorBoard.

`logs/make.py` made them; the three runs have widths 2, 4, 8, so 8·width + 3 parameters, and saw 3
epochs of 256, 512 and 1024 samples in batches of 32.
"""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.command import run

from isoflop.training.importers.logs import Columns, LoggedRun, to_records
from isoflop.training.importers.sources import import_runs
from isoflop.training.records import read_records

LOGS = Path(__file__).parent / "logs"
PARAMS, SEEN, UNIQUE = [19.0, 35.0, 67.0], [768.0, 1536.0, 3072.0], [256.0, 512.0, 1024.0]
LOSSES = [0.6859370470046997, 0.5726330876350403, 0.3266464173793793]
LIGHTNING = {"params": "n_params", "samples": "step", "batch_size": "batch_size"}
TENSORBOARD = {"params": "n_params", "samples": "step", "loss": "loss/val"}
WANDB = {"params": "model.n_params", "samples": "_step", "batch_size": "32", "loss": "val/loss"}


def columns(given: dict[str, str], **more: Any) -> Columns:
    return Columns(**{"loss": "val_loss", "loss_kind": "final"} | given | more)


def assert_the_three_runs(records: pd.DataFrame) -> None:
    assert records["params"].tolist() == PARAMS
    assert records["samples"].tolist() == SEEN
    assert records["loss"].tolist() == pytest.approx(LOSSES, rel=1e-7)
    assert set(records["status"]) == {"ok"}


def test_lightning_logs_give_what_was_trained() -> None:
    unique = {"unique_samples": "unique_samples"}
    imported = import_runs(LOGS / "lightning", columns(LIGHTNING, others=unique))
    assert_the_three_runs(imported.records)
    assert imported.form == "lightning"
    assert imported.records["unique_samples"].tolist() == UNIQUE
    assert imported.records["run_id"].tolist() == ["version_0", "version_1", "version_2"]


def test_tensorboard_scalars_and_hyperparameters_are_one_run() -> None:
    assert_the_three_runs(import_runs(LOGS / "tensorboard", columns(TENSORBOARD)).records)


def test_a_wandb_table_leaves_out_what_did_not_finish_and_keeps_what_diverged() -> None:
    imported = import_runs(LOGS / "wandb.csv", columns(WANDB, others={"group": "dataset"}))
    records = imported.records
    assert imported.left_out == ("run-16",)
    assert_the_three_runs(records[:3])
    assert records["status"].tolist()[3] == "diverged"
    assert set(records["group"]) == {"toy"}


def test_the_loop_of_the_wandb_api_is_read(tmp_path: Path) -> None:
    runs = {
        "summary": [{"_step": 24, "val/loss": 0.5}, {"_step": 48, "val/loss": float("nan")}],
        "config": [{"model": {"n": 19}, "note": "nan"}, {"model": {"n": 35}, "note": None}],
        "name": ["one", "two"],
    }
    pd.DataFrame(runs).to_csv(tmp_path / "project.csv")
    asked = columns(
        {"params": "config.model.n", "samples": "summary._step", "loss": "summary.val/loss"},
        batch_size="32",
    )
    records = import_runs(tmp_path / "project.csv", asked).records
    assert records["params"].tolist() == [19.0, 35.0]
    assert records["samples"].tolist() == [768.0, 1536.0]
    assert records["status"].tolist() == ["ok", "diverged"]


def test_the_best_loss_comes_with_the_samples_seen_by_then(tmp_path: Path) -> None:
    folder = tmp_path / "version_0"
    shutil.copytree(LOGS / "lightning" / "version_0", folder)
    rows = "epoch,step,val_loss\n0,7,0.9\n1,15,0.4\n2,23,0.6\n"
    (folder / "metrics.csv").write_text(rows)
    best = import_runs(tmp_path, columns(LIGHTNING, loss_kind="best")).records.iloc[0]
    last = import_runs(tmp_path, columns(LIGHTNING)).records.iloc[0]
    assert (best["loss"], best["samples"], best["loss_kind"]) == (0.4, 16 * 32, "best")
    assert (last["loss"], last["samples"], last["loss_kind"]) == (0.6, 24 * 32, "final")


def test_a_curve_that_ends_in_nan_diverged_and_has_no_last_loss(tmp_path: Path) -> None:
    folder = tmp_path / "version_0"
    shutil.copytree(LOGS / "lightning" / "version_0", folder)
    (folder / "metrics.csv").write_text("epoch,step,val_loss\n0,7,0.9\n1,15,nan\n")
    record = import_runs(tmp_path, columns(LIGHTNING)).records.iloc[0]
    assert record["status"] == "diverged"
    assert pd.isna(record["loss"])
    assert import_runs(tmp_path, columns(LIGHTNING, loss_kind="best")).records["loss"][0] == 0.9


def test_distinct_samples_never_exceed_those_seen() -> None:
    run = LoggedRun("a", {"n": 10, "seen": 100, "set": 1000, "loss": 0.5})
    asked = columns({"params": "n", "samples": "seen", "loss": "loss"})
    asked = Columns(**{**vars(asked), "others": {"unique_samples": "set"}})
    assert to_records([run], asked, source="x")["unique_samples"].tolist() == [100.0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"params": "N"}, r"no column\(s\) N; it has batch_size, n_params"),
        ({"loss": "val", "samples": "seen"}, r"no column\(s\) seen, val; it has"),
        ({"loss_kind": "smallest"}, "unknown kind of loss 'smallest'; choose one of final, best"),
        ({"batch_size": "batch"}, r"no column\(s\) batch; it has"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_those_that_are(
    given: dict[str, str], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        import_runs(LOGS / "lightning", columns(LIGHTNING | given))


def test_a_run_without_the_column_is_named() -> None:
    runs = [LoggedRun("a", {"n": 1, "d": 2, "loss": 0.5}), LoggedRun("b", {"d": 2, "loss": 0.5})]
    asked = columns({"params": "n", "samples": "d", "loss": "loss"})
    with pytest.raises(ValueError, match=r"params is missing in 1 of 2 runs \(first b\)"):
        to_records(runs, asked, source="x")


def test_steps_that_are_no_number_are_named() -> None:
    run = LoggedRun("a", {"n": 1, "d": "10k", "loss": 0.5})
    asked = columns({"params": "n", "samples": "d", "loss": "loss"}, batch_size="8")
    with pytest.raises(ValueError, match="run a: d is '10k', which is no number"):
        to_records([run], asked, source="x")


def test_a_folder_that_holds_no_logs_or_both_kinds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"neither of metrics.csv"):
        import_runs(tmp_path, columns(LIGHTNING))
    with pytest.raises(ValueError, match=r"both of metrics.csv .* say which with --from"):
        import_runs(LOGS, columns(LIGHTNING))
    assert len(import_runs(LOGS, columns(LIGHTNING), form="lightning").records) == 3


def test_a_plain_csv_is_no_wandb_export(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("N,D,loss\n1,2,3\n")
    with pytest.raises(ValueError, match=r"no W&B export.*fit reads a plain CSV"):
        import_runs(tmp_path / "runs.csv", columns(WANDB))


def test_pickled_settings_of_lightning_do_not_stop_the_rest(tmp_path: Path) -> None:
    shutil.copytree(LOGS / "lightning" / "version_0", tmp_path / "version_0")
    hparams = tmp_path / "version_0" / "hparams.yaml"
    hparams.write_text(hparams.read_text() + "loss: !!python/object:torch.nn.Loss {a: 1}\n")
    assert import_runs(tmp_path, columns(LIGHTNING)).records["params"].tolist() == [19.0]


def test_the_command_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", "--help") == 0
    assert "Example: isoflop import logs/" in capsys.readouterr().out


def test_what_is_imported_is_read_back_as_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs.csv"
    words = ["--params", "n_params", "--samples", "step", "--batch-size", "batch_size"]
    words += [
        "--loss",
        "val_loss",
        "--loss-kind",
        "final",
        "--map",
        "unique_samples=unique_samples",
    ]
    assert run("import", str(LOGS / "lightning"), "-o", str(out), *words) == 0
    assert "3 runs in" in capsys.readouterr().err
    assert_the_three_runs(read_records(out))
    assert read_records(out)["unique_samples"].tolist() == UNIQUE
