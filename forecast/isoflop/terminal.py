"""How the commands speak: tables and numbers on stdout, notes and progress on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def show(content: Any) -> None:
    """Print text or a table on stdout, without the markup that names may look like."""
    from rich.console import Console

    # A pipe has no width; 100 columns hold the tables without folding.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
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


def number(value: float) -> str:
    """Four digits where that is plain, else as 7.49e9."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits}e{int(exponent)}"


def span(low: float, high: float) -> str:
    """An interval, from low to high."""
    return f"{number(low)} – {number(high)}"
