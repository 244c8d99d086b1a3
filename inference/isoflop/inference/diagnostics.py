"""Whether a posterior can be trusted: convergence, influence, and what the prior decided alone."""

import warnings
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from isoflop.inference import laws
from isoflop.inference.posterior import LAW_VARIABLES, VARIABLES

MAX_RHAT = 1.01
"""Vehtari et al., arXiv:1903.08008, recommend to accept no more."""
MIN_ESS = 400.0
"""The same paper: 100 a chain, for stable quantiles."""
MAX_DIVERGENT = 0.001
"""Fraction of divergent transitions above which a region of the posterior was missed."""
MAX_PARETO_K = 0.7
"""Vehtari et al., arXiv:1507.02646: above it leave-one-out fails and the fit hangs on a run."""
NAMED_RUNS = 8
"""Of those, so many are named; the rest are counted."""
PRIOR_DRIVEN = 0.7
"""A parameter whose 68 % interval is wider than this share of its prior's is prior-driven."""
REPETITION = ("omega", "log_P")
"""What a single pass does not hang on."""
REPEAT_SOME = (
    "A plan that repeats samples, or avoids it, hangs on that: train some runs over repeated "
    "samples, and give loss_kind best where a run keeps its best loss."
)


@dataclass(frozen=True)
class Verdict:
    """Whether the draws represent the posterior, and if not why."""

    ok: bool
    """True if every check passed."""
    reasons: tuple[str, ...]
    """One sentence a failed check, with the remedy."""


@dataclass(frozen=True)
class Diagnosis:
    """All diagnostics of one posterior."""

    table: pd.DataFrame
    """A row a variable and group: median, 16 and 84 % quantiles, rhat, ess_bulk, ess_tail,
    width_ratio (68 % interval over the prior's)."""
    divergent: int
    """Divergent transitions after warm-up."""
    influential: tuple[str, ...]
    """Runs with a Pareto k above `MAX_PARETO_K`."""
    prior_driven: tuple[str, ...]
    """Parameters that the runs do not inform, as `omega[full-40]`."""
    verdict: Verdict
    """The conclusion."""

    @property
    def influence(self) -> str:
        """The influential runs in a sentence, of many the first; empty if there are none."""
        named, others = self.influential[:NAMED_RUNS], self.influential[NAMED_RUNS:]
        if not named:
            return ""
        more = f" and {len(others)} more" if others else ""
        return (
            "Runs that the fit hangs on (leave-one-out is unreliable for them): "
            f"{', '.join(named)}{more}; refit without them to see what changes."
        )


def diagnose(posterior: xr.DataTree) -> Diagnosis:
    """Check convergence, influence and prior dependence of a posterior."""
    table = _summary(posterior)
    verdict = _sampler_verdict(posterior, table)
    divergent = _divergent(posterior)
    return Diagnosis(table, divergent, _influential(posterior), prior_driven(posterior), verdict)


def sampler_verdict(posterior: xr.DataTree) -> Verdict:
    """Whether the draws represent the posterior; a bootstrap has no chains that could disagree."""
    return _sampler_verdict(posterior, _summary(posterior))


def _sampler_verdict(posterior: xr.DataTree, table: pd.DataFrame) -> Verdict:
    if "sample_stats" not in posterior.children:
        return Verdict(True, ())
    draws = posterior["sample_stats"].to_dataset()["diverging"].size
    return chain_verdict(table, _divergent(posterior), draws)


def _divergent(posterior: xr.DataTree) -> int:
    if "sample_stats" not in posterior.children:
        return 0
    return int(posterior["sample_stats"].to_dataset()["diverging"].sum())


def prior_driven(posterior: xr.DataTree) -> tuple[str, ...]:
    """Law parameters that the runs do not inform, as `omega[full-40]`.

    Their 68 % interval is wider than `PRIOR_DRIVEN` times that of the prior.
    """
    if "prior" not in posterior.children:
        return ()
    ratio = _flattened(_width_ratio(posterior))
    return tuple(map(str, ratio.index[ratio > PRIOR_DRIVEN]))


def prior_notice(posterior: xr.DataTree, groups: Collection[str], *, repeats: bool = True) -> str:
    """What of the law of `groups` the prior alone decides, in a sentence; empty if nothing.

    Without `repeats` ω and P are left out: a single pass hangs on neither.
    """
    parts = [name.removesuffix("]").partition("[") for name in prior_driven(posterior)]
    driven = [
        (name, group)
        for name, _, group in parts
        if group in groups and (repeats or name not in REPETITION)
    ]
    if not driven:
        return ""
    shown = (
        f"{LAW_VARIABLES[name].symbol.removeprefix('log ')} of {group}" for name, group in driven
    )
    notice = f"The prior alone decides {', '.join(shown)}: no run informs it."
    return f"{notice} {REPEAT_SOME}" if any(name in REPETITION for name, _ in driven) else notice


def chain_verdict(table: pd.DataFrame, divergent: int, draws: int) -> Verdict:
    """The verdict on chains given a table of rhat, ess_bulk and ess_tail, a row a parameter."""
    reasons = []
    rhat, ess = table["rhat"], table[["ess_bulk", "ess_tail"]].min(axis=1)
    if rhat.max() > MAX_RHAT:
        reasons.append(
            f"R-hat of {rhat.idxmax()} is {rhat.max():.3f}, above {MAX_RHAT}; "
            "the chains disagree, sample longer (--warmup, --draws)"
        )
    if rhat.isna().any():
        reasons.append("one chain has no R-hat, so it cannot be seen to converge; give --chains 2")
    if ess.min() < MIN_ESS:
        reasons.append(
            f"effective sample size of {ess.idxmin()} is {ess.min():.0f}, below {MIN_ESS:.0f}; "
            "increase --draws"
        )
    if divergent > MAX_DIVERGENT * draws:
        reasons.append(
            f"{divergent} of {draws} transitions diverged; part of the posterior was missed, "
            "increase --warmup or look for runs that contradict the law"
        )
    return Verdict(not reasons, tuple(reasons))


def _summary(posterior: xr.DataTree) -> pd.DataFrame:
    """One row for each variable that varies, indexed `name[group]` or `name`."""
    import arviz_stats as azs  # two seconds to import, and a forecast does not need it

    draws = _varying(posterior)
    columns = {
        "median": draws.quantile(0.5, dim=("chain", "draw")),
        "q16": draws.quantile(0.16, dim=("chain", "draw")),
        "q84": draws.quantile(0.84, dim=("chain", "draw")),
        "rhat": azs.rhat(draws),
        "ess_bulk": azs.ess(draws, method="bulk"),
        "ess_tail": azs.ess(draws, method="tail"),
    }
    if "prior" in posterior.children:
        columns["width_ratio"] = _width_ratio(posterior)
    flat = {column: _flattened(dataset) for column, dataset in columns.items()}
    return pd.DataFrame(flat).loc[flat["median"].index]


def _flattened(dataset: xr.Dataset) -> "pd.Series[float]":
    """Scalars and group vectors of a dataset as one series indexed `name[group]` or `name`."""
    values = {}
    for name in map(str, dataset.data_vars):
        if "group" not in dataset[name].dims:
            values[name] = float(dataset[name])
            continue
        for group in dataset["group"].values:
            values[f"{name}[{group}]"] = float(dataset[name].sel(group=group))
    return pd.Series(values)


def _varying(posterior: xr.DataTree) -> xr.Dataset:
    """The posterior's variables without those that the law fixes, such as γ = 1."""
    draws = posterior["posterior"].to_dataset()
    return draws[[name for name in VARIABLES if name in draws and float(draws[name].std()) > 0]]


def _width_ratio(posterior: xr.DataTree) -> xr.Dataset:
    """68 % width of each law parameter over its prior's, on the scale the prior is set on.

    L∞ is judged by its share of the loss at the centre of the runs: they fix the level, so L∞ in
    nat would look informed even where nothing tells it from zero. log A and log B are derived.
    """
    draws, prior = _varying(posterior), posterior["prior"].to_dataset()
    runs = posterior["constant_data"].to_dataset()
    centre = float(runs["params"].median()), float(runs["samples"].median())
    every = posterior["posterior"].to_dataset()
    widths = {"loss_inf": _width(_irreducible(every, centre)) / _width(_irreducible(prior, centre))}
    for name in ("alpha", "beta", "gamma", "omega"):
        if name in draws:
            bound = 1.0 if name == "omega" else 0.0
            after, before = (xr.ufuncs.log(values[name] - bound) for values in (draws, prior))
            widths[name] = _width(after) / _width(before)
    # Where the best loss was kept no forecast depends on the penalty: there it has no ratio.
    penalty = _width(_penalty(every, centre)) / _width(_penalty(prior, centre))
    widths["log_P"] = penalty.where(runs["final"].astype(bool))
    return xr.Dataset(widths)


def _width(values: xr.DataArray) -> xr.DataArray:
    low, high = (values.quantile(q, dim=("chain", "draw"), skipna=False) for q in (0.16, 0.84))
    width: xr.DataArray = high.drop_vars("quantile") - low.drop_vars("quantile")
    return width


def _irreducible(draws: xr.Dataset, centre: tuple[float, float]) -> xr.DataArray:
    """Logit share of L∞ in the loss at the centre."""
    theta = {name: draws[name].values for name in LAW_VARIABLES}
    reducible = np.asarray(laws.loss(*centre, **theta)) - theta["loss_inf"]
    share: xr.DataArray = draws["loss_inf"].copy(data=np.log(theta["loss_inf"] / reducible))
    return share


def _penalty(draws: xr.Dataset, centre: tuple[float, float]) -> xr.DataArray:
    """Log of the rise of the reducible loss at the centre by overfitting, as its prior is set."""
    theta = {name: draws[name].values for name in ("log_A", "log_B", "alpha", "beta")}
    log_u = np.asarray(laws.log_reducible(*centre, **theta))
    rise: xr.DataArray = draws["log_P"] + xr.ufuncs.log(draws["gamma"]) - log_u
    return rise


def _influential(posterior: xr.DataTree) -> tuple[str, ...]:
    """Runs whose leave-one-out weights have a heavy tail; a bootstrap has no such weights."""
    if "sample_stats" not in posterior.children:
        return ()
    import arviz_stats as azs

    with warnings.catch_warnings():
        # ArviZ warns of high k; they are returned and shown instead.
        warnings.simplefilter("ignore", UserWarning)
        pareto = azs.loo(posterior, var_name="loss", pointwise=True).pareto_k
    runs = posterior["constant_data"].to_dataset()["run"].values
    return tuple(map(str, runs[np.asarray(pareto) > MAX_PARETO_K]))
