"""`isoflop simulate` and `isoflop train`: from nothing to run records."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from isoflop.commands.options import Json, Quiet, write_text
from isoflop.terminal import note


def simulate(
    number: Annotated[str, typer.Option("-n", "--number", help="Jets in all, as 100k or 1e5.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the ROOT files.")],
    split: Annotated[str, typer.Option(help="train, val or test: the file indices.")] = "train",
    jets_per_file: Annotated[str, typer.Option(help="Jets in one file.")] = "10k",
    only: Annotated[str, typer.Option(help="Only the files of these numbers, as 0,1,2.")] = "",
    workers: Annotated[int | None, typer.Option(help="Processes; default one a core.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same jets.")] = 1,
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Simulate jets of the ten JetClass classes as ROOT files.

    The files have the layout of JetClass; a call that was interrupted goes on.

    Example: isoflop simulate -n 100k -o jets/
    """
    from isoflop.training.jets.simulate import simulate as run

    summary = run(
        out,
        _count(number, "-n"),
        seed=seed,
        split=split,
        jets_per_file=_count(jets_per_file, "--jets-per-file"),
        only=[_index(text) for text in _parts(only)],
        workers=workers,
        quiet=quiet,
    )
    write_text(json.dumps(asdict(summary), default=str) + "\n", json_out)
    if not quiet:
        rate = summary.n_simulated / max(summary.seconds, 1e-9)
        note(f"{summary.n_jets} jets in {summary.directory} ({rate:.0f} jets/s this time)")


def train(
    grid: Annotated[Path, typer.Argument(metavar="GRID", help="TOML file of the sweep.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the run records.")],
    data: Annotated[Path | None, typer.Option(help="Folder of jets, if not the grid's.")] = None,
    only: Annotated[str, typer.Option(help="Only these runs, by id; no merged tables.")] = "",
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Read the jets into their cache and stop.")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Runs at once.")] = None,
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Train every run of a grid that has no record yet.

    Call it again to resume.

    Example: isoflop train studies/jets/grid.toml -o runs/
    """
    try:
        from isoflop.training.sweep import prepare_grid, train_grid
    except ModuleNotFoundError as error:
        raise ImportError(f'{error.name} is missing; pip install "isoflop[training]"') from error

    if prepare:
        runs = prepare_grid(grid, data=data)
        if not quiet:
            note(f"the jets of {runs} runs are ready")
        return
    summary = train_grid(grid, out, data=data, only=_parts(only), workers=workers, quiet=quiet)
    write_text(json.dumps(asdict(summary), default=str) + "\n", json_out)
    if not quiet:
        others = f", {summary.elsewhere} by another process" if summary.elsewhere else ""
        note(f"{summary.trained} of {summary.runs} runs trained{others}; records in {summary.out}")


def _parts(text: str) -> list[str]:
    """The parts of a comma-separated list; none of an empty text."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _index(text: str) -> int:
    """The number of a file."""
    if not text.isdecimal():
        raise ValueError(f"--only {text!r} is no file number; give numbers, for example 0,1,2")
    return int(text)


def _count(text: str, option: str) -> int:
    """A number of jets from `100k`, `1.5M` or `1e5`."""
    scale = {"k": 1e3, "M": 1e6}.get(text[-1:], 1.0)
    try:
        value = float(text.rstrip("kM")) * scale
    except ValueError:
        value = float("nan")
    if not value >= 1 or value != round(value):
        raise ValueError(f"{option} is {text!r}; it must be a whole number, as 100k or 1e5")
    return round(value)
