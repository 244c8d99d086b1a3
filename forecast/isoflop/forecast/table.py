"""The forecast table: tidy rows of quantiles, and the score of the runs kept apart from a fit."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from isoflop.files import writing
from isoflop.forecast.allocate import Run, best_per_draw, best_plan
from isoflop.forecast.outcomes import outcome_draws, quantities
from isoflop.forecast.predict import (
    QUANTILES,
    Draws,
    extrapolation_decades,
    group_draws,
    group_names,
    predictive_draws,
    quantiles,
)
from isoflop.forecast.scenario import Scenario


@dataclass(frozen=True)
class ForecastRow:
    """One quantile of one quantity at one budget."""

    group: str
    """Group of runs whose law it is."""
    budget_flops: float
    """Training compute C, in FLOP."""
    params: float
    """N of the run that is forecast."""
    samples: float
    """D of that run, repeats included."""
    unique_samples: float
    """U of that run."""
    epochs: float
    """e = D/U of that run."""
    quantity: str
    """`loss` of a new run and what it is worth (`outcomes.quantities`); `params_opt`,
    `samples_opt`, `epochs_opt`: the best for this budget."""
    q: float
    """Probability of the quantile."""
    value: float
    """The quantile, in `unit`."""
    unit: str
    """`nat`, `sample`, or empty for a pure number."""
    extrapolation_decades: float
    """Decades of compute beyond the most expensive fitted run of the group; 0 within."""


@dataclass(frozen=True)
class HeldOutSummary:
    """How well the runs kept apart from the fit were predicted."""

    runs: int
    """Number of runs."""
    mean_absolute_error_percent: float
    """Mean of |median/observed − 1|, in percent."""
    bias_percent: float
    """Mean of median/observed − 1, in percent; positive if the forecast was pessimistic."""
    coverage_68: float
    """Fraction of the observed losses within the 68 % interval."""
    coverage_95: float
    """Fraction of the observed losses within the 95 % interval."""
    median_width_95_percent: float
    """Median width of the 95 % interval over the observed loss, in percent."""


def forecast_budget(
    posterior: xr.DataTree,
    flops: float,
    *,
    groups: Sequence[str] | None = None,
    unique_cap: float | None = None,
    scenario: Scenario | None = None,
    seed: int = 0,
) -> list[ForecastRow]:
    """Rows for a budget C [FLOP] spent by the best plan of each group (all by default).

    `loss` is that of a new run of the plan, scatter included; `params_opt`, `samples_opt` and, with
    `unique_cap` [sample], `epochs_opt` are quantiles of each draw's own optimum. What that loss is
    worth follows: rejections where the posterior has a link, and a `scenario`'s quantities.
    """
    rows: list[ForecastRow] = []
    for group in groups or group_names(posterior):
        draws = group_draws(posterior, group)
        plan = best_plan(draws, flops, unique_cap=unique_cap)
        worth = partial(_worth, posterior, group, scenario, seed)
        rows += _rows(draws, plan, worth, unique_cap=unique_cap, seed=seed)
    return rows


def forecast_point(
    posterior: xr.DataTree,
    params: float,
    *,
    unique_samples: float,
    epochs: float = 1.0,
    groups: Sequence[str] | None = None,
    scenario: Scenario | None = None,
    seed: int = 0,
) -> list[ForecastRow]:
    """Rows for one run of N parameters, U distinct samples and e epochs, in each group.

    Its compute is C = c·N·U·e with the group's c. The optimum beside it is that of the same C; when
    e > 1, with U as the cap on distinct samples.
    """
    _require_run(params, unique_samples, epochs)
    cap = unique_samples if epochs > 1.0 else None
    rows: list[ForecastRow] = []
    for group in groups or group_names(posterior):
        draws = group_draws(posterior, group)
        run = Run(
            flops=draws.flops_per_param_sample * params * unique_samples * epochs,
            params=params,
            unique_samples=unique_samples,
            epochs=epochs,
        )
        worth = partial(_worth, posterior, group, scenario, seed)
        rows += _rows(draws, run, worth, unique_cap=cap, seed=seed)
    return rows


Named = tuple[str, str, np.ndarray]
"""Name, unit and draws of a quantity, the latter of shape (draws, points)."""


def _worth(
    posterior: xr.DataTree, group: str, scenario: Scenario | None, seed: int, loss: np.ndarray
) -> list[Named]:
    """What a loss [nat] is worth in a group, beyond itself."""
    found = [one for one in quantities(posterior, group, scenario) if one.name != "loss"]
    names = [one.name for one in found]
    values = outcome_draws(posterior, group, loss, names=names, scenario=scenario, seed=seed)
    return [(one.name, one.unit, values[one.name]) for one in found]


def _rows(
    draws: Draws,
    run: Run,
    worth: Callable[[np.ndarray], list[Named]],
    *,
    unique_cap: float | None,
    seed: int,
) -> list[ForecastRow]:
    """Every quantile of every quantity of one group at one run."""
    optimum = best_per_draw(draws, run.flops, unique_cap=unique_cap)
    loss = predictive_draws(
        draws, run.params, unique_samples=run.unique_samples, epochs=run.epochs, seed=seed
    )
    named = [
        ("loss", "nat", loss),
        ("params_opt", "", optimum.params),
        ("samples_opt", "sample", optimum.samples),
    ]
    if unique_cap is not None:
        named.append(("epochs_opt", "", optimum.epochs))
    return [
        ForecastRow(
            group=draws.group,
            budget_flops=run.flops,
            params=run.params,
            samples=run.samples,
            unique_samples=run.unique_samples,
            epochs=run.epochs,
            quantity=quantity,
            q=q,
            value=float(value),
            unit=unit,
            extrapolation_decades=extrapolation_decades(run.flops, draws.largest_flops),
        )
        for quantity, unit, values in [*named, *worth(loss)]
        for q, value in zip(QUANTILES, quantiles(values)[:, 0], strict=True)
    ]


def to_frame(rows: Iterable[ForecastRow]) -> pd.DataFrame:
    """The rows as a tidy table with the columns of `ForecastRow`."""
    columns = [field.name for field in fields(ForecastRow)]
    return pd.DataFrame([asdict(row) for row in rows], columns=columns)


def to_intervals(rows: Iterable[ForecastRow]) -> pd.DataFrame:
    """One line for each group, budget and quantity: `median`, `low_68` … `high_95`, `unit`.

    This is the shape of a table that a person reads; the order of the rows is kept.
    """
    keys = [f.name for f in fields(ForecastRow) if f.name not in ("q", "value")]
    names = dict(zip(QUANTILES, ("low_95", "low_68", "median", "high_68", "high_95"), strict=True))
    table = to_frame(rows).groupby([*keys, "q"], sort=False)["value"].first().unstack("q")
    return table.rename(columns=names).rename_axis(columns=None).reset_index()


def to_json(rows: Iterable[ForecastRow]) -> str:
    """The JSON object of the rows, `{"rows": [...]}`, keys as in `ForecastRow`."""
    return json.dumps({"rows": [asdict(row) for row in rows]}, indent=1, allow_nan=False) + "\n"


def write_json(rows: Iterable[ForecastRow], path: str | Path) -> None:
    """Write `to_json` to a file, whole or not at all."""
    with writing(path) as temporary:
        temporary.write_text(to_json(rows), encoding="utf-8")


def write_csv(rows: Iterable[ForecastRow], path: str | Path) -> None:
    """Write the rows as CSV with the columns of `ForecastRow`, whole or not at all."""
    with writing(path) as temporary:
        to_frame(rows).to_csv(temporary, index=False)


def held_out_comparison(posterior: xr.DataTree) -> pd.DataFrame:
    """Predicted against observed loss of the runs kept apart from the fit, by compute.

    Columns: `run, group, flops, params, samples, epochs, observed` [nat], the predicted `median`,
    `low_68, high_68, low_95, high_95` [nat], `inside_68, inside_95`, `error_percent` =
    100·(median/observed − 1) and `extrapolation_decades`.
    """
    if "predictions" not in posterior.children:
        raise ValueError("the posterior has no runs kept apart from its fit; fit with hold_out > 0")
    runs = posterior["predictions_constant_data"].to_dataset()
    return _comparison(posterior, runs, posterior["predictions"].to_dataset())


def fitted_comparison(posterior: xr.DataTree) -> pd.DataFrame:
    """Posterior-predictive against observed loss of the runs of the fit; columns as held out."""
    runs = posterior["constant_data"].to_dataset().merge(posterior["observed_data"].to_dataset())
    return _comparison(posterior, runs, posterior["posterior_predictive"].to_dataset())


def _comparison(posterior: xr.DataTree, runs: xr.Dataset, draws: xr.Dataset) -> pd.DataFrame:
    predicted = draws["loss"].values
    low_95, low_68, median, high_68, high_95 = quantiles(
        predicted.reshape(-1, predicted.shape[-1]).astype(float)
    )
    observed = runs["loss"].values.astype(float)
    group = runs["run_group"].values.astype(str)
    largest = {name: group_draws(posterior, name).largest_flops for name in set(group)}
    frame = pd.DataFrame(
        {
            "run": runs["run"].values.astype(str),
            "group": group,
            "flops": runs["flops"].values,
            "params": runs["params"].values,
            "samples": runs["samples"].values,
            "epochs": runs["samples"].values / runs["unique_samples"].values,
            "observed": observed,
            "median": median,
            "low_68": low_68,
            "high_68": high_68,
            "low_95": low_95,
            "high_95": high_95,
            "inside_68": (low_68 <= observed) & (observed <= high_68),
            "inside_95": (low_95 <= observed) & (observed <= high_95),
            "error_percent": 100.0 * (median / observed - 1.0),
        }
    )
    frame["extrapolation_decades"] = [
        extrapolation_decades(flops, largest[name])
        for flops, name in zip(frame["flops"], group, strict=True)
    ]
    return frame.sort_values("flops", kind="stable", ignore_index=True)


def summarise_held_out(comparison: pd.DataFrame) -> HeldOutSummary:
    """The score of a `held_out_comparison`."""
    width = (comparison["high_95"] - comparison["low_95"]) / comparison["observed"]
    return HeldOutSummary(
        runs=len(comparison),
        mean_absolute_error_percent=float(comparison["error_percent"].abs().mean()),
        bias_percent=float(comparison["error_percent"].mean()),
        coverage_68=float(comparison["inside_68"].mean()),
        coverage_95=float(comparison["inside_95"].mean()),
        median_width_95_percent=float(100.0 * width.median()),
    )


def _require_run(params: float, unique_samples: float, epochs: float) -> None:
    """Raise one `ValueError` with every number of a run that the law cannot take."""
    given = {"params": params, "unique_samples": unique_samples, "epochs": epochs}
    faults = [
        f"{name} is {value:g}, it must be finite and at least 1"
        for name, value in given.items()
        if not (np.isfinite(value) and value >= 1.0)
    ]
    if faults:
        raise ValueError("; ".join(faults) + "; samples seen are unique_samples times epochs")
