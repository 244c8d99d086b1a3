"""How a study's page writes the rows of its table: median and 68 % interval, spaces joined."""

from pathlib import Path
from typing import Any

import pandas as pd

STUDIES = Path(__file__).parents[2] / "studies"

Row = dict[Any, Any]


def joined(page: Path) -> str:
    """The text of a page, each run of white space one space."""
    return " ".join(page.read_text(encoding="utf-8").split())


def page_of(study: str) -> str:
    """The README of a study, so."""
    return joined(STUDIES / study / "README.md")


def rows_of(study: str) -> dict[tuple[str, str, float], Row]:
    """Rows of a study's table by group, quantity and point; 0 where there is no point."""
    table = pd.read_csv(STUDIES / study / f"{study}.csv")
    points = table["at"].fillna(0.0) if "at" in table else [0.0] * len(table)
    keys = zip(table["group"], table["quantity"], points, strict=True)
    return dict(zip(keys, table.to_dict("records"), strict=True))


def cell(row: Row, form: str) -> str:
    """Median (low–high), 68 %; the median alone where there is no interval."""
    median, low, high = (f"{row[name]:{form}}" for name in ("median", "low_68", "high_68"))
    text = median if low == "nan" else f"{median} ({low}–{high})"
    return text.replace("-", "−")
