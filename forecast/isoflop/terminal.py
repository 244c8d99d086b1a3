"""How the commands speak: tables and numbers on stdout, notes and progress on stderr."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def show(content: Any) -> None:
    """Print text or a table on stdout, without the markup that names may look like."""
    from rich.console import Console
    from rich.measure import Measurement

    # A pipe has no width; 100 columns hold the tables without folding.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    if not isinstance(content, str):  # a table wider than the terminal would lose its last digits
        whole = Measurement.get(console, console.options.update(max_width=1000), content).maximum
        console.width = max(console.width, whole)
    console.print(content, markup=False, soft_wrap=isinstance(content, str))


def note(line: str) -> None:
    """Print a line on stderr."""
    sys.stderr.write(line + "\n")


@contextmanager
def progress_bar(title: str, *, visible: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr that a `tick(done, total)` moves; nothing where stderr is no terminal."""
    if not (visible and sys.stderr.isatty()):
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def number(value: float, digits: int = 3) -> str:
    """So many digits where that is plain, else as 7.49e9; a whole number without decimals."""
    size = abs(float(f"{value:.{digits}g}"))
    if not math.isfinite(value):
        return f"{value}"
    if value == 0 or 1e-3 <= size < 1e5:
        if size >= 10.0 ** (digits - 1) or value == round(value):
            return f"{float(f'{value:.{digits}g}'):.0f}"
        return f"{value:#.{digits}g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def span(low: float, high: float, digits: int = 3) -> str:
    """An interval, from low to high."""
    return f"{number(low, digits)} {'to' if low < 0 else '–'} {number(high, digits)}"


def interval_head(width: int = 26) -> str:
    """The head of a table of `interval_row`s."""
    return f"  {'':<{width}}{'median':>10}{'68 %':>19}{'95 %':>19}"


def interval_row(name: str, row: Mapping[Any, Any], width: int = 26) -> str:
    """A quantity with the `median` and the intervals `low_68` … `high_95` of a row.

    It has as many digits as show two of the 68 % interval's width, at least three. What is exact
    has no interval.
    """
    if row["low_95"] == row["high_95"]:
        return f"  {name:<{width}}{number(row['median'], 4):>10}"
    digits = _digits(row["low_68"], row["high_68"])
    ranges = [span(row[f"low_{level}"], row[f"high_{level}"], digits) for level in (68, 95)]
    median = number(row["median"], digits)
    return f"  {name:<{width}}{median:>10}  {ranges[0]:>17}  {ranges[1]:>17}"


def _digits(low: float, high: float) -> int:
    """Digits that show two of an interval's width, from three to six."""
    size, wide = max(abs(low), abs(high)), high - low
    if not (0.0 < wide < math.inf):
        return 3
    return min(max(math.floor(math.log10(size)) - math.floor(math.log10(wide)) + 2, 3), 6)
