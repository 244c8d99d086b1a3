"""The page of the threshold study quotes its numbers, which are those of the committed records."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.studies.quoting import page_of

from isoflop.inference.threshold import label_runs
from isoflop.training.records import read_curves, read_records

STUDIES = Path(__file__).parents[2] / "studies"
STUDY = STUDIES / "overfitting_threshold"


@pytest.fixture(scope="module")
def numbers() -> dict[str, Any]:
    return dict(json.loads((STUDY / "overfitting_threshold.json").read_text(encoding="utf-8")))


def interval(row: dict[str, float]) -> str:
    return f"{row['median']:.2f} (68 %: {row['low_68']:.2f}–{row['high_68']:.2f}"


def size(row: dict[str, float]) -> str:
    values = [row[name] / 1000.0 for name in ("median", "low_68", "high_68")]
    return f"{values[0]:.0f} k ({values[1]:.0f}–{values[2]:.0f} k)"


def quoted(numbers: dict[str, Any]) -> dict[str, str]:
    """Everything that the page says in numbers, by name."""
    x, counts = numbers["parameters"]["x"], numbers["counts"]
    other = numbers["exponent_otherwise"]
    (name,) = other.keys() - numbers["counts_by_group"].keys()  # labels by more or fewer passes
    counted = numbers["counts_otherwise"][name]
    found = {
        "x": f"{interval(x)}; 95 %: {x['low_95']:.2f}–{x['high_95']:.2f})",
        "counts": f"{counts['overfitting']} overfitting, {counts['underfitting']} underfitting, "
        f"{counts['undecided']} undecided",
        "below": f"{numbers['share_of_posterior_below_published']:.0%}".replace("%", " %"),
        "alone": interval(other["full-10"]) + ")",
        "otherwise": interval(other[name]) + ")",
        "counts_otherwise": f"{counted['overfitting']} overfitting and {counted['underfitting']} "
        "underfitting",
        "centre": f"{numbers['unique_samples_of_N_thr']:.0f}",
    }
    for group in numbers["counts_by_group"]:
        own = numbers["counts_by_group"][group]
        cells = [group, *(str(own[n]) for n in ("overfitting", "underfitting", "undecided"))]
        cells.append(size(numbers["parameters"][f"N_thr[{group}]"]))
        found[group] = f"| {' | '.join(cells)} |"
    return found


def test_the_page_quotes_the_numbers(numbers: dict[str, Any]) -> None:
    page = page_of(STUDY.name)
    assert numbers["verdict"]["ok"]  # as the page says
    assert not [text for text in quoted(numbers).values() if text not in page]


def test_the_labels_are_those_of_the_committed_curves(numbers: dict[str, Any]) -> None:
    records = STUDIES / "jets" / "records"
    labelled = label_runs(
        read_records(records),
        read_curves(records),
        every_pass=numbers["passes_judged"] is None,
    )
    ours = dict(zip(labelled["run_id"], labelled["label"], strict=True))
    assert ours == {run["run_id"]: run["label"] for run in numbers["runs"]}
