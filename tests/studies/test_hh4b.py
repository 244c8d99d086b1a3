"""The page of the HH(4b) study quotes its table, whose numbers obey the formula."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.studies.quoting import page_of

from isoflop.forecast.significance import significance_ratio

STUDY = Path(__file__).parents[2] / "studies" / "hh4b"
Row = dict[Any, Any]
Rows = dict[tuple[str, str, str, str], Row]
NAMES = ("hh4b", "hh4b_boosted")
BUDGETS = ("end", "1e+13", "1e+14", "1e+15", "1e+16", "1e+18")


def rows(table: pd.DataFrame) -> Rows:
    """Rows by scenario, r₁, budget and quantity; the perfect tagger has the budget `perfect`."""
    end = table["budget_flops"].min()
    found: Rows = {}
    for row in table.to_dict("records"):
        flops = row["budget_flops"]
        budget = "perfect" if pd.isna(flops) else "end" if flops == end else f"{flops:.0e}"
        share = str(row["r1"])
        share = share if "x" in share else f"{float(share):g}"
        found[row["scenario"], share, budget, row["quantity"]] = row
    return found


@pytest.fixture(scope="module")
def table() -> Rows:
    return rows(pd.read_csv(STUDY / "hh4b.csv"))


def band(row: Row) -> str:
    return f"{row['median']:.2f} ({row['low_68']:.2f}–{row['high_68']:.2f})"


def quoted(table: Rows) -> dict[str, str]:
    """Everything that the page says in numbers, by name."""
    found, r1 = {}, "1 x/ 3"
    for budget in BUDGETS:
        one = table["hh4b", r1, budget, "significance_ratio"]
        mantissa, exponent = f"{one['budget_flops']:.1e}".split("e")
        power = f"{mantissa.removesuffix('.0')}e{int(exponent)}"
        cells = [
            f"{power} ({one['decades_beyond']:.1f})",
            f"{one['samples']:.0e}".replace("e+0", "e"),
            f"{one['nat_below_counted']:.2f}",
        ]
        for name in NAMES:
            for quantity in ("efficiency:b", "significance_ratio", "luminosity_equivalent"):
                cells.append(band(table[name, r1, budget, quantity]))
        found[budget] = f"| {' | '.join(cells)} |"
    for share in ("0.25", "1", "4"):
        cells = [share]
        for name in NAMES:
            cells += [
                band(table[name, share, "1e+15", quantity])
                for quantity in ("significance_ratio", "luminosity_equivalent")
            ]
        found[f"r1={share}"] = f"| {' | '.join(cells)} |"
    for name in NAMES:
        for budget, short in (("1e+15", "e15"), ("end", "now"), ("perfect", "perfect")):
            for quantity, letter in (("significance_ratio", "z"), ("luminosity_equivalent", "l")):
                one = table[name, r1, budget, quantity]
                found[f"{name}_{letter}_{short}"] = band(one)
    ours = table["hh4b", r1, "1e+15", "luminosity_equivalent"]
    found["l95"] = f"{ours['low_95']:.2f}–{ours['high_95']:.2f}"
    found["reference"] = f"{ours['reference_loss']:.2f} nat"
    found["below"] = f"{ours['nat_below_counted']:.2f} nat below"
    return found


def test_the_page_quotes_the_table(table: Rows) -> None:
    page = page_of(STUDY.name)
    assert not [text for text in quoted(table).values() if text not in page]


def test_the_luminosity_is_the_square_of_the_ratio(table: Rows) -> None:
    for key, row in table.items():
        if key[3] == "significance_ratio":
            other = table[(*key[:3], "luminosity_equivalent")]
            assert other["high_95"] == pytest.approx(row["high_95"] ** 2, rel=2e-3)


def test_a_gain_counts_for_more_where_more_of_the_background_is_reducible(table: Rows) -> None:
    exact = sorted(
        (float(key[1]), row["median"])
        for key, row in table.items()
        if key[0] == "hh4b" and key[3] == "significance_ratio" and "x" not in key[1]
    )
    assert [ratio for _, ratio in exact] == sorted(ratio for _, ratio in exact)
    median = table["hh4b", "1 x/ 3", "1e+15", "efficiency:b"]["median"] / 0.77
    for share, ratio in exact:
        assert ratio == pytest.approx(float(significance_ratio(median, share)), rel=0.03)
