"""Run records and working points from known parameters, to test a fit before any run is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from isoflop.inference import laws, rates
from isoflop.training.records import complete_records

Cell = tuple[float, float, float]
"""One run to be: N, U in samples, epochs."""


def simulate_runs(
    truth: Mapping[str, Mapping[str, float]],
    cells: Sequence[Cell],
    *,
    sigma: float,
    nu: float = np.inf,
    loss_kind: str = "early_stopped",
    seed: int = 0,
) -> pd.DataFrame:
    """Records of every cell in every group, by the law with the group's parameters.

    `truth` maps a group to the arguments of `laws.loss`; `sigma` and `nu` are the scale and the
    degrees of freedom of the Student-t scatter of log loss. Unless `loss_kind` is "final" the
    runs count as stopped early, so that repetition enters through ω alone.
    """
    rng = np.random.default_rng(seed)
    params, unique, epochs = np.array(cells, dtype=float).T
    tables = []
    for group, theta in truth.items():
        noise = rng.normal(size=len(cells)) if np.isinf(nu) else rng.standard_t(nu, len(cells))
        exact = np.asarray(
            laws.loss(params, unique, epochs, **theta, final=float(loss_kind == "final"))
        )
        columns = {
            "group": group,
            "params": params,
            "samples": unique * epochs,
            "unique_samples": unique,
            "loss": exact * np.exp(sigma * noise),
            "loss_kind": loss_kind,
        }
        tables.append(pd.DataFrame(columns))
    return complete_records(pd.concat(tables, ignore_index=True), source="simulated runs")


def simulate_working_points(
    records: pd.DataFrame,
    links: Mapping[str, Mapping[str, Any]],
    *,
    kind: str,
    at: float,
    centre: float,
    knots: Sequence[float] = (),
    tested: int = 5000,
    same_jets: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Working points of every run and signal, by the link with the signal's parameters.

    `links` maps a signal to the `PARAMETERS` of `isoflop.inference.rates` about the loss `centre`
    [nat], with one slope more than there are `knots` [nat]; `at` is the signal efficiency held
    fixed, for `kind` "efficiency" the rejection. `tested` jets are counted, of the signal and of
    the background each: jets of its own for every run, or with `same_jets` the same for all, which
    all runs rank alike.
    """
    rng = np.random.default_rng(seed)
    x = records["loss"].to_numpy(float) - centre
    tables = []
    for signal, link in links.items():
        slope = np.atleast_1d(link["slope"])
        mean = rates.transformed(x, link["level"], slope, np.asarray(knots) - centre)
        noise = rates.scatter(x, link["scatter"], link["scatter_slope"]) * rng.normal(size=len(x))
        passes, _ = rates.log_passing(mean + noise, kind)
        if same_jets:
            passed = np.searchsorted(np.sort(rng.random(tested)), np.exp(passes))
        else:
            passed = rng.binomial(tested, np.exp(passes))
        fixed = kind == "efficiency"
        columns = {
            "run_id": records["run_id"].to_numpy(),
            "signal": signal,
            "efficiency": passed / tested if fixed else at,
            "n_signal": tested,
            "n_background": tested,
            "n_background_passed": round(tested / at) if fixed else passed,
            "n_signal_passed": passed if fixed else np.nan,
            "rejection": at if fixed else np.nan,
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)
