"""The page of the rejection study quotes its table, and the table its published numbers."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.studies.quoting import page_of

from isoflop.forecast.rejection_curves import PART_REJECTIONS

STUDY = Path(__file__).parents[2] / "studies" / "rejection"
Row = dict[Any, Any]
Rows = dict[str, Row]


def rows(table: pd.DataFrame) -> Rows:
    """The table's rows by signal."""
    return {str(row["signal"]): row for row in table.to_dict("records")}


@pytest.fixture(scope="module")
def table() -> Rows:
    return rows(pd.read_csv(STUDY / "rejection.csv"))


def share(value: float) -> str:
    if value < 0.01:
        return "< 1 %"
    return "> 99 %" if value > 0.99 else f"{100 * value:.0f} %"


def jets(log10: float) -> str:
    return "never" if math.isinf(log10) else f"10^{log10:.1f}"


def size(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{float(f'{value:.2g}'):.0f}"


def band(row: Row, name: str) -> str:
    middle, low, high = (size(row[f"{name}_{q}"]) for q in ("median", "low_68", "high_68"))
    return f"{middle} ({low}–{high})"


def quoted(table: Rows) -> dict[str, str]:
    """Everything that the page says in numbers, by name."""
    found = {}
    for signal, row in table.items():
        low, middle, high = (
            jets(row[f"log10_samples_{q}"]) for q in ("low_68", "median", "high_68")
        )
        cells = [
            f"{signal}, {100 * row['efficiency']:g} %",
            f"{row['counted']:.0f} ({row['passed']:.0f} of {row['tested']:.0f})",
            band(row, "rejection_at_1e+06"),
            band(row, "rejection_at_1e+08"),
            f"{row['published']:.0f}",
            f"{middle} ({low}–{high})" if middle != "never" else f"never ({low}–never)",
            share(row["reached_by_1e+08"]),
            share(row["not_within_path"]),
        ]
        found[signal] = f"| {' | '.join(cells)} |"
    one = table["Hbb"]
    order = ("low_68", "median", "high_68")
    nearest = [jets(table["Hgg"][f"log10_samples_{q}"]) for q in order]
    needed = [one[f"loss_needed_{q}"] for q in order]
    slopes = [row["decades_per_nat_median"] for row in table.values()]
    return found | {
        "lowest": f"{one['lowest_loss']:.2f} nat",
        "loss_8": f"{one['loss_at_1e+08']:.2f} nat",
        "below_8": f"{one['lowest_loss'] - one['loss_at_1e+08']:.2f} nat below",
        "hbb_share": share(one["reached_by_1e+08"]),
        "hbb_8": band(one, "rejection_at_1e+08"),
        "hgg_jets": f"{nearest[1]} ({nearest[0]}–{nearest[2]})",
        "hbb_needed": f"{needed[1]:.2f} ({needed[0]:.2f}–{needed[2]:.2f})",
        "tbl_share": share(table["Tbl"]["reached_by_1e+08"]),
        "tbqq_share": share(table["Tbqq"]["reached_by_1e+08"]),
        "slopes": f"{min(slopes):.1f} to {max(slopes):.1f} decades a nat",
        "end": f"{one['path_ends_at']:.0e} jets",
    }


def test_the_page_quotes_the_table(table: Rows) -> None:
    page = page_of(STUDY.name)
    others = [row for signal, row in table.items() if signal not in ("Hgg", "Hbb")]
    reached = max(row["reached_by_1e+08"] for row in others)
    never = min(row["not_within_path"] for row in others)
    said = f"with {reached:.0%} or less, and never in {never:.0%} of the draws or more"
    assert said.replace("%", " %") in page
    assert not [text for text in quoted(table).values() if text not in page]


def test_counts_above_the_forecast_are_explained_by_the_next_run(table: Rows) -> None:
    page = page_of(STUDY.name)
    above = [
        name for name, row in table.items() if row["counted"] > row["rejection_at_1e+06_median"]
    ]
    assert sorted(above) == ["Tbl", "Tbqq"]
    first, other = table["Tbqq"], table["Tbl"]
    expected = " and ".join(band(row, "link_at_lowest") for row in (first, other))
    shares = " and ".join(share(row["share_below_counted"]) for row in (first, other))
    second = " and ".join(
        f"{row['second_counted']:.0f} ({row['second_passed']:.0f} of {row['tested']:.0f})"
        for row in (first, other)
    )
    lower = first["lowest_loss"] - first["loss_at_1e+06"]
    assert f"counted more ({first['counted']:.0f} and {other['counted']:.0f})" in page
    assert f"at a loss {lower:.2f} nat lower" in page
    assert f"at its own loss, {expected}: {shares} of new runs would reject less" in page
    assert f"at {first['second_loss']:.3f} nat, counted {second}" in page
    for row in (first, other):
        assert row["rejection_at_1e+06_low_68"] < row["counted"] < row["rejection_at_1e+06_high_68"]


def test_the_references_are_those_of_part_at_the_same_efficiency(table: Rows) -> None:
    ours = {name: (row["efficiency"], row["published"]) for name, row in table.items()}
    assert ours == PART_REJECTIONS


def test_a_later_quantile_of_the_crossing_is_never_nearer(table: Rows) -> None:
    order = ["low_95", "low_68", "median", "high_68", "high_95"]
    for row in table.values():
        crossing = [row[f"log10_samples_{name}"] for name in order]
        assert crossing == sorted(crossing)
