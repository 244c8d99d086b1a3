"""What a report shows, gathered from the posterior; `page` writes it as HTML."""

import platform
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from isoflop.forecast.costmodel import Costs
from isoflop.forecast.fans import forecast_curves
from isoflop.forecast.outcomes import missing_link
from isoflop.forecast.predict import group_names
from isoflop.forecast.report import pictures
from isoflop.forecast.report.grid import slider_stops, usual_range, whole_decades
from isoflop.forecast.report.intervals import parameter_intervals
from isoflop.forecast.report.live import EVALUATED, Question, Stops, find_stops, live_data
from isoflop.forecast.significance import Scenario
from isoflop.forecast.table import (
    ForecastRow,
    fitted_comparison,
    held_out_comparison,
    summarise_held_out,
    to_intervals,
)
from isoflop.inference.diagnostics import Diagnosis, diagnose, prior_notice
from isoflop.inference.laws import law_named
from isoflop.inference.posterior import VARIABLES
from isoflop.inference.verdict import judge, sentence

RUN_COLUMNS = {
    "run": "run",
    "group": "group",
    "use": "use",
    "params": "N",
    "samples": "D [sample]",
    "epochs": "epochs",
    "flops": "C [FLOP]",
    "observed": "loss [nat]",
    "median": "predicted [nat]",
    "low_95": "95 % low [nat]",
    "high_95": "95 % high [nat]",
    "error_percent": "error, predicted / observed − 1 [%]",
    "held": "in 95 %",
}
"""Columns of the table of runs and their heads."""


@dataclass(frozen=True)
class Request:
    """What a report is asked to show."""

    groups: Sequence[str] | None = None
    """Groups, all by default."""
    budgets: tuple[float, float] | None = None
    """Least and largest stop of the slider [FLOP], about the runs by default."""
    scenario: Scenario | None = None
    """Analysis that says what the loss is worth."""
    costs: Costs | None = None
    """Cost model that says what the plans cost."""
    seed: int = 0
    """Seed of the forecast table and of the prices."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Lines added to how the page was made, as its command."""


@dataclass(frozen=True)
class Contents:
    """Everything the page shows."""

    title: str
    """Heading."""
    trusted: bool
    """Verdict on the fit within its runs."""
    sentence: str
    """The verdict in one sentence."""
    notes: tuple[str, ...]
    """What qualifies it."""
    groups: tuple[str, ...]
    """Groups on the page, in the posterior's order."""
    start: int
    """Stop at which the slider stands first."""
    opening: dict[Hashable, Any]
    """Loss there of the group that the page opens on, with the columns of `to_intervals`."""
    analysis: str
    """What the scenario's quantities refer to, or why they are missing; empty without one."""
    decades: list[dict[Hashable, Any]]
    """Loss at whole decades of compute, with the columns of `to_intervals`."""
    equation: str
    """The law."""
    pictures: tuple[pictures.Picture, ...]
    """Still pictures."""
    convergence: str
    """What the sampler did, in one sentence."""
    parameters: list[dict[str, Any]]
    """Rows of `Diagnosis.table`, with `symbol`, `group`, `unit` and `prior_driven`."""
    runs_sentence: str
    """How many runs, and what was left out."""
    run_columns: tuple[str, ...]
    """Heads of the table of runs."""
    runs: list[list[str | float]]
    """Its rows."""
    made: tuple[tuple[str, str], ...]
    """What made the posterior and the page."""
    data: dict[str, Any]
    """What the script evaluates."""


def collect(posterior: xr.DataTree, request: Request) -> Contents:
    """Everything that the page shows; raises as `page.build_report` says."""
    shown = _shown_groups(posterior, request.groups)
    runs = _compared_runs(posterior, shown)
    flops = runs["flops"].to_numpy()
    along = slider_stops(*(request.budgets or usual_range(flops)))
    question = Question(
        shown, tuple(along), seed=request.seed, scenario=request.scenario, costs=request.costs
    )
    stops = find_stops(posterior, question)
    data = live_data(posterior, question, stops)
    told = [along.index(budget) for budget in whole_decades(along)]
    start = min(told, key=lambda i: abs(np.log(along[i] / (10.0 * flops.max()))))
    # The page opens on what the budget would go to: the group of the lowest forecast there.
    best = min(shown, key=lambda name: stops[name][start].values("loss")[2])
    diagnosis = diagnose(posterior)
    return Contents(
        title=f"Scaling law of {posterior.attrs.get('records') or 'unnamed records'}",
        trusted=judge(posterior).ok,
        sentence=_capital(sentence(posterior).removeprefix("Verdict: ")),
        notes=_notes(posterior, diagnosis, runs),
        groups=shown,
        start=start,
        opening=to_intervals(stops[best][start].rows).to_dict("records")[0],
        analysis=_analysis(posterior, request.scenario),
        decades=_decades(runs, [row for at in stops.values() for i in told for row in at[i].rows]),
        equation=law_named(posterior.attrs["law"]).equation,
        pictures=_pictures(posterior, shown, runs, along[start], best=best, seed=request.seed),
        convergence=_convergence(posterior, diagnosis),
        parameters=_parameters(diagnosis, shown),
        runs_sentence=_runs_sentence(posterior, runs),
        run_columns=tuple(RUN_COLUMNS.values()),
        runs=runs[list(RUN_COLUMNS)].to_numpy(object).tolist(),
        made=(
            *request.origin.items(),
            ("fitted to", _fitted_to(runs)),
            *_made(posterior, question, data["stride"]),
        ),
        data=data | {"checks": _checks(stops, told)},
    )


def _shown_groups(posterior: xr.DataTree, groups: Sequence[str] | None) -> tuple[str, ...]:
    """The groups to show; each must be in the posterior and have runs."""
    names = group_names(posterior)
    unknown = [name for name in groups or () if name not in names]
    if unknown:
        raise ValueError(f"unknown group {unknown[0]!r}; this posterior has {', '.join(names)}")
    shown = tuple(name for name in names if not groups or name in groups)
    have = set(posterior["constant_data"].to_dataset()["run_group"].values.astype(str))
    empty = [name for name in shown if name not in have]
    if empty:
        raise ValueError(
            f"group {empty[0]!r} has no runs in the posterior, and a report shows what its law was "
            "learned from; fit run records with `isoflop fit`"
        )
    return shown


def _compared_runs(posterior: xr.DataTree, groups: Sequence[str]) -> pd.DataFrame:
    """The runs of these groups beside their predictions; `use` is `fitted` or `kept apart`."""
    tables = [fitted_comparison(posterior).assign(use="fitted")]
    if "predictions" in posterior.children:
        tables.append(held_out_comparison(posterior).assign(use="kept apart"))
    runs = pd.concat(tables, ignore_index=True)
    runs["held"] = np.where(runs["inside_95"], "yes", "no")
    return runs[runs["group"].isin(groups)].reset_index(drop=True)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _kept_apart(runs: pd.DataFrame) -> pd.DataFrame | None:
    """The runs that the fit did not see, or None where it saw all."""
    apart = runs[runs["use"] == "kept apart"]
    return None if apart.empty else apart


def _analysis(posterior: xr.DataTree, scenario: Scenario | None) -> str:
    """What the scenario's quantities refer to, or why they are missing."""
    if scenario is None:
        return ""
    if reason := missing_link(posterior, scenario):
        return f"Without significance: {reason}."
    return (
        f"Significance and luminosity are those of {scenario.name}; the tagger of reference stands "
        f"at: {scenario.reference}."
    )


def _notes(posterior: xr.DataTree, diagnosis: Diagnosis, runs: pd.DataFrame) -> tuple[str, ...]:
    notes = []
    apart = _kept_apart(runs)
    if apart is not None:
        score = summarise_held_out(apart)
        notes.append(
            f"{score.runs} runs were kept apart from the fit and forecast: the mean error of the "
            f"loss is {score.mean_absolute_error_percent:.2f} % "
            f"(bias {score.bias_percent:+.2f} %, predicted over observed); "
            f"{score.coverage_68:.0%} of them lie within the 68 % interval, "
            f"{score.coverage_95:.0%} within the 95 % interval."
        )
    notice = prior_notice(posterior, group_names(posterior))
    if notice:
        notes.append(notice)
    if diagnosis.influential:
        notes.append(diagnosis.influence)
    warnings = str(posterior.attrs.get("warnings", "")).splitlines()
    return (*notes, *(f"Note: {warning}." for warning in warnings))


def _decades(runs: pd.DataFrame, rows: Sequence[ForecastRow]) -> list[dict[Hashable, Any]]:
    """The loss intervals, group by group, from the cheapest run of each on."""
    found = to_intervals(row for row in rows if row.quantity == "loss")
    cheapest = found["group"].map(runs.groupby("group")["flops"].min())
    return found[found["budget_flops"] >= cheapest].to_dict("records")


def _checks(stops: Stops, told: Sequence[int]) -> list[dict[str, Any]]:
    """Quantiles of the forecast table that the page recomputes from its draws."""
    return [
        {"group": group, "stop": i, "quantity": quantity, "values": at[i].values(quantity)}
        for group, at in enumerate(stops.values())
        for i in told
        for quantity in EVALUATED
    ]


def _pictures(
    posterior: xr.DataTree,
    groups: Sequence[str],
    runs: pd.DataFrame,
    budget: float,
    *,
    best: str,
    seed: int,
) -> tuple[pictures.Picture, ...]:
    fitted, apart = runs[runs["use"] == "fitted"], _kept_apart(runs)
    curves = forecast_curves(posterior, [budget], groups=groups, iso_group=best, seed=seed)
    drawn = [pictures.isoflop_picture(curves)]
    parameters = parameter_intervals(posterior, groups)
    if parameters:
        drawn.append(pictures.parameters_picture(parameters))
    drawn.append(pictures.residual_picture(fitted, apart))
    if apart is not None:
        drawn.append(pictures.held_out_picture(apart))
    if "rolling" in posterior.children:
        rolled = posterior["rolling"].to_dataset()
        rolled = rolled.isel(prediction=np.isin(rolled["group"].values.astype(str), groups))
        if rolled.sizes["prediction"]:
            drawn.append(pictures.rolling_picture(rolled, groups))
    return tuple(drawn)


def _convergence(posterior: xr.DataTree, diagnosis: Diagnosis) -> str:
    if "sample_stats" not in posterior.children:
        engine = posterior.attrs.get("engine", "an unnamed engine")
        return f"The draws are those of {engine}, not of a sampler: no chains to compare."
    table = diagnosis.table
    effective = float(table[["ess_bulk", "ess_tail"]].to_numpy().min())
    return (
        f"R-hat is at most {table['rhat'].max():.3f}, effective draws are at least {effective:.0f},"
        f" {diagnosis.divergent} transitions diverged."
    )


def _parameters(diagnosis: Diagnosis, groups: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the table of parameters, those of other groups left out."""
    rows = []
    for key, row in diagnosis.table.to_dict("index").items():
        name, _, group = str(key).removesuffix("]").partition("[")
        if group and group not in groups:
            continue
        known = {str(column): value for column, value in row.items()}
        own = {"symbol": VARIABLES[name].symbol, "unit": VARIABLES[name].unit, "group": group}
        driven = {"prior_driven": key in diagnosis.prior_driven}
        rows.append({"width_ratio": np.nan} | known | own | driven)
    return rows


def _runs_sentence(posterior: xr.DataTree, runs: pd.DataFrame) -> str:
    apart = _kept_apart(runs)
    parts = [f"{(runs['use'] == 'fitted').sum()} runs of the fit"]
    if apart is not None:
        parts.append(f"{len(apart)} kept apart from it")
    left = int(posterior.attrs.get("runs_left_out", 0))
    if left:
        parts.append(f"{left} more of these records left out, as diverged or near guessing")
    return f"{', '.join(parts)}."


def _fitted_to(runs: pd.DataFrame) -> str:
    """How many runs of the groups shown made the fit, and the ranges that they span."""
    fitted = runs[runs["use"] == "fitted"]
    loss, flops = fitted["observed"], fitted["flops"]
    return (
        f"{len(fitted)} runs of {loss.min():.3g} to {loss.max():.3g} nat, {flops.min():.2e} to "
        f"{flops.max():.2e} FLOP"
    )


def _made(posterior: xr.DataTree, question: Question, stride: int) -> list[tuple[str, str]]:
    """Versions, seeds and hashes."""
    attrs = {str(name): str(value) for name, value in posterior.attrs.items()}
    ceiling = float(posterior.attrs["ceiling"])
    lines: dict[str, str | None] = {
        "records": attrs.get("records"),
        "SHA-256 of the records": attrs.get("records_sha256"),
        "law": f"{attrs['law']}, fitted by {attrs.get('engine', 'nuts')}",
        "largest value of the metric": None if np.isinf(ceiling) else f"{ceiling:g}",
        "seed of the fit": attrs.get("seed"),
        "versions at the fit": _versions(attrs),
        "scenario": question.scenario.name if question.scenario else None,
        "cost model": _cost_model(question.costs) if question.costs else None,
        "seed of the forecast": str(question.seed),
        "versions of this page": f"isoflop {version('isoflop')}, numpy {np.__version__}, "
        f"Python {platform.python_version()}",
        "draws": _sampled(posterior),
        "draws in this page": _kept_draws(posterior, stride),
    }
    return [(name, value) for name, value in lines.items() if value]


def _cost_model(costs: Costs) -> str:
    return f"{costs.name}, in {costs.currency}" + (
        f", at the speed of {costs.measured}" if costs.measured else ""
    )


def _sampled(posterior: xr.DataTree) -> str:
    sizes = posterior["posterior"].to_dataset().sizes
    return f"{sizes['chain']} chain(s) of {sizes['draw']}"


def _kept_draws(posterior: xr.DataTree, stride: int) -> str:
    sizes = posterior["posterior"].to_dataset().sizes
    draws = sizes["chain"] * sizes["draw"]
    if stride == 1:
        return f"all {draws} of the posterior"
    return (
        f"one in {stride} of the posterior's {draws}, to stay small; for all of them name fewer "
        "groups with --group"
    )


def _versions(attrs: Mapping[str, str]) -> str:
    names = [name for name in attrs if name.endswith("_version")]
    return ", ".join(f"{name.removesuffix('_version')} {attrs[name]}" for name in names)
