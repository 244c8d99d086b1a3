"""`isoflop significance`: what a better b-tagging efficiency is worth in HH(4b)."""

import json
from pathlib import Path
from typing import Annotated

import typer

from isoflop.commands.options import Json, Quiet, write_text
from isoflop.terminal import interval_head, interval_row, show


def significance(
    q: Annotated[float, typer.Option(help="b efficiency over that of the reference tagger.")],
    r1: Annotated[
        str | None,
        typer.Option(help="Reducible over irreducible background: 1, or '1 x/ 3' (log-normal)."),
    ] = None,
    objects: Annotated[
        int | None, typer.Option("-k", "--objects", help="Tagged objects: 4 resolved, 2 boosted.")
    ] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="Take everything but q from this file.")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws of what is uncertain.")] = 4000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of those draws.")] = 0,
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Say what a better b-tagging efficiency is worth in HH(4b).

    Two taggers are compared at one background rejection: significance ratio and luminosity
    equivalent.

    Example: isoflop significance --q 1.05 --r1 1 --json -
    """
    if scenario is None and r1 is None:
        raise ValueError("give --r1, reducible over irreducible background, or --scenario")
    if scenario is not None and (r1 is not None or objects is not None):
        raise ValueError("--scenario holds r1 and the tagged objects; leave --r1 and -k out")
    from isoflop.forecast.significance import compare, compare_plainly, read_scenario

    if scenario:
        analysis = read_scenario(scenario)
        name, found = analysis.name, compare(analysis, q, draws=draws, seed=seed)
    else:
        own = 4 if objects is None else objects
        name = "two taggers"
        found = compare_plainly(q, r1 or "", objects=own, draws=draws, seed=seed)
    write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", json_out)
    if quiet or json_out == "-":
        return
    show(
        f"{name}: {found['tagged_objects']} tagged objects, q = {q:g}, "
        f"r1 = {found['r1'] or 'from yields'}"
    )
    rows = {name: found[name] for name in ("significance_ratio", "luminosity_equivalent")}
    if any(row["low_95"] != row["high_95"] for row in rows.values()):
        show(interval_head())
    for quantity, row in rows.items():
        show(interval_row(quantity, row))
