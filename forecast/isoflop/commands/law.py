"""`isoflop fit`, `check` and `backtest`: from run records to a law that can be trusted."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.commands.backtest_text import print_backtest, print_link_backtest
from isoflop.commands.law_text import print_law
from isoflop.commands.options import (
    Figure,
    Json,
    PosteriorOut,
    PosteriorPath,
    Quiet,
    Strict,
    note_verdict,
    read_runs,
    stop_if_untrusted,
    write_text,
)
from isoflop.terminal import note, progress_bar, show

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

LawName = Annotated[str, typer.Option("--law", help="coupled or additive.")]
LossBelow = Annotated[
    float, typer.Option(help="Leave out runs above this loss [nat], near guessing.")
]
Renames = Annotated[
    list[str] | None, typer.Option("--map", help="Column of the table, as params=N.")
]
Metric = Annotated[
    str, typer.Option(help="loss; or bounded: a rate that saturates at its ceiling.")
]
Ceiling = Annotated[
    float | None, typer.Option(help="Largest value of a bounded metric; 1 if not given.")
]


def fit(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Records: CSV, Parquet or folder.")],
    out: PosteriorOut,
    law: LawName = "coupled",
    engine: Annotated[
        str, typer.Option(help="nuts, or the bootstrap of approach3, approach3-coupled, varpro.")
    ] = "nuts",
    metric: Metric = "loss",
    ceiling: Ceiling = None,
    hold_out: Annotated[float, typer.Option(help="Share of the dearest runs kept apart.")] = 0.0,
    loss_below: LossBelow = float("inf"),
    rename: Renames = None,
    chains: Annotated[int, typer.Option(min=1, help="Markov chains.")] = 4,
    draws: Annotated[int, typer.Option(help="Draws a chain, at least 50.")] = 1000,
    warmup: Annotated[int, typer.Option(help="Adaptation steps a chain, at least 50.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampler.")] = 0,
    link: Annotated[
        bool, typer.Option(help="Fit the working points beside the records too, if there are any.")
    ] = True,
    strict: Strict = False,
    figure: Figure = "",
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Fit the scaling law to run records.

    Where working points lie beside the records, what a loss means for the physics is fitted too.

    Example: isoflop fit runs/ -o posterior.nc --hold-out 0.1
    """
    from isoflop.inference.posterior import save
    from isoflop.training.records import find_working_points, records_hash

    records = read_runs(runs, rename)
    from isoflop.inference.fit import fit as sample

    with progress_bar("sampling", visible=not quiet) as tick:
        posterior = sample(
            records,
            law,
            engine=engine,
            ceiling=_ceiling(metric, ceiling),
            hold_out=hold_out,
            loss_below=loss_below,
            chains=chains,
            draws=draws,
            warmup=warmup,
            seed=seed,
            source=str(runs),
            source_sha256=records_hash(runs),
            tick=tick,
            working_points=find_working_points(runs) if link else None,
        )
    save(posterior, out)
    note(f"posterior in {out}")
    _report(posterior, json_out, quiet=quiet)
    _draw_check(posterior, figure)
    stop_if_untrusted(posterior, 0.0, strict)


def check(
    path: PosteriorPath,
    strict: Strict = False,
    figure: Figure = "",
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Show a fit's parameters, diagnostics and verdict.

    Runs that were kept apart are compared with their forecast.

    Example: isoflop check posterior.nc --figure check.png
    """
    from isoflop.inference.posterior import load

    posterior = load(path)
    _report(posterior, json_out, quiet=quiet)
    _draw_check(posterior, figure)
    stop_if_untrusted(posterior, 0.0, strict)


def backtest(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Records: CSV, Parquet or folder.")],
    holdout: Annotated[
        float, typer.Option(help="Hide the runs above the largest compute over this.")
    ] = 10.0,
    rolling: Annotated[
        bool, typer.Option("--rolling", help="Several cut-offs: 3, 10, 30 and 100.")
    ] = False,
    methods: Annotated[
        str, typer.Option(help="Comma-separated: isoflop, approach3, approach3-coupled, varpro, …")
    ] = "isoflop",
    physics: Annotated[
        bool, typer.Option("--physics", help="Score the counts at working points, not the loss.")
    ] = False,
    law: LawName = "coupled",
    metric: Metric = "loss",
    ceiling: Ceiling = None,
    loss_below: LossBelow = float("inf"),
    rename: Renames = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samplers.")] = 0,
    figure: Figure = "",
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Hide the dearest runs, forecast them, score the forecast.

    Example: isoflop backtest runs.csv --holdout 10 --methods isoflop,approach3
    """
    import pandas as pd

    records = read_runs(runs, rename)
    if physics:
        _backtest_physics(
            runs, records[~(records["loss"] >= loss_below)], holdout, law, seed, json_out, quiet
        )
        return
    from isoflop.inference.backtest import ROLLING_HOLDOUTS, to_json
    from isoflop.inference.backtest import backtest as run

    outcomes = [
        run(
            records[~(records["loss"] >= loss_below)],
            holdout=factor,
            methods=tuple(name.strip() for name in methods.split(",")),
            law=law,
            ceiling=_ceiling(metric, ceiling),
            file=str(runs),
            seed=seed,
        )
        for factor in (ROLLING_HOLDOUTS if rolling else (holdout,))
    ]
    rows = [row for outcome in outcomes for row in outcome.rows]
    skipped = [one for outcome in outcomes for one in outcome.skipped]
    if not rows:
        reasons = (f"{one.group} at holdout {one.holdout:g}: {one.reason}" for one in skipped)
        raise ValueError(f"no group of {runs} can be back-tested: {'; '.join(reasons)}")
    write_text(to_json(rows), json_out)
    if not quiet and json_out != "-":
        print_backtest(rows, skipped)
    if figure:
        from isoflop.forecast.check_figures import backtest_figure
        from isoflop.forecast.figures import save_figure

        save_figure(backtest_figure(pd.DataFrame(map(asdict, rows))), figure)
        note(f"figure in {figure}")


def _backtest_physics(
    runs: Path,
    records: "pd.DataFrame",
    holdout: float,
    law: str,
    seed: int,
    json_out: str,
    quiet: bool,
) -> None:
    """Score the predicted counts of the working points beside the records."""
    from isoflop.inference.link_backtest import backtest_link, to_json
    from isoflop.training.records import read_working_points

    points = read_working_points(runs)
    rows = backtest_link(records, points, holdout=holdout, law=law, seed=seed)
    write_text(to_json(rows), json_out)
    if not quiet and json_out != "-":
        print_link_backtest(rows)


def _draw_check(posterior: "xr.DataTree", out: str) -> None:
    if not out:
        return
    from isoflop.forecast.check_figures import check_figure
    from isoflop.forecast.figures import save_figure
    from isoflop.forecast.table import fitted_comparison, held_out_comparison

    held = held_out_comparison(posterior) if "predictions" in posterior.children else None
    save_figure(check_figure(fitted_comparison(posterior), held), out)
    note(f"figure in {out}")


def _report(posterior: "xr.DataTree", json_out: str, *, quiet: bool) -> None:
    """Parameters, diagnostics, verdict and the runs that were kept apart."""
    if quiet or json_out == "-":
        note_verdict(posterior, 0.0, only_bad=True)
    if quiet and not json_out:
        return
    from isoflop.forecast.rejection import link_summary
    from isoflop.forecast.table import held_out_comparison, summarise_held_out
    from isoflop.inference.diagnostics import diagnose
    from isoflop.inference.verdict import judge, sentence

    diagnosis = diagnose(posterior)
    held = None
    if "predictions" in posterior.children:
        held = summarise_held_out(held_out_comparison(posterior))
    if json_out:
        content = {
            "verdict": asdict(judge(posterior)),
            "sentence": sentence(posterior),
            "divergent": diagnosis.divergent,
            "prior_driven": diagnosis.prior_driven,
            "influential": diagnosis.influential,
            "parameters": json.loads(diagnosis.table.to_json(orient="index")),
            "held_out": None if held is None else asdict(held),
            "link": link_summary(posterior),
        }
        write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", json_out)
    if quiet or json_out == "-":
        return
    print_law(posterior, diagnosis)
    for kind, seen in link_summary(posterior).items():
        show(
            f"Link from the loss to the {kind} of {', '.join(seen['signals'])}: "
            f"{seen['runs']} runs of {seen['lowest_loss']:.3g} to {seen['highest_loss']:.3g} nat."
        )
    if held is not None:
        show(
            f"Kept apart: the {held.runs} most expensive runs. "
            f"Mean error of the predicted loss {held.mean_absolute_error_percent:.2f} % "
            f"(bias {held.bias_percent:+.2f} %, predicted over observed); the 68 % interval holds "
            f"{held.coverage_68:.0%} of them, the 95 % interval {held.coverage_95:.0%} "
            f"(width {held.median_width_95_percent:.1f} %)."
        )
    for warning in str(posterior.attrs.get("warnings", "")).splitlines():
        show(f"Note: {warning}.")
    show(sentence(posterior))


def _ceiling(metric: str, ceiling: float | None) -> float:
    """The bound of the metric: none for a loss, 1 for a rate unless another is given."""
    if metric not in ("loss", "bounded"):
        raise ValueError(f"unknown metric {metric!r}; choose loss or bounded")
    if metric == "loss" and ceiling is not None:
        raise ValueError(f"--ceiling {ceiling:g} needs --metric bounded")
    bound = 1.0 if ceiling is None else ceiling
    if not bound > 0:
        raise ValueError(f"the ceiling is {bound:g}; it must be positive, 1 for a rate")
    return bound if metric == "bounded" else float("inf")
