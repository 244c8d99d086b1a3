"""`isoflop report`: the whole answer as one page that can be sent to somebody."""

import hashlib
import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from isoflop.commands.options import (
    Json,
    PosteriorPath,
    Quiet,
    Strict,
    note_verdict,
    stop_if_untrusted,
    write_text,
    written,
)
from isoflop.terminal import note


def report(
    path: PosteriorPath,
    out: Annotated[Path, written("-o", "--out", suffixes=(".html",), help="The page (.html).")],
    budgets: Annotated[
        str, typer.Option(metavar="LO:HI", help="Range of the slider, as 1e12:1e16.")
    ] = "",
    scenario: Annotated[
        Path | None, typer.Option(help="Analysis that the tagger serves, as scenarios/hh4b.toml.")
    ] = None,
    costs: Annotated[Path | None, typer.Option(help="Cost file, as costs/delphes.toml.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="Only these groups.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the forecast, as there.")] = 0,
    strict: Strict = False,
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Write the whole answer as one self-contained HTML page.

    Verdict, forecast with a slider for the budget, law and runs; it needs no network.

    Example: isoflop report posterior.nc -o report.html --budgets 1e12:1e16
    """
    from isoflop.files import writing
    from isoflop.forecast.report.grid import parse_range

    reach = parse_range(budgets) if budgets else None
    from isoflop.forecast.costmodel import read_costs
    from isoflop.forecast.report.contents import Request
    from isoflop.forecast.report.page import build_report
    from isoflop.forecast.significance import read_scenario
    from isoflop.inference.posterior import load
    from isoflop.inference.verdict import PUBLISHED

    analysis = read_scenario(scenario) if scenario else None
    prices = read_costs(costs) if costs else None
    posterior = load(path)
    if posterior.attrs.get("engine") == PUBLISHED:
        raise ValueError(f"{path} is a published law and has no runs to report; use forecast")
    origin = {
        "command": shlex.join(["isoflop", *sys.argv[1:]]),
        "posterior": str(path),
        "SHA-256 of the posterior": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    request = Request(
        groups=group,
        budgets=reach,
        scenario=analysis,
        costs=prices,
        seed=seed,
        origin=origin,
    )
    page = build_report(posterior, request)
    with writing(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    size = out.stat().st_size
    write_text(json.dumps({"out": str(out), "bytes": size}) + "\n", json_out)
    if not quiet:
        note(f"report in {out} ({size / 1e6:.1f} MB)")
    note_verdict(posterior, 0.0, only_bad=True)
    stop_if_untrusted(posterior, 0.0, strict)
