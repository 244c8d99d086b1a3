"""The page on schedules quotes what its script computes from its table."""

from typing import Any

import pandas as pd
import pytest
from studies.schedules.schedules import ALONE, RULE, compare
from tests.studies.quoting import STUDIES, Row, page_of

NAMES = {
    "branch, batch 16, decay 0.2": "branch, batch 16, decay 0.2",
    "branch, batch 32, decay 0.2": "branch, batch 32, decay 0.2",
    "branch, batch 32, decay 0.5": "branch, batch 32, decay 0.5",
    "branch, batch 64, decay 0.2": "branch, batch 64, decay 0.2",
    RULE: "alone, ruled batch and rate, linear",
    f"{RULE}, decay 0.2": "alone, ruled batch and rate, decay 0.2",
}
"""What the page calls each arm."""


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(STUDIES / "schedules" / "schedules.csv")


def compared(table: pd.DataFrame) -> dict[Any, Row]:
    """Rows of the comparison by arm and width."""
    return {key: dict(row) for key, row in compare(table, ALONE).to_dict("index").items()}


def signed(row: Row) -> str:
    return f"{row['away_percent']:+.1f} ± {row['error']:.1f}".replace("-", "−")


def test_the_page_quotes_the_table(table: pd.DataFrame) -> None:
    page, found = page_of("schedules"), compared(table)
    for arm, name in NAMES.items():
        narrow, wide = (found[arm, width] for width in (8, 32))
        spent = f"{narrow['spent']:.2f}".removesuffix(".00")
        assert f"| {name} | {signed(narrow)} | {signed(wide)} | {spent} |" in page, arm
    assert f"{len(table)} runs" in page


def test_the_answer_quotes_the_branches_of_the_same_batch(table: pd.DataFrame) -> None:
    answer = page_of("schedules").split("**Answer.**")[1].split("![")[0]
    narrow, wide = (compared(table)["branch, batch 16, decay 0.2", width] for width in (8, 32))
    assert f"cost {narrow['spent']:.0%}".replace("%", " %") in answer
    assert f"lie {-narrow['away_percent']:.1f} ± {narrow['error']:.1f} % *lower*" in answer
    assert f"{wide['away_percent']:.1f} ± {wide['error']:.1f} % higher at width 32" in answer
    row = compared(table[table["samples"] >= 4_000])["branch, batch 16, decay 0.2", 32]
    assert f"{row['away_percent']:.1f} ± {row['error']:.1f} % from 4k jets on" in answer
