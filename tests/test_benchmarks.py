"""The benchmarks at a reduced size: that they run and print what is quoted, not how fast."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = (
    "file group method law holdout n_train n_test mae bias coverage_68 coverage_95 width_95 crps "
    "log_score seconds"
)

pytestmark = pytest.mark.slow


def printed_by(name: str, *options: object) -> str:
    """What a benchmark prints; an error of its own fails the test."""
    command = [sys.executable, f"{ROOT}/benchmarks/{name}.py", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(pattern: str, text: str) -> list[float]:
    """All numbers that a pattern with one group finds."""
    return [float(found.replace(",", "")) for found in re.findall(pattern, text)]


def test_training_compares_networks_of_as_many_parameters_at_three_sizes() -> None:
    text = printed_by("training", "--seconds", 0.1)
    ours, padded = (
        numbers(r"with ([\d,]+) parameters, ", text),
        numbers(r"([\d,]+) parameters:", text),
    )
    assert len(ours) == len(padded) == 3
    assert ours == pytest.approx(padded, rel=0.01)
    assert len(numbers(r"without a network: (\d+) times ours", text)) == 3


def test_the_cache_is_compared_with_uproot() -> None:
    text = printed_by("cache", "--rounds", 1, "--jets", 100)
    assert len(numbers(r"([\d.]+) of uproot's speed", text)) == 2
    assert len(numbers(r"([\d.]+) times uproot's speed", text)) == 2


def test_simulation_prints_its_rate() -> None:
    assert re.fullmatch(
        r"\d+ jets/s per core, and [\d.]+ s to start a file\n", printed_by("simulation", 10)
    )


def test_extrapolation_scores_every_method_and_writes_its_rows(tmp_path: Path) -> None:
    options = "--tables", "jets", "--holdouts", 10, "--out", tmp_path
    text = printed_by("extrapolation", "--quick", *options)
    methods = {"isoflop", "varpro", "power-law", "shown"}
    assert methods <= set(text[text.index("Means over groups") :].split())
    rows = json.loads((tmp_path / "extrapolation.json").read_text())
    assert {row["method"] for row in rows} == methods
    assert all(list(row) == ROW.split() for row in rows)
    assert (tmp_path / "extrapolation.png").stat().st_size > 0


def test_both_samplers_agree_on_every_quantile() -> None:
    text = printed_by("sampler", "--rows", 100)
    assert "every quantile agrees within 4 standard errors" in text


def test_a_plan_with_everything_stays_below_two_gigabytes() -> None:
    text = printed_by("plan")
    assert text.startswith("plan, 4000 draws x 100 budgets")
    (memory,) = numbers(r"peak memory ([\d.]+) GB", text)
    assert memory < 2.0


def test_design_compares_five_ways_to_choose(tmp_path: Path) -> None:
    options = "--replicas", 1, "--tables", "olmo", "--out", tmp_path
    text = printed_by("design", *options)
    for method in ("isoflop", "random", "cheapest", "D-optimal", "V-optimal", "none", "all"):
        assert method in text
    assert json.loads((tmp_path / "design.json").read_text())


def test_help_is_timed() -> None:
    assert re.fullmatch(r"isoflop --help: best [\d.]+ s, median [\d.]+ s\n", printed_by("startup"))
