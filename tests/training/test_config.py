"""Run configurations, their ids, and grids read from TOML with every fault named at once."""

from dataclasses import replace
from pathlib import Path

import pytest

from isoflop.training.config import RunConfig, grid

RUN = RunConfig(features="full", particles=40, width=32, unique_samples=1000)

GRID = """
study = "jets"
data = "jets"
depth = 1

[[grid]]
features = ["kin", "full"]
particles = 40
width = [4, 8]
unique_samples = [1000, 2000, 4000]
seed = [0, 1]

[[grid]]
features = "full"
particles = 10
width = 8
unique_samples = 1000
epochs = [1, 4]
depth = 2
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "grid.toml"
    path.write_text(text)
    return path


def test_grid_crosses_the_lists_of_each_table(tmp_path: Path) -> None:
    asked = grid(write(tmp_path, GRID))
    assert len(asked.runs) == 2 * 2 * 3 * 2 + 2
    assert asked.data == tmp_path / "jets"
    assert {run.group for run in asked.runs} == {"kin-40", "full-40", "full-10"}
    assert {(run.group, run.depth) for run in asked.runs} >= {("full-40", 1), ("full-10", 2)}
    assert {run.study for run in asked.runs} == {"jets"}


def test_a_run_asked_for_twice_is_one_run(tmp_path: Path) -> None:
    once = grid(write(tmp_path, GRID)).runs
    table = GRID[GRID.index("[[grid]]") :]
    assert grid(write(tmp_path, GRID + table)).runs == once


def test_runs_above_the_flop_cap_are_left_out(tmp_path: Path) -> None:
    # 6 N D T is 6 x 424 x 1000 x 40 = 1.0e8 for the smallest of these.
    text = GRID.replace("width = [4, 8]", "width = [4, 8]\nmax_flops = 1.2e8")
    small = [run for run in grid(write(tmp_path, text)).runs if run.particles == 40]
    assert {(run.width, run.unique_samples) for run in small} == {(4, 1000)}


@pytest.mark.parametrize(
    ("name", "value"),
    [("width", 64), ("seed", 1), ("epochs", 2), ("learning_rate", 0.1), ("dataset", "other")],
)
def test_run_id_changes_with_whatever_changes_the_outcome(name: str, value: object) -> None:
    changed = replace(RUN, **{name: value})  # type: ignore[arg-type]
    assert changed.run_id != RUN.run_id


def test_run_id_does_not_depend_on_the_study_or_on_how_a_value_was_set() -> None:
    spelled_out = replace(RUN, study="b", batch_size=RUN.batch, learning_rate=RUN.rate)
    assert spelled_out.run_id == RUN.run_id


def test_steps_are_the_batches_of_all_epochs() -> None:
    run = replace(RUN, unique_samples=1000, epochs=3, batch_size=128)
    assert run.steps == 3 * 8


def test_rate_and_batch_follow_width_and_samples() -> None:
    wide, long = replace(RUN, width=256), replace(RUN, unique_samples=100_000)
    assert wide.rate < RUN.rate
    assert long.batch > RUN.batch


def test_every_fault_of_a_grid_is_named_in_one_error(tmp_path: Path) -> None:
    text = """
widht = 3
[[grid]]
features = ["kin", "all"]
particles = 200
width = [2, true]
pool = "max"
seed = []
learning_rate = 2
max_flops = -1
"""
    with pytest.raises(ValueError, match=r"grid\.toml: 10 fault") as error:
        grid(write(tmp_path, text))
    message = str(error.value)
    for fault in (
        "widht is unknown; the settings are study, dataset, features",
        "unique_samples is missing",
        "features must be one of kin, full, is 'all'",
        "particles must be a whole number from 1 to 128, is 200",
        "width must be a whole number from 4 to 512, is 2",
        "width must be a whole number from 4 to 512, is True",
        "pool must be one of mean, attention, is 'max'",
        "seed is an empty list; give at least one value",
        "learning_rate must be above 0 and at most 1, is 2",
        "max_flops must be above 0, is -1",
    ):
        assert fault in message
    assert "10 fault(s)" in message
    assert "\n" not in message


def test_heads_that_do_not_divide_the_width_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="heads must divide the width, 3 does not divide 8"):
        grid(write(tmp_path, GRID.replace("depth = 2", "heads = 3")))


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ("trunk_samples = 5000", "trunk_samples needs a decay and one epoch"),
        ("trunk_samples = 5000\ndecay = 0.2\nepochs = 2", "trunk_samples needs a decay and one"),
        ("trunk_samples = 500\ndecay = 0.2", "must not exceed trunk_samples 500, is 1000"),
        ("decay = 0.95", "decay 0.95 of 63 steps begins before the 6.3 steps of the warm-up end"),
        (
            "trunk_samples = 100000\ndecay = 0.2",
            "decay 0.2 of 8 steps begins before the 78.2 steps of the warm-up end; lower one of",
        ),
    ],
)
def test_branches_that_cannot_leave_their_trunk_are_named(
    tmp_path: Path, settings: str, fault: str
) -> None:
    text = f"""
[[grid]]
features = "kin"
particles = 40
width = 8
unique_samples = 1000
{settings}
"""
    with pytest.raises(ValueError, match=fault):
        grid(write(tmp_path, text))


def test_branches_of_one_trunk_share_batch_rate_and_warm_up() -> None:
    runs = [replace(RUN, unique_samples=n, trunk_samples=64_000, decay=0.2) for n in (1000, 64_000)]
    short, longest = runs
    assert short.trunk == longest.trunk == longest
    assert (short.batch, short.rate, short.rising) == (longest.batch, longest.rate, longest.rising)
    assert short.run_id != longest.run_id
    assert short.steps == 8 and longest.steps == 500


def test_default_heads_divide_every_width_of_the_grid() -> None:
    for width in (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512):
        network = replace(RUN, width=width).network
        assert network.width % network.heads == 0


def test_grid_without_tables_says_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \[\[grid\]\] table; add one with features"):
        grid(write(tmp_path, "study = 'a'"))


def test_missing_grid_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no grid file .*none.toml; give a .toml file"):
        grid(tmp_path / "none.toml")


def test_grid_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"grid.toml: not a TOML file \("):
        grid(write(tmp_path, "width = = 3"))


def test_cuts_are_lists_that_are_not_crossed(tmp_path: Path) -> None:
    text = GRID.replace("depth = 1\n", "depth = 1\nefficiencies = [0.3, 0.7]\nrejections = [50]\n")
    runs = grid(write(tmp_path, text)).runs
    assert len(runs) == len(grid(write(tmp_path, GRID)).runs)
    assert {run.efficiencies for run in runs} == {(0.3, 0.7)}
    assert {run.rejections for run in runs} == {(50,)}


def test_impossible_cuts_are_named(tmp_path: Path) -> None:
    text = GRID.replace("depth = 1\n", "depth = 1\nefficiencies = [1.2]\nrejections = [0.5]\n")
    with pytest.raises(ValueError) as caught:
        grid(write(tmp_path, text))
    assert "efficiencies must be a list of shares below 1, is (1.2,)" in str(caught.value)
    assert "rejections must be a list of numbers above 1, is (0.5,)" in str(caught.value)


def test_settings_at_their_default_do_not_enter_the_id() -> None:
    assert replace(RUN, warmup=0.1).run_id == RUN.run_id != replace(RUN, warmup=0.2).run_id
