"""Back-test of the link: hide the most expensive runs, predict their counts, and score that.

The link is fitted to the working points of the cheaper runs. The counts of the hidden runs are
predicted once given their true loss, which tests the link, and once given the loss that the law
forecasts for them, which tests the whole chain.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from isoflop.inference import predictive, rates
from isoflop.inference.backtest import LENGTHS, split
from isoflop.inference.fit import sample_law, split_most_expensive, usable_runs
from isoflop.inference.laws import law_named
from isoflop.inference.link import fit_link, link_tables, predicted_counts, predicted_u, suggested
from isoflop.inference.model import group_names, new_runs, run_data
from isoflop.inference.priors import DEFAULT
from isoflop.inference.sampler import Lengths

DEAREST = 0.1
"""Share of the runs hidden in the cut that `isoflop fit --hold-out 0.1` makes."""
ALL = "all"


@dataclass(frozen=True)
class LinkRow:
    """The forecast of the hidden counts of one working point, scored."""

    cut: str
    """Which runs were hidden."""
    kind: str
    """`rejection` or `efficiency`."""
    signal: str
    """Working point, or `all`."""
    given: str
    """`true loss` or `forecast loss`."""
    n_train: int
    """Runs that were fitted."""
    n_test: int
    """Counts that were predicted."""
    coverage_68: float
    """Share of the counts within the central 68 % interval of their prediction."""
    coverage_95: float
    """Share within the central 95 % interval."""
    mae: float
    """Mean absolute error of log R, or of logit ε: that of the predicted median."""
    bias: float
    """Mean error, predicted less observed; positive if the forecast was too good."""
    counting: float
    """Mean error of the observed value from its count alone: no forecast can do better."""


def backtest_link(
    records: pd.DataFrame,
    points: pd.DataFrame,
    *,
    holdout: float = 10.0,
    law: str = "coupled",
    lengths: Lengths = LENGTHS,
    seed: int = 0,
) -> tuple[LinkRow, ...]:
    """Score the link on the dearest tenth of the runs, and on those above the largest compute over
    `holdout`."""
    usable = usable_runs(records)
    parts = split(usable, holdout)
    cuts = {f"dearest {DEAREST:.0%}": split_most_expensive(usable, DEAREST)}
    if len(parts.test):
        cuts[f"factor {holdout:g}"] = parts.train, parts.test
    rows: list[LinkRow] = []
    for cut, (train, test) in cuts.items():
        rows += _scored(cut, train, test, points, law, lengths, seed)
    return tuple(rows)


def _scored(
    cut: str,
    train: pd.DataFrame,
    test: pd.DataFrame,
    points: pd.DataFrame,
    law: str,
    lengths: Lengths,
    seed: int,
) -> list[LinkRow]:
    """The rows of one cut: both kinds of working points, given the true and the forecast loss."""
    forecast = forecast_loss(train, test, law, lengths, seed=seed)
    fitted, hidden = link_tables(points, train), link_tables(points, test)
    rows = []
    for kind in fitted.keys() & hidden.keys():
        link, table = fit_link(fitted[kind], kind, lengths, seed=seed), hidden[kind]
        run = pd.Index(test["run_id"]).get_indexer(table["run_id"])
        for given, loss in (("true loss", None), ("forecast loss", forecast[:, run])):
            scores = count_scores(link, table, loss=loss, seed=seed)
            about: dict[str, Any] = {"cut": cut, "kind": kind, "given": given}
            about["n_train"] = len(train)
            rows += [LinkRow(**about, **found) for found in by_signal(scores)]
    return rows


def by_signal(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """What `count_scores` give of a `LinkRow`, for all signals together, then for each."""
    rows = []
    for signal in (ALL, *sorted(set(scores["signal"]))):
        own = scores[scores["signal"].eq(signal) | (signal == ALL)]
        rows.append(
            {
                "signal": signal,
                "n_test": len(own),
                "coverage_68": float(own["pit"].between(0.16, 0.84).mean()),
                "coverage_95": float(own["pit"].between(0.025, 0.975).mean()),
                "mae": float(own["error"].abs().mean()),
                "bias": float(own["error"].mean()),
                "counting": float(own["counting"].mean()),
            }
        )
    return rows


def forecast_loss(
    train: pd.DataFrame, test: pd.DataFrame, law: str, lengths: Lengths, *, seed: int
) -> np.ndarray:
    """Loss [nat] of the hidden runs as the law of the others has it, shape (draws, runs)."""
    data, groups = run_data(train), group_names(train)
    drawn = sample_law(train, law_named(law), DEFAULT, lengths, seed=seed)
    unseen = new_runs(test, data, groups, drawn.valley)
    loss = predictive.replicated_loss(drawn.sites, unseen, seed=seed)
    return np.asarray(loss.reshape(-1, loss.shape[-1]))


def count_scores(
    link: xr.Dataset, table: pd.DataFrame, *, loss: np.ndarray | None = None, seed: int = 0
) -> pd.DataFrame:
    """Columns `signal, pit, error, counting`, a row a count of the table.

    `pit` is the randomised probability integral transform: uniform if the prediction is right, for
    counts too (Czado, Gneiting, Held 2009).
    """
    counts = predicted_counts(link, table, loss=loss, seed=seed)
    passed = table["passed"].to_numpy(float)
    tie = np.random.default_rng([seed, 2]).random(len(table))
    pit = (counts < passed).mean(axis=0) + tie * (counts == passed).mean(axis=0)
    kind = str(link.attrs["kind"])
    u = predicted_u(link, table, loss=loss, seed=seed)
    p = (passed + 0.5) / (table["tested"].to_numpy(float) + 1.0)
    _, width = suggested(passed, table["tested"].to_numpy(float), kind)
    if kind == "rejection":
        error = np.median(rates.log_rejection(u), axis=0) + np.log(p)
        width = np.sqrt((1.0 - p) / (p * table["tested"].to_numpy(float)))
    else:
        error = np.median(u, axis=0) - np.log(p / (1.0 - p))
    columns = {"signal": table["signal"].to_numpy(str), "pit": pit, "error": error}
    return pd.DataFrame(columns | {"counting": width})


def to_json(rows: Sequence[LinkRow]) -> str:
    """The rows as a JSON list, keys as in `LinkRow`."""
    return json.dumps([asdict(row) for row in rows], indent=1) + "\n"
