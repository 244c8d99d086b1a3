"""What the commands share: their common options, and how they end and write."""

import sys
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import xarray as xr

UNTRUSTED = 3
"""Exit code of a failed verdict under --strict."""

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no tables.")]
Json = Annotated[str, typer.Option("--json", metavar="FILE", help="Write JSON; - is stdout.")]
Figure = Annotated[str, typer.Option("--figure", metavar="FILE", help="Draw (.png, .pdf, .svg).")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 3 if the verdict is bad.")]
PosteriorPath = Annotated[Path, typer.Argument(metavar="POSTERIOR", help="File of `isoflop fit`.")]


def require_figure_name(path: str) -> None:
    """Refuse a figure that could not be drawn before anything is computed for it."""
    from isoflop.forecast.figures import require_figure_format

    require_figure_format(path)


def stop_if_untrusted(posterior: "xr.DataTree", decades: float, strict: bool) -> None:
    """Exit 3 on a bad verdict, if that was asked for."""
    if not strict:
        return
    from isoflop.inference.verdict import judge

    if not judge(posterior, decades=decades).ok:
        raise typer.Exit(UNTRUSTED)


def write_text(text: str, out: str) -> None:
    """Write text to a file, or to stdout for `-`; nothing for an empty name."""
    if out == "-":
        sys.stdout.write(text)
    elif out:
        from isoflop.files import writing

        with writing(out) as temporary:
            temporary.write_text(text, encoding="utf-8")


def renames(pairs: list[str]) -> dict[str, str]:
    """`params=N` pairs as a mapping from the contract's names to the table's."""
    wrong = [pair for pair in pairs if len(pair.split("=")) != 2]
    if wrong:
        raise ValueError(f"--map {wrong[0]!r} is not NAME=COLUMN, for example --map params=N")
    from isoflop.training.records import RunRecord

    known = [one.name for one in fields(RunRecord)]
    for name in (pair.split("=")[0] for pair in pairs):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}?" if near else f"choose among {', '.join(known)}"
            raise ValueError(f"--map {name}=…: records have no column {name!r}; {meant}")
    return dict(pair.split("=") for pair in pairs)
