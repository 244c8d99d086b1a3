"""The command line as its user meets it: help, outputs, and one line for each mistake."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests.command import assert_refused, run
from tests.conftest import THETA

from isoflop.inference.simulate import simulate_runs

COMMANDS = (
    *("simulate", "train", "fit", "check", "forecast", "design", "report", "backtest"),
    *("threshold", "significance"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    assert f"Example: isoflop {command} " in capsys.readouterr().out


@pytest.mark.slow
def test_forecast_json_has_the_promised_rows(
    posterior_nc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run("forecast", str(posterior_nc), "--budget", "1e13", "--json", "-") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["q"] for row in rows if row["quantity"] == "loss"] == [
        0.025,
        0.16,
        0.5,
        0.84,
        0.975,
    ]
    assert {row["quantity"] for row in rows} >= {"loss", "params_opt", "samples_opt"}
    assert {row["group"] for row in rows} == {"full-40"}
    assert set(rows[0]) == {
        "group", "budget_flops", "params", "samples", "unique_samples", "epochs", "quantity", "q",
        "value", "unit", "extrapolation_decades",
    }  # fmt: skip
    exact = THETA["loss_inf"] + np.exp(THETA["log_A"]) * rows[0]["params"] ** -THETA["alpha"]
    exact += np.exp(THETA["log_B"]) * rows[0]["samples"] ** -THETA["beta"]
    values = [row["value"] for row in rows if row["quantity"] == "loss"]
    assert values[0] < exact < values[-1]


@pytest.mark.slow
def test_forecast_writes_table_and_figure(
    posterior_nc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv, figure = tmp_path / "f.csv", tmp_path / "f.png"
    words = ("--budget", "1e12", "--budget", "1 PFLOP", "--csv", str(csv), "--figure", str(figure))
    assert run("forecast", str(posterior_nc), *words) == 0
    out = capsys.readouterr().out
    assert "full-40 at C = 1.00e15 FLOP" in out
    assert re.search(r"loss \[nat\] +[\d.]+ +[\d.]+ – [\d.]+", out)
    assert "The prior alone decides" not in out
    capped = tmp_path / "capped.png"
    few = ("--budget", "1e12", "--budget", "1 PFLOP", "--unique-cap", "1e4")
    assert run("forecast", str(posterior_nc), *few, "--figure", str(capped)) == 0
    assert capped.read_bytes() != figure.read_bytes()
    out = capsys.readouterr().out
    assert "The prior alone decides ω of full-40, P of full-40: no run informs it." in out
    assert csv.read_text().startswith("group,budget_flops,params")
    assert figure.stat().st_size > 10_000


@pytest.mark.slow
def test_forecast_of_one_run_takes_its_size_data_and_epochs(
    posterior_nc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--params", "1e5", "--unique", "1e5", "--epochs", "3", "--json", "-")
    assert run("forecast", str(posterior_nc), *words) == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert (row["params"], row["unique_samples"], row["samples"]) == (1e5, 1e5, 3e5)
    assert row["budget_flops"] == pytest.approx(6 * 1e5 * 3e5)


@pytest.mark.slow
def test_check_reports_law_verdict_and_held_out_runs(
    posterior_nc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure, report = tmp_path / "check.png", tmp_path / "check.json"
    words = ("--figure", str(figure), "--json", str(report))
    assert run("check", str(posterior_nc), *words) == 0
    out = capsys.readouterr().out
    assert "L = L∞ + (A N^−α + B D_eff^−β)^γ" in out
    assert "Kept apart: the 2 most expensive runs." in out
    content = json.loads(report.read_text())
    assert content["held_out"]["runs"] == 2
    assert content["prior_driven"] == ["omega[full-40]", "log_P[full-40]"]
    assert figure.stat().st_size > 10_000


@pytest.mark.slow
def test_backtest_writes_rows_and_a_figure_and_says_what_it_skips(
    runs_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, figure = tmp_path / "b.json", tmp_path / "b.png"
    words = ("--map", "params=N", "--methods", "isoflop,power-law", "--rolling")
    out = ("--json", str(report), "--figure", str(figure))
    assert run("backtest", str(runs_csv), *words, *out) == 0
    rows = json.loads(report.read_text())
    assert {row["method"] for row in rows} == {"isoflop", "power-law"}
    assert {row["holdout"] for row in rows} == {10.0, 30.0, 100.0}
    printed = capsys.readouterr().out
    assert "full-40" in printed
    assert re.search(r"skipped full-40 at hold-out 3: 24 run\(s\) to fit and 1 to", printed)
    assert figure.stat().st_size > 10_000


@pytest.mark.slow
def test_strict_exits_3_on_a_budget_further_than_the_runs_span(
    posterior_nc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    near, far = (
        ("forecast", str(posterior_nc), "--budget", c, "--strict") for c in ("1e12", "1e40")
    )
    assert run(*near) == 0
    assert (
        "Verdict: the sampler converged, the runs inform the exponents" in capsys.readouterr().err
    )
    assert run(*far) == 3
    assert re.search(r"NOT to be trusted 2\d.\d decades beyond the runs", capsys.readouterr().err)


@pytest.mark.slow
def test_a_budget_below_the_cheapest_run_is_not_called_within_the_runs(
    posterior_nc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run("forecast", str(posterior_nc), "--budget", "1.2e5", "--strict") == 3
    text, faults = capsys.readouterr()
    assert "FLOP, 2.0 decades below its runs, of which the law says nothing" in text
    assert (
        "NOT to be trusted below the runs: the budget lies 2.0 decades below the" in text + faults
    )


@pytest.mark.slow
def test_quiet_says_a_bad_verdict_of_a_forecast_and_no_good_one(
    posterior_nc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run("forecast", str(posterior_nc), "--budget", "1e12", "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert run("forecast", str(posterior_nc), "--budget", "1e40", "--quiet") == 0
    out, said = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"Verdict: NOT to be trusted 2\d\.\d decades beyond the runs: .*\n", said)


@pytest.mark.slow
def test_quiet_says_that_runs_on_one_line_give_no_good_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, posterior = tmp_path / "line.csv", str(tmp_path / "p.nc")
    params = np.rint(np.geomspace(1e3, 3e5, 25))
    cells = [(n, 20 * n, 1.0) for n in params]
    simulate_runs({"all": THETA}, cells, sigma=0.003, seed=1).to_csv(table, index=False)
    short = ("--quiet", "--chains", "2", "--draws", "250")
    assert run("fit", str(table), "-o", posterior, *short) == 0
    out, said = capsys.readouterr()
    first, verdict = said.splitlines()
    assert (out, first) == ("", f"posterior in {posterior}")
    assert verdict.startswith("Verdict: NOT to be trusted within the runs: ")
    assert "no run informs " in verdict
    for words in (("--quiet",), ("--json", "-")):
        assert run("check", posterior, *words) == 0
        assert capsys.readouterr().err == verdict + "\n"
    assert run("report", posterior, "-o", str(tmp_path / "r.html"), "--quiet") == 0
    assert capsys.readouterr() == ("", verdict + "\n")


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert re.fullmatch(r"isoflop \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_a_misspelt_column_of_the_records_is_not_mapped(
    runs_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "fit", str(runs_csv), "--map", "param=N", "-o", str(tmp_path / "p.nc")
    assert run(*words) == 2
    said = "isoflop: --map param=…: records have no column 'param'; did you mean params?\n"
    assert capsys.readouterr().err == said


@pytest.mark.slow
def test_the_habit_of_the_field_answers_through_the_same_commands(
    runs_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "habit.nc"
    words = ("--map", "params=N", "--engine", "approach3", "--draws", "50")
    assert run("fit", str(runs_csv), "-o", str(out), *words) == 0
    printed = capsys.readouterr().out
    assert "L = L∞ + A N^−α + B D_eff^−β, 25 runs" in printed
    assert "approach3 with its bootstrap" in printed
    assert run("forecast", str(out), "--budget", "1e12", "--json", "-") == 0
    values = [row["value"] for row in json.loads(capsys.readouterr().out)["rows"]]
    assert 0.8 < values[2] < 1.2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "the table has 3 run(s) to fit and law 'coupled' with its 6 free parameters"),
        (("--loss-below", "1"), "no run to fit: every run diverged"),
        (("--hold-out", "0.4"), "--hold-out keeps 1 of 3 runs apart, 2 are left and law 'coupled'"),
    ],
)
def test_a_table_that_cannot_be_fitted_is_named(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table, folder = tmp_path / "few.csv", tmp_path / "out"
    folder.mkdir()
    table.write_text("params,samples,loss\n1e3,2e3,2.1\n2e3,2e3,2.0\n3e3,4e3,1.9\n")
    call = ("fit", str(table), "-o", str(folder / "p.nc"), *words)
    assert_refused(*call, said=f"isoflop: {table}: {message}", folder=folder, capsys=capsys)


def test_runs_that_are_copied_are_told_of_and_seeds_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["1e3,2e3,2.1", "2e3,2e3,2.0", "2e3,2e3,2.01"]
    for name, table in (("once", rows), ("twice", rows * 2)):
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join(["params,samples,loss", *table]))
        run("fit", str(path), "-o", str(tmp_path / "p.nc"))
    first, *told = capsys.readouterr().err.splitlines()
    assert "the table has 3 run(s)" in first
    assert told[0] == (
        "3 run(s) repeat another one in every column, first row-4, which repeats row-1; each copy "
        "counts as a run and makes the intervals too narrow: drop them"
    )


MISTAKES = [
    (
        ("backtest", "{table}", "--map", "params=N", "--methods", "oracle"),
        "unknown method 'oracle'; choose among isoflop, approach3",
    ),
    (
        ("backtest", "{table}", "--map", "params=N", "--holdout", "1e9"),
        "can be back-tested: full-40 at holdout 1e+09: 0 run(s) to fit and 25 to forecast",
    ),
    (
        ("backtest", "{table}", "--map", "params=N", "--figure", "b.xyz"),
        "--figure is b.xyz; its name must end in .png, .pdf or .svg",
    ),
    (
        ("fit", "{table}", "-o", "p.nc", "--map", "params=N", "--engine", "oracle"),
        "unknown engine 'oracle'; choose one of nuts, approach3",
    ),
    (
        ("fit", "{table}", "-o", "p.nc", "--map", "params=N", "--metric", "odd"),
        "unknown metric 'odd'; choose loss or bounded",
    ),
    (
        ("fit", "{table}", "-o", "p.nc", "--map", "params=N", "--ceiling", "2.3"),
        "--ceiling 2.3 needs --metric bounded",
    ),
    (
        ("fit", "{table}", "-o", "p.nc", "--map", "params=N", "--draws", "20"),
        "draws is 20 a chain; it must be at least 50, for fewer give neither a 95 % interval nor",
    ),
    (
        ("fit", "{table}", "-o", "p.nc", "--map", "params=N", "--warmup", "1"),
        "warmup is 1; it must be at least 50, for in fewer steps a chain does not find its step",
    ),
    (("fit", "none.csv", "-o", "p.nc"), "no run records at none.csv; give a .csv or .parquet file"),
    (("fit", "{table}", "-o", "p.nc"), "missing column(s) params; the table has group, N, samples"),
    (("fit", "{table}", "-o", "p.nc", "--map", "N"), "--map 'N' is not NAME=COLUMN"),
    (
        ("fit", "{table}", "-o", "p.nc", "--map", "params=N", "--law", "cubic"),
        "unknown law 'cubic'; choose one of coupled, additive",
    ),
    (
        ("fit", "{table}", "-o", "{folder}", "--map", "params=N"),
        "it is a folder; name a file",
    ),
    (
        ("fit", "{table}", "-o", "{table}/p.nc", "--map", "params=N"),
        "choose a folder you can write to",
    ),
    (("check", "none.nc"), "no posterior at none.nc; make one with `isoflop fit`"),
    (("check", "{table}"), "not a NetCDF file that can be read"),
    (("check", "{table}"), "; a posterior is what `isoflop fit RUNS -o posterior.nc` writes"),
    (
        ("fit", "{table}", "-o", "p.nc", "--map", "N=params"),
        "records have no column 'N'; write --map params=N, the name of isoflop's first",
    ),
    (("forecast", "p.nc", "--budget", "0"), "budget '0' is 0 FLOP; it must be positive and finite"),
    (("forecast", "p.nc", "--budget", "7 parsec"), "budget '7 parsec': unknown unit 'parsec'"),
    (("forecast", "p.nc"), "give either --budget, or --params with --unique (and --epochs)"),
    (("forecast", "p.nc", "--params", "1e5"), "--params needs --unique, the number of distinct"),
    (
        ("simulate", "-n", "ten", "-o", "j"),
        "-n is 'ten'; it must be a whole number, as 100k",
    ),
    (
        ("simulate", "-n", "10", "-o", "j", "--only", "1-2"),
        "--only '1-2' is no file number; give numbers, for example 0,1,2",
    ),
    (("train", "none.toml", "-o", "r"), "none.toml"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_a_mistake_ends_in_one_line_and_exit_code_2(
    words: tuple[str, ...],
    message: str,
    runs_csv: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [word.format(table=runs_csv, folder=tmp_path) for word in words]
    assert_refused(*given, said=message, folder=tmp_path, capsys=capsys)
