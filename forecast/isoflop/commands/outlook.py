"""`isoflop forecast`: what a budget that nobody has spent would buy."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.commands.options import (
    Figure,
    Json,
    PosteriorPath,
    Quiet,
    Strict,
    note_verdict,
    stop_if_untrusted,
    write_text,
    written,
)
from isoflop.commands.outlook_text import print_forecast
from isoflop.files import FIGURES
from isoflop.terminal import note

if TYPE_CHECKING:
    import xarray as xr

    from isoflop.forecast.fans import OwnRun
    from isoflop.forecast.table import ForecastRow


def forecast(
    path: PosteriorPath,
    budget: Annotated[
        list[str] | None, typer.Option(help="Compute, as 1e21, '3 EFLOP' or '100 GPU-h'.")
    ] = None,
    params: Annotated[float | None, typer.Option(help="N, instead of a budget.")] = None,
    unique: Annotated[
        float | None, typer.Option(help="U, distinct samples, with --params.")
    ] = None,
    epochs: Annotated[float, typer.Option(help="Passes over them, with --params.")] = 1.0,
    unique_cap: Annotated[
        float | None, typer.Option(help="Distinct samples there are; beyond it data repeat.")
    ] = None,
    speed: Annotated[
        str | None, typer.Option(help="What one GPU sustains, as '4e14' or '400 TFLOP/s'.")
    ] = None,
    group: Annotated[list[str] | None, typer.Option(help="Only these groups.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the run-to-run scatter.")] = 0,
    json_out: Json = "",
    csv_out: Annotated[str, written("--csv", suffixes=(".csv",), help="Write CSV (.csv).")] = "",
    scenario: Annotated[
        Path | None, typer.Option(help="Analysis that the tagger serves, as scenarios/hh4b.toml.")
    ] = None,
    rejection_figure: Annotated[
        str,
        written("--rejection-figure", suffixes=FIGURES, help="Draw each signal's rejection."),
    ] = "",
    signal: Annotated[
        list[str] | None, typer.Option(help="Only these signals in --rejection-figure.")
    ] = None,
    strict: Strict = False,
    figure: Figure = "",
    quiet: Quiet = False,
) -> None:
    """Forecast what a budget that nobody has spent would buy.

    The loss, what it is worth, and the compute-optimal network and data, with intervals.

    Example: isoflop forecast posterior.nc --budget 1e15 --json -
    """
    from isoflop.forecast.budget import parse_budget, parse_speed

    sustained = parse_speed(speed) if speed else None
    budgets = [parse_budget(text, flops_per_second=sustained) for text in budget or []]
    if bool(budgets) == (params is not None):
        raise ValueError("give either --budget, or --params with --unique (and --epochs)")
    if params is not None and unique is None:
        raise ValueError("--params needs --unique, the number of distinct samples")
    if signal and not rejection_figure:
        raise ValueError("--signal chooses what --rejection-figure draws; give that too")
    from isoflop.forecast import table
    from isoflop.forecast.outcomes import missing_link, require_signal
    from isoflop.forecast.significance import read_scenario
    from isoflop.inference.posterior import load

    analysis = read_scenario(scenario) if scenario else None
    posterior = load(path)
    if analysis:
        require_signal(posterior, analysis)
    if params is not None and unique is not None:
        rows = table.forecast_point(
            posterior,
            params,
            unique_samples=unique,
            epochs=epochs,
            groups=group,
            scenario=analysis,
            seed=seed,
        )
    else:
        rows = []
        for flops in budgets:
            rows += table.forecast_budget(
                posterior,
                flops,
                groups=group,
                unique_cap=unique_cap,
                scenario=analysis,
                seed=seed,
            )
    write_text(table.to_json(rows), json_out)
    if csv_out:
        table.write_csv(rows, csv_out)
    if not quiet and json_out != "-":
        print_forecast(posterior, table.to_intervals(rows), analysis)
    if figure:
        own = rows if params is not None or unique_cap is not None else []
        _draw_forecast(posterior, [row.budget_flops for row in rows], group, own, figure)
    if rejection_figure:
        reach = sorted({row.budget_flops for row in rows})
        _draw_rejection(posterior, reach, group, signal, rejection_figure)
    if analysis and not quiet and (reason := missing_link(posterior, analysis)):
        note(f"Without significance: {reason}.")
    farthest = max(row.extrapolation_decades for row in rows) or _below(posterior, rows)
    note_verdict(posterior, farthest, only_bad=quiet)
    stop_if_untrusted(posterior, farthest, strict)


def _below(posterior: "xr.DataTree", rows: "list[ForecastRow]") -> float:
    """Decades from the cheapest run down to the lowest of these budgets, negative; else 0."""
    from isoflop.forecast.predict import group_draws

    if posterior.attrs.get("engine") == "published":
        return 0.0
    cheapest = {one.group: group_draws(posterior, one.group).smallest_flops for one in rows}
    return min(0.0, *(round(math.log10(one.budget_flops / cheapest[one.group]), 3) for one in rows))


def _draw_forecast(
    posterior: "xr.DataTree",
    budgets: list[float],
    groups: list[str] | None,
    own: "list[ForecastRow]",
    out: str,
) -> None:
    """Draw the best plans in one pass and, from their rows, the runs that were asked for."""
    from isoflop.forecast.fans import forecast_curves
    from isoflop.forecast.figures import save_figure
    from isoflop.forecast.forecast_figures import forecast_figure

    curves = forecast_curves(posterior, sorted(set(budgets)), groups=groups)
    curves = replace(curves, own=_own_runs(own)) if own else curves
    save_figure(forecast_figure(curves), out)
    note(f"figure in {out}")


def _own_runs(rows: "list[ForecastRow]") -> "tuple[OwnRun, ...]":
    from isoflop.forecast.fans import OwnRun
    from isoflop.forecast.table import to_intervals

    losses = to_intervals(row for row in rows if row.quantity == "loss")
    bands = losses[["low_95", "low_68", "median", "high_68", "high_95"]].to_numpy()
    return tuple(
        OwnRun(run["group"], run["budget_flops"], run["params"], band)
        for run, band in zip(losses.to_dict("records"), bands, strict=True)
    )


def _draw_rejection(
    posterior: "xr.DataTree",
    budgets: list[float],
    groups: list[str] | None,
    signals: list[str] | None,
    out: str,
) -> None:
    from isoflop.forecast.figures import save_figure
    from isoflop.forecast.rejection_curves import rejection_curves
    from isoflop.forecast.rejection_figure import rejection_figure

    curves = rejection_curves(posterior, budgets, groups=groups, signals=signals)
    save_figure(rejection_figure(curves), out)
    note(f"figure in {out}")
