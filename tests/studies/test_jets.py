"""The page of the jets quotes its records, and of the demo's fit what README shows."""

import re

import pandas as pd
import pytest
from tests.studies.quoting import STUDIES, page_of


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return pd.read_parquet(STUDIES / "jets" / "records" / "runs.parquet")


@pytest.fixture(scope="module")
def law() -> dict[str, list[str]]:
    """Median and bounds of every parameter of a group, as the first block of README prints them."""
    block = (STUDIES.parent / "README.md").read_text(encoding="utf-8").split("```console")[1]
    rows = re.findall(r"^(\S+-\d+) +(.*)\n +(.*)$", block, re.MULTILINE)
    assert len(rows) == 4
    return {
        group: [
            f"{median} ({low}–{high})"
            for median, (low, high) in zip(
                medians.split(), re.findall(r"(\S+) – (\S+)", bounds), strict=True
            )
        ]
        for group, medians, bounds in rows
    }


def two_digits(interval: str) -> str:
    return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.2f}", interval)


def test_the_page_counts_the_runs(runs: pd.DataFrame) -> None:
    page = page_of("jets")
    again = runs["samples"] > runs["unique_samples"]
    assert page.split("?")[1].strip().startswith(f"{len(runs)} transformers")
    overfitting = int((runs["status"] == "overfitting").sum())
    assert f"{(~again).sum()} one-epoch, {again.sum()} over repeated jets" in page
    assert f"{overfitting} end overfitting" in page
    for group, count in runs["group"].value_counts().items():
        assert f"`{group}` {count}" in page
    cells = runs.groupby(["group", "params", "samples", "unique_samples"])["seed"].nunique()
    assert f"{(cells >= 3).sum()} cells with three seeds" in page
    least, most = (f"{value:.1e}".replace("+", "") for value in runs["flops"].agg(["min", "max"]))
    assert f"{least.replace('e0', 'e')} to {most} FLOP" in page
    assert f"training about 1.3 core-hours for {runs['samples'].sum() / 1e6:.1f} million" in page


def test_the_page_quotes_the_demos_fit(law: dict[str, list[str]]) -> None:
    page = page_of("jets")
    first, *others = (
        two_digits(law[group][0]) for group in ("full-128", "full-40", "full-10", "kin-128")
    )
    assert f"L∞ is {first[:-1]}, 68 %)" in page
    for interval in others:
        assert interval in page
    assert f"a factor ω of {law['full-128'][4]} for `full-128`" in page


def test_the_page_quotes_the_runs_kept_apart() -> None:
    readme = " ".join((STUDIES.parent / "README.md").read_text(encoding="utf-8").split())
    pattern = (
        r"the (\d+) most expensive runs. Mean error of the predicted loss (\S+) % \(bias (\S+) %"
    )
    pattern += r".*? holds (\d+)% of them, the 95 % interval (\d+)%"
    count, error, bias, narrow, wide = re.search(pattern, readme).groups()  # type: ignore[union-attr]
    page = page_of("jets")
    said = (
        f"The {count} most expensive runs are predicted with a mean error of {float(error):.1f} %"
    )
    assert f"{said} and a bias of {float(bias):+.1f} %" in page
    assert int(wide) == 100
    assert f"hold {narrow} % of them, the 95 % intervals all, the dearest of `full-40`" in page
