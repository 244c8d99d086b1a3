"""Numbers and intervals as every table shows them."""

import math
from dataclasses import replace

import pytest
from rich.table import Table

from isoflop.commands.backtest_text import print_backtest
from isoflop.inference.backtest import Row
from isoflop.terminal import interval_head, interval_row, number, show, span


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"), (16.0, "16"), (15.98, "16.0"), (1.8, "1.80"), (0.57314, "0.573"),
        (249.6, "250"), (30123.0, "30100"), (99951.0, "1.00e5"), (7.49e9, "7.49e9"),
        (-2953.2, "-2950"), (4.62e-4, "4.62e-4"), (0.001, "0.00100"), (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)  # fmt: skip
def test_a_number_has_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_an_interval_below_zero_is_no_subtraction() -> None:
    assert span(1.0, 2.5) == "1 – 2.50"
    assert span(-255.0, 2630.0) == "-255 to 2630"


def row(median: float, half: float) -> dict[str, float]:
    ends = {"low_95": -2.0, "low_68": -1.0, "median": 0.0, "high_68": 1.0, "high_95": 2.0}
    return {name: median + half * step for name, step in ends.items()}


@pytest.mark.parametrize(
    ("median", "half", "shown"),
    [
        (0.57314, 0.07, "0.573 0.503 – 0.643 0.433 – 0.713"),
        (2.00512, 0.006, "2.005 1.999 – 2.011 1.993 – 2.017"),
        (2.00512, 0.0001, "2.00512 2.00502 – 2.00522 2.00492 – 2.00532"),
        (3563.0, 900.0, "3560 2660 – 4460 1760 – 5360"),
    ],
)
def test_a_row_has_as_many_digits_as_its_interval_needs(
    median: float, half: float, shown: str
) -> None:
    assert " ".join(interval_row("loss", row(median, half)).split()[1:]) == shown


def test_what_is_exact_has_no_interval() -> None:
    assert interval_row("ratio", row(1.15470, 0.0)).split() == ["ratio", "1.155"]


def test_a_table_fits_a_terminal_of_80_columns() -> None:
    widest = interval_row("rejection:Hqql at ε 0.995", row(3.3e10, 1.1e10))
    assert len(widest) <= 80 and len(interval_head()) <= 80


def test_a_table_wider_than_the_terminal_loses_no_digit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    table = Table()
    for name in "abcd":
        table.add_column(name, no_wrap=True)
    table.add_row(*("0.148 – 0.425",) * 4)
    show(table)
    shown = capsys.readouterr().out
    assert shown.count("0.148 – 0.425") == 4 and "…" not in shown


def test_a_back_test_of_several_groups_has_a_line_for_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = Row(
        "t.csv", "a", "isoflop", "coupled", 10.0, 20, 3, 1.0, 0.5, 0.6, 1.0, 5.0, 1.0, 2.0, 4.0
    )
    other = replace(one, group="b", n_train=30, mae=3.0, bias=-1.5, coverage_68=0.8, crps=4.0)
    print_backtest([one, other], [])
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[3].split()) == "2 groups isoflop 10 50+6 2.00 -0.50 70% 100% 5.0 2.00 8.0"
    assert lines[4] == "over groups: means, that of the CRPS geometric; runs and seconds in all"
    print_backtest([one], [])
    assert "groups" not in capsys.readouterr().out
