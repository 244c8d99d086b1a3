"""`isoflop design`: which runs to train next."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.commands.design_text import print_design
from isoflop.commands.options import (
    Figure,
    Json,
    PosteriorPath,
    Quiet,
    note_verdict,
    write_text,
    written,
)
from isoflop.terminal import note

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import xarray as xr

    from isoflop.forecast.design import Design
    from isoflop.forecast.goals import Worth


def design(
    path: PosteriorPath,
    spend: Annotated[str, typer.Option(help="Compute of the new runs, as 1e14 or '10 GPU-h'.")],
    budget: Annotated[str, typer.Option(help="Budget of the forecast to sharpen, as 1e15.")],
    group: Annotated[str, typer.Option(help="Group of that forecast, if there are many.")] = "",
    quantity: Annotated[
        str,
        typer.Option(help="Forecast to sharpen: loss, params_opt (the best N), rejection:Hbb, …"),
    ] = "loss",
    scenario: Annotated[
        Path | None, typer.Option(help="Analysis of significance_ratio, as scenarios/hh4b.toml.")
    ] = None,
    candidates: Annotated[
        Path | None,
        typer.Option(
            help="Runs to choose from: CSV (params, unique_samples, …) or training grid; by "
            "default a grid up to four times beyond the fitted ones."
        ),
    ] = None,
    train_group: Annotated[
        list[str] | None, typer.Option(help="Train in this group; default that of the forecast.")
    ] = None,
    unique_cap: Annotated[float | None, typer.Option(help="Distinct samples there are.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs at most.")] = 12,
    repeats: Annotated[int, typer.Option(min=1, help="Seeds of a cell at most.")] = 3,
    checks: Annotated[int, typer.Option(min=0, help="Learning-rate checks of a cell.")] = 1,
    batch: Annotated[int | None, typer.Option(min=1, help="Runs before the next fit.")] = None,
    speed: Annotated[
        str | None, typer.Option(help="What one GPU sustains, as '4e14' or '400 TFLOP/s'.")
    ] = None,
    json_out: Json = "",
    csv_out: Annotated[
        str, written("--csv", suffixes=(".csv",), help="Job manifest, a row a run (.csv).")
    ] = "",
    grid_out: Annotated[
        str, written("--grid", suffixes=(".toml",), help="Grid for `isoflop train` (.toml).")
    ] = "",
    figure: Figure = "",
    quiet: Quiet = False,
) -> None:
    """Choose the runs to train next to sharpen a forecast.

    They are those that reduce its variance most for their compute (linearised).

    Example: isoflop design posterior.nc --spend 1e14 --budget 1e15 --group full-40
    """
    from isoflop.forecast.budget import parse_budget, parse_speed

    sustained = parse_speed(speed) if speed else None
    flops, allowed = (parse_budget(text, flops_per_second=sustained) for text in (budget, spend))
    if grid_out and (candidates is None or candidates.suffix != ".toml"):
        raise ValueError("--grid needs --candidates GRID.toml, whose settings the runs take")
    from isoflop.forecast import design as plan
    from isoflop.forecast.goals import make_goal
    from isoflop.forecast.selection import Limits
    from isoflop.inference.posterior import load

    posterior = load(path)
    own = _only_group(posterior, group)
    worth = _worth(posterior, own, quantity, scenario)
    goal = make_goal(
        posterior, flops, group=own, quantity=quantity, worth=worth, unique_cap=unique_cap
    )
    table = _candidates(posterior, candidates, train_group or [own], unique_cap)
    limits = Limits(spend=allowed, runs=runs, repeats=repeats, checks=checks)
    found = plan.design(posterior, table, goal, limits, batch=batch)
    write_text(plan.to_json(found), json_out)
    if csv_out:
        write_text(found.table.to_csv(index=False), csv_out)
    if grid_out and candidates is not None:
        from isoflop.commands.training_grid import to_toml

        write_text(to_toml(candidates, found.table), grid_out)
    if not quiet and json_out != "-":
        print_design(found, flops, own, table, limits)
    if figure:
        _draw(posterior, found, figure)
    note_verdict(posterior, goal.decades, only_bad=quiet)


def _only_group(posterior: "xr.DataTree", group: str) -> str:
    """The group that is forecast: the one named, or the only one."""
    from isoflop.forecast.predict import group_names

    names = group_names(posterior)
    if not group and len(names) > 1:
        raise ValueError(
            f"this posterior has groups {', '.join(names)}; name the one to forecast with --group"
        )
    return group or names[0]


def _worth(
    posterior: "xr.DataTree", group: str, quantity: str, scenario: Path | None
) -> "Worth | None":
    """What a loss is worth in a quantity; of a rejection the logarithm, which is linear in it."""
    from isoflop.forecast.goals import QUANTITIES

    if quantity in QUANTITIES:
        return None
    import numpy

    from isoflop.forecast.outcomes import REJECTION, SCENARIO, outcome_draws, quantities
    from isoflop.forecast.significance import read_scenario

    analysis = read_scenario(scenario) if scenario else None
    known = [one.name for one in quantities(posterior, group, analysis)]
    if quantity not in known and not (analysis is None and quantity in SCENARIO):
        names = ", ".join(dict.fromkeys((*QUANTITIES, *known)))
        raise ValueError(f"unknown quantity {quantity!r}; choose one of {names}")
    of_rejection = quantity.startswith(REJECTION)

    def worth(loss: "np.ndarray") -> "np.ndarray":
        draws = outcome_draws(posterior, group, loss, names=[quantity], scenario=analysis)
        return numpy.log(draws[quantity]) if of_rejection else draws[quantity]

    return worth


def _candidates(
    posterior: "xr.DataTree", source: Path | None, groups: list[str], unique_cap: float | None
) -> "pd.DataFrame":
    """The runs to choose from: the default grid, or those of a file in the groups to train in."""
    from isoflop.forecast.candidates import complete_candidates, default_grid, read_candidates

    if source is None:
        return default_grid(posterior, groups=groups, unique_cap=unique_cap)
    if source.suffix == ".toml":
        from isoflop.commands.training_grid import as_candidates

        table = complete_candidates(as_candidates(source), posterior, source=str(source))
    else:
        table = read_candidates(source, posterior)
    kept = table[table["group"].isin(groups)]
    if unique_cap is not None:
        kept = kept[kept["unique_samples"] <= unique_cap]
    if kept.empty:
        raise ValueError(
            f"{source}: no candidate in {', '.join(groups)}"
            + ("" if unique_cap is None else f" with at most {unique_cap:g} distinct samples")
            + f"; it has {', '.join(table['group'].unique())}; choose with --train-group"
        )
    return kept.reset_index(drop=True)


def _draw(posterior: "xr.DataTree", found: "Design", out: str) -> None:
    from isoflop.forecast.candidates import fitted_cells
    from isoflop.forecast.design_figures import design_figure
    from isoflop.forecast.figures import save_figure

    save_figure(design_figure(found, fitted_cells(posterior)), out)
    note(f"figure in {out}")
