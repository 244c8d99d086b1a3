"""A wrong call ends in one line that names the right one, before any work; help is read whole."""

import re
from pathlib import Path

import pytest
from tests.command import assert_refused, run

CALLS = [
    ("forecast p.nc --buget 1", "forecast has no option --buget; did you mean --budget? See"),
    ("forecast p.nc --budget 1 -json x", "no option -json; did you mean --json? See isoflop fo"),
    ("fit a.csv -o p.nc --no-lnk", "fit has no option --no-lnk; did you mean --no-link? See"),
    ("fit a.csv -x", "fit has no option -x; see isoflop fit --help"),
    ("forecast", "argument POSTERIOR is missing: File of `isoflop fit`; see isoflop forecast --h"),
    ("design p.nc --spend 1", "option --budget is missing: Budget of the forecast to sharpen, as"),
    ("forcast p.nc", "no command 'forcast'; did you mean forecast? See isoflop --help"),
    ("xyz", "no command 'xyz'; choose among simulate, train, fit, check, forecast, plan, design,"),
    ("--verion", "no option --verion; did you mean --version? See isoflop --help"),
    ("significance --q x --r1 1", "--q is 'x'; it must be a number; see isoflop significance --he"),
    ("significance --q 1 --r1 1 --draws 0", "--draws is '0'; it must be at least 1; see isoflop"),
    ("forecast p.nc --budget 1 --seed -1", "--seed is '-1'; it must be at least 0; see isoflop f"),
    ("plan p.nc --gpus 1.5", "--gpus is '1.5'; it must be a whole number; see isoflop plan --help"),
    ("fit a.csv -o", "option '-o' requires an argument; see isoflop fit --help"),
    ("plan p.nc --budget 10 USD", "plan cannot use 'USD'; put a value with spaces in quotes; see"),
    ("fit a.csv -o p.nc --quiet=3", "option '--quiet' does not take a value; see isoflop fit"),
]


@pytest.mark.parametrize(("call", "said"), CALLS)
def test_a_wrong_call_ends_in_one_line_with_the_way_to_help(
    call: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*call.split()) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.startswith("isoflop: ") and captured.err.endswith(" --help\n")
    assert captured.err.count("\n") == 1 and captured.out == ""


FILES = [
    ("fit {runs} -o y.csv", "-o is y.csv; its name must end in .nc"),
    ("fit {runs} -o y", "-o is y; its name must end in .nc"),
    ("fit {runs} -o y.nc --figure a.gif", "--figure is a.gif; its name must end in .png, .pdf or"),
    ("fit {runs} -o y.nc --json a.yaml", "--json is a.yaml; its name must end in .json"),
    ("fit {runs} -o y.nc --json {runs}/a.json", "choose a folder you can write to"),
    ("check p.nc --figure -", "--figure is -; its name must end in .png, .pdf or .svg"),
    ("forecast p.nc --budget 1 --csv a.parquet", "--csv is a.parquet; its name must end in .csv"),
    ("forecast p.nc --budget 1 --rejection-figure a.gif", "--rejection-figure is a.gif; its name"),
    ("plan p.nc --budget 1 --production a.pdf", "--production is a.pdf; its name must end in .csv"),
    ("plan p.nc --budget 1 --jobs a.md", "--jobs is a.md; its name must end in .csv or .json"),
    ("design p.nc --budget 1 --spend 1 --grid a.csv", "--grid is a.csv; its name must end in .to"),
    ("report p.nc -o rep.pdf", "-o is rep.pdf; its name must end in .html"),
    ("import logs -o a.txt --params N", "-o is a.txt; its name must end in .csv"),
    ("law a.toml -o gn3.csv", "-o is gn3.csv; its name must end in .nc"),
]


@pytest.mark.parametrize(("call", "said"), FILES)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    call: str,
    said: str,
    runs_csv: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = call.format(runs=runs_csv).split()
    assert_refused(*words, said=said, folder=tmp_path, capsys=capsys)


@pytest.mark.parametrize("columns", ["80", "50"])
def test_the_list_of_commands_is_read_whole(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert run("--help") == 0
    shown = capsys.readouterr().out.partition("Commands:\n")[2]
    own = shown.splitlines()
    assert "..." not in shown and max(map(len, own)) <= int(columns)
    sentences = re.split(r"\n  (?=\S)", shown.rstrip())
    assert len(sentences) == 13 and all(one.endswith(".") for one in sentences)
    if columns == "80":
        assert len(own) == 13


def test_help_has_a_short_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fit", "-h") == 0
    assert "Example: isoflop fit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("grup", "column 'grup' is kept but not used; did you mean 'group'?"),
        ("unique_sample", "column 'unique_sample' is kept but not used; did you mean 'unique_samp"),
        ("los_stderr", "column 'los_stderr' is kept but not used; did you mean 'loss_stderr'?"),
        ("Flops", "column 'Flops' is kept but not used; did you mean 'flops'?"),
        ("epochs", "column 'epochs' is kept but not used; passes are told by 'unique_samples', w"),
        ("train_loss", ""),
        ("group", ""),
    ],
)
def test_a_misspelt_column_is_said_not_to_be_used(
    column: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the fault that ends the command: two runs are no sweep."""
    path = tmp_path / "runs.csv"
    path.write_text(f"N,samples,loss,{column}\n1e3,1e4,2,1\n1e4,1e5,1,1\n")
    assert run("fit", str(path), "--map", "params=N", "-o", str(tmp_path / "p.nc")) == 2
    *notes, fault = capsys.readouterr().err.splitlines()
    assert len(notes) == bool(said) and "".join(notes).startswith(said)
    assert fault.startswith("isoflop: ")


def test_a_table_with_semicolons_is_told_to_have_commas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("params;samples;loss\n1e3;1e4;2\n")
    assert run("fit", str(path), "-o", str(tmp_path / "p.nc")) == 2
    said = "columns must be separated by commas; it has 'params;samples;loss'\n"
    assert capsys.readouterr().err == f"isoflop: {path}: {said}"
