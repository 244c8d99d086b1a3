"""`isoflop design` as its user meets it: what it writes, and one line for each mistake."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from tests.command import run

from isoflop.inference.posterior import save

WORDS = ("--budget", "6e16", "--spend", "2e14", "--group", "all")


@pytest.fixture(scope="module")
def path(posterior: xr.DataTree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("design") / "posterior.nc"
    save(posterior, out)
    return out


def test_the_runs_come_as_table_json_manifest_and_figure(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("d.json", "d.csv", "d.png")]
    options = zip(("--json", "--csv", "--figure"), map(str, files), strict=True)
    assert run("design", str(path), *WORDS, *(word for option in options for word in option)) == 0
    out = capsys.readouterr().out
    assert "the loss of all at C = 6.00e16 FLOP, 3.0 decades beyond its runs" in out
    assert "(linearised)" in out and "which no run removes" in out
    assert re.search(
        r"no choice among \d+ candidates \(N up to \S+, U up to \S+\) of at most 12 run\(s\) for "
        r"2.00e14 FLOP could be expected to leave less than \S+ nat; a larger --spend or others",
        out,
    )
    manifest, content = pd.read_csv(files[1]), json.loads(files[0].read_text())
    assert list(manifest)[:8] == [
        "group", "params", "unique_samples", "epochs", "flops", "kind", "seed", "rate_factor",
    ]  # fmt: skip
    assert len(manifest) == len(content["runs"]) >= 1
    assert content["sd_least"] <= content["sd_after"] < content["sd_now"]
    assert manifest["spend"].iloc[-1] <= 2e14
    assert files[2].stat().st_size > 10_000


def test_the_manifest_is_read_back_as_candidates(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = str(tmp_path / "d.csv")
    assert run("design", str(path), *WORDS, "--csv", manifest, "-q") == 0
    assert run("design", str(path), *WORDS, "--candidates", manifest, "--json", "-") == 0
    again = json.loads(capsys.readouterr().out)["runs"]
    assert {row["params"] for row in again} <= set(pd.read_csv(manifest)["params"])


GRID = """
[[grid]]
features = "full"
particles = 10
width = [8, 16, 32]
unique_samples = [4_000, 64_000]
"""


def test_a_training_grid_gives_the_runs_and_takes_the_chosen_ones(
    path: Path, tmp_path: Path
) -> None:
    config = pytest.importorskip("isoflop.training.config")
    grid, out = tmp_path / "grid.toml", tmp_path / "next.toml"
    grid.write_text(GRID.replace("full", "kin"))
    words = [str(path), "--budget", "6e16", "--spend", "1e10", "-q", "--group", "all"]
    assert (
        run("design", *words, "--candidates", str(grid), "--grid", str(out)) == 2
    )  # kin-10 is no group
    named = xr.open_datatree(path, engine="h5netcdf").load()
    renamed = path.with_name("renamed.nc")
    save(_with_group(named, "kin-10"), renamed)
    words[0], words[-1] = str(renamed), "kin-10"
    assert run("design", *words, "--candidates", str(grid), "--grid", str(out)) == 0
    asked, chosen = config.grid(grid), config.grid(out)
    assert chosen.data == asked.data and len(chosen.runs) >= 1
    sizes = {(run.width, run.unique_samples) for run in asked.runs}
    assert {(run.width, run.unique_samples) for run in chosen.runs} <= sizes


def _with_group(posterior: xr.DataTree, name: str) -> xr.DataTree:
    """The posterior with its first group under another name."""
    renamed = posterior.copy(deep=True)
    for part in ("posterior", "constant_data"):
        dataset = renamed[part].to_dataset()
        groups = [name, *map(str, dataset["group"].values[1:])]
        if "run_group" in dataset:
            own = dataset["run_group"].astype("U20")
            dataset = dataset.assign(run_group=own.where(own != "all", name))
        renamed[part] = xr.DataTree(dataset.assign_coords(group=groups))
    return renamed


MISTAKES = [
    (
        ("--budget", "6e16", "--spend", "1e3", "--group", "all"),
        "a spend of 1e+03 FLOP buys no candidate: the cheapest is N = 1e+04 on 1e+05 samples for "
        "1 epoch(s) in group 'all' at 6e+09 FLOP; spend at least that",
    ),
    (
        ("--budget", "6e16", "--spend", "1e14"),
        "this posterior has groups all, kinematic; name the one to forecast with --group",
    ),
    (
        ("--budget", "6e16", "--spend", "1e14", "--group", "x"),
        "unknown group 'x'; this posterior has all, kinematic",
    ),
    ((*WORDS, "--train-group", "y"), "unknown group 'y'; this posterior has all, kinematic"),
    (
        (*WORDS, "--quantity", "joy"),
        "unknown quantity 'joy'; choose one of loss, params_opt",
    ),
    ((*WORDS, "--candidates", "none.csv"), "no candidates at none.csv; give a .csv file"),
    ((*WORDS, "--candidates", "{narrow}"), "missing column(s) unique_samples, group; it has"),
    ((*WORDS, "--candidates", "{empty}"), "no candidates; give at least one row"),
    (
        (*WORDS, "--candidates", "{other}"),
        "no candidate in all; it has kinematic; choose with --train-group",
    ),
    ((*WORDS, "--grid", "g.toml"), "--grid needs --candidates GRID.toml"),
    ((*WORDS, "--figure", "d.xyz"), "--figure is d.xyz; its name must end in .png"),
    (("--budget", "6e16", "--spend", "3 parsec", "--group", "all"), "unknown unit 'parsec'"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_a_mistake_ends_in_one_line_and_exit_code_2(
    words: tuple[str, ...],
    message: str,
    path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    tables = {
        "narrow": "params\n1e5\n",
        "empty": "group,params,unique_samples\n",
        "other": "group,params,unique_samples\nkinematic,1e5,1e6\n",
    }
    for name, text in tables.items():
        path.with_name(f"{name}.csv").write_text(text)
    files = {name: path.with_name(f"{name}.csv") for name in tables}
    code = run("design", str(path), *[word.format(**files) for word in words])
    captured = capsys.readouterr()
    assert code == 2
    assert message in captured.err
    assert captured.err.startswith("isoflop: ") and captured.err.count("\n") == 1
    assert captured.out == "" and list(tmp_path.iterdir()) == []
