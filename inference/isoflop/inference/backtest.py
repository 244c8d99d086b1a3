"""Back-test: hide the most expensive runs of a table, forecast them from the rest, and score that.

Per group, the runs above the largest compute over `holdout` are kept apart. The hierarchical model
is fitted to the cheaper runs of all groups together, the methods of `baselines` group by group.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from isoflop.inference import baselines, predictive
from isoflop.inference.fit import MAX_RUNS, sample_law, thinned, usable_runs
from isoflop.inference.laws import Law, law_named
from isoflop.inference.model import group_names, new_runs, run_data
from isoflop.inference.priors import DEFAULT, Priors
from isoflop.inference.rolling import below_cut
from isoflop.inference.sampler import Lengths
from isoflop.inference.scores import score
from isoflop.inference.screen import ADVISED_RUNS, screen

METHODS = ("isoflop", *baselines.METHODS)
MIN_TRAIN = ADVISED_RUNS
MIN_TEST = 2
ROLLING_HOLDOUTS = (3.0, 10.0, 30.0, 100.0)
"""Half a decade to two decades of compute beyond the runs."""
LENGTHS = Lengths(chains=4, draws=500)
"""Draws of a back-test: quantiles of forecasts need fewer than the tails of parameters."""
BOOTSTRAPS = 400


@dataclass(frozen=True)
class Row:
    """One method's forecast of the held-out runs of one group, scored."""

    file: str
    """Table of runs."""
    group: str
    """Group of the runs."""
    method: str
    """One of `METHODS`."""
    law: str
    """Law of the hierarchical model; for a baseline the one it stands for, or empty."""
    holdout: float
    """Runs above the largest compute over this are held out."""
    n_train: int
    """Runs of the group that were fitted."""
    n_test: int
    """Runs of the group that were forecast."""
    mae: float
    """Mean absolute error of the median, in per cent of the loss."""
    bias: float
    """Mean error of the median, predicted over observed in per cent; positive if pessimistic."""
    coverage_68: float
    """Share of the runs within the central 68 % interval."""
    coverage_95: float
    """Share of the runs within the central 95 % interval."""
    width_95: float
    """Mean width of the 95 % interval, in per cent."""
    crps: float
    """Mean continuous ranked probability score, in per cent."""
    log_score: float
    """Mean log density of the observed log loss."""
    seconds: float
    """Wall time of the fit and the forecast; a joint fit is shared out over its groups."""


@dataclass(frozen=True)
class Skipped:
    """A group, or a method in a group, that could not be tested, and why."""

    file: str
    """Table of runs."""
    group: str
    """Group of the runs."""
    method: str
    """The method, or `all`."""
    holdout: float
    """Hold-out factor."""
    reason: str
    """One sentence."""


@dataclass(frozen=True)
class Backtest:
    """The outcome of back-tests."""

    rows: tuple[Row, ...]
    """One a group, method and hold-out factor."""
    skipped: tuple[Skipped, ...]
    """What could not be tested."""


@dataclass(frozen=True)
class Split:
    """The runs of the groups that can be tested."""

    train: pd.DataFrame
    """Runs below the cut of their group."""
    test: pd.DataFrame
    """Runs above it."""
    skipped: dict[str, str]
    """Groups that cannot be tested, with the reason."""


def backtest(
    records: pd.DataFrame,
    *,
    holdout: float = 10.0,
    methods: Sequence[str] = ("isoflop",),
    law: str = "coupled",
    ceiling: float = np.inf,
    priors: Priors = DEFAULT,
    file: str = "",
    seed: int = 0,
) -> Backtest:
    """Forecast the runs of each group above its largest compute over `holdout` from the others.

    Groups with fewer than `MIN_TRAIN` runs below or `MIN_TEST` above are listed as skipped, and so
    is a method that cannot be fitted to the runs below. Raises `ValueError` on an unknown method or
    law and on a `holdout` not above 1.
    """
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise ValueError(f"unknown method {unknown[0]!r}; choose among {', '.join(METHODS)}")
    law_named(law)
    parts = split(usable_runs(records, loss_below=ceiling, source=file), holdout)
    rows: list[Row] = []
    skipped = [Skipped(file, name, "all", holdout, why) for name, why in parts.skipped.items()]
    for method in methods if len(parts.test) else ():
        found = score_split(parts, method, law=law, ceiling=ceiling, priors=priors, seed=seed)
        rows += [replace(row, file=file, holdout=float(holdout)) for row in found.rows]
        skipped += [replace(one, file=file, holdout=holdout) for one in found.skipped]
    return Backtest(tuple(rows), tuple(skipped))


def score_split(
    parts: Split,
    method: str,
    *,
    law: str = "coupled",
    ceiling: float = np.inf,
    priors: Priors = DEFAULT,
    seed: int = 0,
) -> Backtest:
    """Fit `parts.train` by one method and score its forecast of `parts.test`, group by group.

    File and hold-out factor are left empty: they are the caller's.
    """
    if method == "isoflop":
        outcomes = _joint(parts, law_named(law), priors, ceiling, seed)
    else:
        outcomes, law = _separate(parts, method, seed), baselines.LAWS.get(method, "")
    rows: list[Row] = []
    skipped: list[Skipped] = []
    for group, outcome in outcomes.items():
        if isinstance(outcome, str):
            skipped.append(Skipped("", group, method, np.nan, outcome))
            continue
        test = parts.test[parts.test["group"] == group]
        row = Row(
            file="",
            group=group,
            method=method,
            law=law,
            holdout=np.nan,
            n_train=int((parts.train["group"] == group).sum()),
            n_test=len(test),
            **asdict(score(outcome.log_loss, np.log(test["loss"].to_numpy(float)))),
            seconds=outcome.seconds,
        )
        rows.append(row)
    return Backtest(tuple(rows), tuple(skipped))


def split(records: pd.DataFrame, holdout: float) -> Split:
    """Cut each group at its largest compute over `holdout`, and set aside what is too small."""
    if not holdout > 1.0:
        raise ValueError(f"the hold-out factor is {holdout:g}; it must be above 1, 10 is usual")
    below = below_cut(records, holdout)
    skipped = {}
    for group, own in records.groupby("group"):
        train, test = int(below[own.index].sum()), int((~below[own.index]).sum())
        if train < MIN_TRAIN or test < MIN_TEST:
            skipped[str(group)] = (
                f"{train} run(s) to fit and {test} to forecast, at least {MIN_TRAIN} and "
                f"{MIN_TEST} are needed"
            )
    tested = ~records["group"].isin(list(skipped))
    return Split(records[below & tested], records[~below & tested], skipped)


def to_json(rows: Sequence[Row]) -> str:
    """The rows as a JSON list, keys as in `Row`."""
    return json.dumps([asdict(row) for row in rows], indent=1) + "\n"


@dataclass(frozen=True)
class _Forecast:
    log_loss: np.ndarray
    seconds: float


def _joint(
    parts: Split, law: Law, priors: Priors, ceiling: float, seed: int
) -> dict[str, _Forecast | str]:
    """The hierarchical model's draws of log loss of each group's held-out runs, or why not."""
    start = time.perf_counter()
    try:
        screen(parts.train, law, ceiling=ceiling)
    except ValueError as error:
        return dict.fromkeys(group_names(parts.train), f"of the runs to fit, {error}")
    train = thinned(parts.train, MAX_RUNS, seed=seed)
    data, groups = run_data(train, ceiling=ceiling), group_names(train)
    drawn = sample_law(train, law, priors, LENGTHS, ceiling=ceiling, seed=seed)
    unseen = new_runs(parts.test, data, groups, drawn.valley, ceiling=ceiling)
    loss = predictive.replicated_loss(drawn.sites, unseen, ceiling=ceiling, seed=seed)
    log_loss = np.log(loss.reshape(-1, loss.shape[-1]))
    seconds = (time.perf_counter() - start) / len(groups)
    index = np.array([groups[g] for g in unseen.group])
    return {group: _Forecast(log_loss[:, index == group], seconds) for group in groups}


def _separate(parts: Split, method: str, seed: int) -> dict[str, _Forecast | str]:
    """A baseline's draws for each group, or why it could not be fitted."""
    outcomes: dict[str, _Forecast | str] = {}
    for group in group_names(parts.train):
        train, test = (table[table["group"] == group] for table in (parts.train, parts.test))
        start = time.perf_counter()
        try:
            fitted = baselines.fit_baseline(method, train, draws=BOOTSTRAPS, seed=seed)
        except ValueError as error:
            outcomes[group] = str(error)
            continue
        predicted = baselines.predict_log_loss(fitted, test, seed=seed)
        outcomes[group] = _Forecast(predicted, time.perf_counter() - start)
    return outcomes
