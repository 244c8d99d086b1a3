"""`isoflop plan`: how to spend a budget, or what a target costs."""

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
    read_runs,
    stop_if_untrusted,
    write_text,
    written,
)
from isoflop.files import MANIFESTS, TABLES
from isoflop.terminal import note, show

if TYPE_CHECKING:
    import xarray as xr

    from isoflop.forecast.advice import Advice
    from isoflop.forecast.costmodel import Costs
    from isoflop.forecast.limits import Constraints
    from isoflop.forecast.option import Option
    from isoflop.forecast.significance import Scenario


def plan(
    path: PosteriorPath,
    budget: Annotated[
        str, typer.Option(help="As '2000 USD', '5 days on 8 GPUs', '300 core-h', '1e18 FLOP'.")
    ] = "",
    target: Annotated[str, typer.Option(help="As 'loss 0.4' or 'rejection:Hbb 1000'.")] = "",
    probability: Annotated[float, typer.Option(help="How sure to be of the target.")] = 0.9,
    costs: Annotated[
        list[Path] | None, typer.Option(help="Cost file; several make several options.")
    ] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="Analysis file, as scenarios/hh4b.toml.")
    ] = None,
    group: Annotated[list[str] | None, typer.Option(help="Only these groups.")] = None,
    quantity: Annotated[
        str, typer.Option(help="Best in this; the target's, or the loss, if not given.")
    ] = "",
    measured: Annotated[
        Path | None, typer.Option(help="Run records whose speed replaces the cost file's.")
    ] = None,
    within: Annotated[
        float, typer.Option(help="How sure to be that the true cost is within the budget.")
    ] = 0.5,
    tolerance: Annotated[
        float, typer.Option(help="Plans within this share of the best loss are as good.")
    ] = 0.001,
    max_jets: Annotated[float | None, typer.Option(help="At most so many distinct jets.")] = None,
    max_passes: Annotated[float | None, typer.Option(help="At most so many passes.")] = None,
    days: Annotated[float | None, typer.Option(help="Training takes at most so long,")] = None,
    gpus: Annotated[int | None, typer.Option(help="on so many devices.")] = None,
    latency: Annotated[str, typer.Option(help="Serving a jet takes at most, as '1 ms'.")] = "",
    far: Annotated[
        bool, typer.Option("--far", help="Allow budgets and caps out of reach of the runs.")
    ] = False,
    production: Annotated[
        str,
        written(
            "--production", suffixes=TABLES, help="Write the jets to produce (.csv, .json, .md)."
        ),
    ] = "",
    jobs: Annotated[
        str, written("--jobs", suffixes=MANIFESTS, help="Write the trainings to run (.csv, .json).")
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings a plan in --jobs.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all that is drawn.")] = 0,
    figure: Figure = "",
    json_out: Json = "",
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Say how to spend a budget best, or what a target costs.

    Example: isoflop plan posterior.nc --costs costs/delphes.toml --budget "100 USD"
    """
    from isoflop.forecast.advice import advise
    from isoflop.forecast.advice_json import to_json
    from isoflop.forecast.outcomes import missing_link, require_signal
    from isoflop.forecast.target import parse_target

    if not (budget or target):
        raise ValueError("give --budget, --target, or both")
    wanted = parse_target(target, probability=probability) if target else None
    limits = _constraints(max_jets, max_passes, days, gpus, latency)
    models = _cost_models(costs or [], measured)
    money, models = _money(budget, models) if budget else (None, models)
    from isoflop.forecast.significance import read_scenario
    from isoflop.inference.posterior import load

    posterior = load(path)
    analysis = read_scenario(scenario) if scenario else None
    if analysis:
        require_signal(posterior, analysis)
    options = _options(posterior, models, group, limits, analysis, seed=seed, far=far)
    advice = advise(
        options,
        budget=money,
        target=wanted,
        quantity=quantity or None,
        within=within,
        tolerance=tolerance,
        far=far,
        text=budget,
    )
    write_text(to_json(advice), json_out)
    _write_requests(advice, production, jobs, gpus=gpus or 1, seeds=seeds)
    if analysis and not quiet and (reason := missing_link(posterior, analysis)):
        note(f"Without significance: {reason}.")
    _finish(posterior, advice, figure, quiet=quiet, tables=json_out != "-", strict=strict)


def _constraints(
    jets: float | None, passes: float | None, days: float | None, gpus: int | None, latency: str
) -> "Constraints":
    from isoflop.forecast.limits import Constraints
    from isoflop.forecast.units import parse_amount, require_amount

    seconds = None
    if latency:
        read = parse_amount(latency, thing="latency", example="1 ms")
        seconds = require_amount(read, ["ms", "s"], thing="latency", text=latency)
    return Constraints(jets=jets, passes=passes, days=days, gpus=gpus, latency=seconds)


def _cost_models(paths: list[Path], measured: Path | None) -> dict[str, "Costs"]:
    """The cost models by the names of their files, with the speed of records if they are given."""
    from isoflop.forecast.costmodel import read_costs, training_alone, with_measured_speed

    if measured and not paths:
        raise ValueError("--measured needs --costs, the file whose speed it replaces")
    models = {one.stem: read_costs(one) for one in paths} or {"": training_alone()}
    if measured is None:
        return models
    records = read_runs(measured)
    return {
        name: with_measured_speed(one, records, source=str(measured))
        for name, one in models.items()
    }


def _money(budget: str, models: dict[str, "Costs"]) -> tuple[float, dict[str, "Costs"]]:
    """A budget in money by the first cost file, and the files in its currency if it is in one."""
    from isoflop.forecast.money import currency_of, in_currency, worth
    from isoflop.forecast.units import parse_amount

    amount = parse_amount(budget, thing="budget", example="2000 USD")
    currency = currency_of(amount.measures)
    if currency:
        models = {name: in_currency(one, currency, text=budget) for name, one in models.items()}
    money = worth(next(iter(models.values())), amount, text=budget)
    if not 0.0 < money < float("inf"):
        raise ValueError(f"budget {budget!r} must be positive and finite, as '2000 USD'")
    return money, models


def _options(
    posterior: "xr.DataTree",
    models: dict[str, "Costs"],
    groups: list[str] | None,
    limits: "Constraints",
    scenario: "Scenario | None",
    *,
    seed: int,
    far: bool,
) -> list["Option"]:
    """Every group under every cost model."""
    from isoflop.forecast.option import make_option
    from isoflop.forecast.predict import group_names

    return [
        make_option(
            posterior,
            group,
            costs,
            name=group if len(models) == 1 else f"{group}, {name}",
            constraints=limits,
            scenario=scenario,
            seed=seed,
            far=far,
        )
        for group in groups or group_names(posterior)
        for name, costs in models.items()
    ]


def _write_requests(advice: "Advice", production: str, jobs: str, *, gpus: int, seeds: int) -> None:
    """The production request of the best option, and the trainings of all."""
    from isoflop.forecast.production import production_table, training_jobs, write_rows

    plans = [one.plans for one in advice.answers if one.plans is not None]
    if (production or jobs) and not plans:
        raise ValueError("there is no plan to write: no budget reaches the target")
    if production:
        if len(plans) > 1:
            names = ", ".join(one.option.name for one in plans)
            raise ValueError(f"--production is for one option, not {names}; choose with --group")
        write_rows(production_table(plans[0]), production, thing="production")
    if jobs:
        rows = training_jobs(plans, devices=gpus, seeds=range(seeds))
        write_rows(rows, jobs, thing="jobs")


def _finish(
    posterior: "xr.DataTree",
    advice: "Advice",
    figure: str,
    *,
    quiet: bool,
    tables: bool,
    strict: bool,
) -> None:
    """Print, draw, and end with the verdict on the posterior at the farthest plan."""
    from isoflop.commands.plan_text import advice_lines
    from isoflop.inference.diagnostics import prior_notice

    if tables and not quiet:
        for line in advice_lines(advice):
            show(line)
        plans = [one.plans for one in advice.answers if one.plans is not None]
        repeats = any(bool((one.runs.epochs > 1.0).any()) for one in plans)
        notice = prior_notice(
            posterior, {one.option.group for one in advice.answers}, repeats=repeats
        )
        if notice:
            show(f"\n{notice}")
    if figure:
        from isoflop.forecast.figures import save_figure
        from isoflop.forecast.plan_figure import plan_figure

        save_figure(plan_figure(advice), figure)
        note(f"figure in {figure}")
    decades = [one.plans.decades() for one in advice.answers if one.plans is not None]
    farthest = max(decades, default=0.0)
    note_verdict(posterior, farthest, only_bad=quiet)
    stop_if_untrusted(posterior, farthest, strict)
