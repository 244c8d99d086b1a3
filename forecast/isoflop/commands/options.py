"""What the commands share: their common options, and how they end and write."""

import sys
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isoflop.files import FIGURES, require_suffix, require_writable
from isoflop.terminal import note

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

UNTRUSTED = 3
"""Exit code of a failed verdict under --strict."""

STDOUT = "-"
"""Name of the file that is the standard output."""


def written(*names: str, suffixes: tuple[str, ...], help: str, metavar: str = "FILE") -> Any:
    """An option that names a file to write, refused before any work if it cannot be one."""

    def check(param: typer.CallbackParam, value: Path | str | None) -> Path | str | None:
        if value and not (str(value) == STDOUT and ".json" in suffixes):
            require_writable(value)
            require_suffix(value, suffixes, thing=min(param.opts, key=len))
        return value

    return typer.Option(*names, metavar=metavar, help=help, callback=check)


Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress, no tables, no verdict but a bad one."),
]
Json = Annotated[
    str, written("--json", suffixes=(".json",), help="Write JSON (.json); - is stdout.")
]
Figure = Annotated[str, written("--figure", suffixes=FIGURES, help="Draw (.png, .pdf, .svg).")]
PosteriorOut = Annotated[
    Path, written("-o", "--out", suffixes=(".nc",), help="Posterior file (.nc).")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 3 if the verdict is bad.")]
PosteriorPath = Annotated[Path, typer.Argument(metavar="POSTERIOR", help="File of `isoflop fit`.")]


def note_verdict(posterior: "xr.DataTree", decades: float, *, only_bad: bool) -> None:
    """The verdict in one line on stderr; a good one only where that is asked for."""
    from isoflop.inference.verdict import judge, sentence

    if not only_bad or not judge(posterior, decades=decades).ok:
        note(sentence(posterior, decades=decades))


def stop_if_untrusted(posterior: "xr.DataTree", decades: float, strict: bool) -> None:
    """Exit 3 on a bad verdict, if that was asked for."""
    if not strict:
        return
    from isoflop.inference.verdict import judge

    if not judge(posterior, decades=decades).ok:
        raise typer.Exit(UNTRUSTED)


def write_text(text: str, out: str) -> None:
    """Write text to a file, or to stdout for `-`; nothing for an empty name."""
    if out == STDOUT:
        sys.stdout.write(text)
    elif out:
        from isoflop.files import writing

        with writing(out) as temporary:
            temporary.write_text(text, encoding="utf-8")


def read_runs(path: Path, rename: list[str] | None = None) -> "pd.DataFrame":
    """Run records, with a note on stderr for columns that seem misspelt and for copied runs."""
    from isoflop.training.record_faults import copied_runs
    from isoflop.training.records import read_records, unused_columns

    names = renames(rename or [])
    records = read_records(path, rename=names)
    for line in (*unused_columns(path, rename=names), *copied_runs(records)):
        note(line)
    return records


def renames(pairs: list[str]) -> dict[str, str]:
    """`params=N` pairs as a mapping from the contract's names to the table's."""
    wrong = [pair for pair in pairs if len(pair.split("=")) != 2]
    if wrong:
        raise ValueError(f"--map {wrong[0]!r} is not NAME=COLUMN, for example --map params=N")
    from isoflop.training.records import RunRecord

    known = [one.name for one in fields(RunRecord)]
    for name, column in (pair.split("=") for pair in pairs):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}?" if near else f"choose among {', '.join(known)}"
            if column in known:
                meant = f"write --map {column}={name}, the name of isoflop's first"
            raise ValueError(f"--map {name}=…: records have no column {name!r}; {meant}")
    return dict(pair.split("=") for pair in pairs)
