"""Fit the hierarchical model to run records by NUTS and return the posterior as a DataTree."""

import os
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import numpyro
import pandas as pd
import xarray as xr
from numpyro import handlers
from numpyro.infer import MCMC, NUTS, init_to_uniform

from isoflop.inference import posterior as contract
from isoflop.inference import predictive
from isoflop.inference.laws import Law, law_named
from isoflop.inference.model import RunData, run_data, sample_parameters, scaling_model
from isoflop.inference.priors import DEFAULT, Priors

PRIOR_DRAWS = 2000

# Chains run side by side on one CPU only if JAX is told so before it starts its backend.
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    numpyro.set_host_device_count(4)


def fit(
    records: pd.DataFrame,
    law: str = "coupled",
    *,
    hold_out: float = 0.0,
    loss_below: float = np.inf,
    chains: int = 4,
    draws: int = 1000,
    warmup: int = 1000,
    seed: int = 0,
    priors: Priors = DEFAULT,
    source: str = "",
    source_sha256: str = "",
    progress: bool = False,
) -> xr.DataTree:
    """Sample the posterior of `law` given checked run records (`read_records`).

    `hold_out` is the fraction of the runs, the most expensive ones by `flops`, that are kept apart
    and predicted instead. Diverged runs carry no number and are left out, and so are runs that end
    overfitted (`status` overfitting with `loss_kind` final): the law describes the best loss. Runs
    whose loss is not below `loss_below` [nat] are left out too: near the loss of guessing (ln K for
    K classes) nothing has been learned yet and no power law holds.

    Returns a tree by the contract of `isoflop.inference.posterior`. Raises `ValueError` when the
    runs cannot identify the law.
    """
    form = law_named(law)
    usable = usable_runs(records, loss_below=loss_below)
    fitted, held = split_most_expensive(usable, hold_out)
    require_identified(fitted, form)
    data = run_data(fitted)
    mcmc = _sample(data, form, priors, (chains, draws, warmup), seed=seed, progress=progress)
    groups = _draw_groups(mcmc, data, form, priors, seed=seed)
    groups |= _run_groups(fitted, data)
    if len(held):
        groups |= _predicted_groups(mcmc, held, data, seed=seed)
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = contract.root_attributes(
        law=law, seed=seed, records=source, records_sha256=source_sha256
    )
    tree.attrs["runs_left_out"] = len(records) - len(usable)
    return tree


def usable_runs(records: pd.DataFrame, *, loss_below: float = np.inf) -> pd.DataFrame:
    """The runs that the law describes: a loss below the bound and not overfitted at the end."""
    overfitted = (records["status"] == "overfitting") & (records["loss_kind"] == "final")
    learned = (records["status"] != "diverged") & (records["loss"] < loss_below)
    usable = records[learned & ~overfitted]
    if usable.empty:
        raise ValueError(
            f"no run to fit: every run diverged, ended overfitted or has a loss of {loss_below:g} "
            "nat or more"
        )
    return usable


def split_most_expensive(
    records: pd.DataFrame, fraction: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split off the given fraction of the runs with the largest compute: (kept, held out)."""
    if not 0.0 <= fraction < 1.0:
        raise ValueError(f"the held-out fraction is {fraction}; it must lie in [0, 1)")
    by_cost = records.sort_values("flops", kind="stable")
    held = round(fraction * len(records))
    kept, apart = by_cost.iloc[: len(by_cost) - held], by_cost.iloc[len(by_cost) - held :]
    lost = sorted(set(apart["group"]) - set(kept["group"]))
    if lost:
        raise ValueError(f"no run left to fit in group(s) {', '.join(lost)}; hold out fewer runs")
    return kept, apart


def require_identified(records: pd.DataFrame, law: Law) -> None:
    """Raise `ValueError` if N or D take fewer than the three values that a power law needs."""
    faults = []
    for column, exponent in (("params", "alpha"), ("samples", "beta")):
        distinct = records[column].nunique()
        if distinct < 3:
            faults.append(
                f"{exponent} cannot be identified: {column} takes {distinct} distinct value(s), "
                f"law {law.name!r} needs at least 3"
            )
    if faults:
        raise ValueError("; ".join(faults) + "; add runs of other sizes")


def _sample(
    data: RunData,
    law: Law,
    priors: Priors,
    lengths: tuple[int, int, int],
    *,
    seed: int,
    progress: bool,
) -> MCMC:
    chains, draws, warmup = lengths
    # Near the centre of the priors, each chain elsewhere; drawing prior medians compiles for 10 s.
    start = init_to_uniform(radius=0.5)
    kernel = NUTS(scaling_model, dense_mass=True, target_accept_prob=0.9, init_strategy=start)
    parallel = jax.local_device_count() >= chains
    mcmc = MCMC(
        kernel,
        num_warmup=warmup,
        num_samples=draws,
        num_chains=chains,
        chain_method="parallel" if parallel else "sequential",
        progress_bar=progress,
    )
    fields = ("diverging", "num_steps", "accept_prob", "energy", "adapt_state.step_size")
    mcmc.run(jax.random.key(seed), data, law, priors, extra_fields=fields)
    return mcmc


def _draw_groups(
    mcmc: MCMC, data: RunData, law: Law, priors: Priors, *, seed: int
) -> dict[str, xr.Dataset]:
    """The groups of the tree that hold draws."""
    samples = _as_numpy(mcmc.get_samples(group_by_chain=True))
    prior = _prior_draws(data, law, priors, seed=seed + 1)
    return {
        "posterior": _law_dataset(samples, data),
        "prior": _law_dataset({key: value[None] for key, value in prior.items()}, data),
        "sample_stats": _sample_stats(mcmc),
        "log_likelihood": _run_dataset(predictive.log_likelihood(samples, data)),
        "posterior_predictive": _run_dataset(
            predictive.replicated_loss(samples, data, seed=seed + 2)
        ),
    }


def _prior_draws(data: RunData, law: Law, priors: Priors, *, seed: int) -> dict[str, np.ndarray]:
    """Independent draws of all sites before the runs are seen, draws first."""

    def one(key: jax.Array) -> dict[str, jax.Array]:
        prior = handlers.seed(sample_parameters, key)
        sites = handlers.trace(prior).get_trace(data, law, priors)
        return {name: site["value"] for name, site in sites.items()}

    # One compilation of the whole is quicker than NumPyro's `Predictive`, which compiles each step.
    keys = jax.random.split(jax.random.key(seed), PRIOR_DRAWS)
    return _as_numpy(jax.jit(jax.vmap(one))(keys))


def _sample_stats(mcmc: MCMC) -> xr.Dataset:
    """What the sampler says of itself, under ArviZ's names."""
    names = {"num_steps": "n_steps", "accept_prob": "acceptance_rate"}
    stats = _as_numpy(mcmc.get_extra_fields(group_by_chain=True))
    dims = ("chain", "draw")
    return xr.Dataset(
        {names.get(key, key.removeprefix("adapt_state.")): (dims, v) for key, v in stats.items()}
    )


def _run_groups(records: pd.DataFrame, data: RunData) -> dict[str, xr.Dataset]:
    """The runs of the fit, shape (run,), with what one parameter and one sample cost a group."""
    constant = _constant_data(records)
    cost = records["flops"] / (records["params"] * records["samples"])
    per_group = cost.groupby(records["group"]).median().loc[list(data.groups)].to_numpy()
    constant["flops_per_param_sample"] = (("group",), per_group)
    constant["sigma_samples"] = ((), float(np.exp(data.centre[1])))
    constant = constant.assign_coords(group=list(data.groups))
    return {"constant_data": constant, "observed_data": _observed_data(records)}


def _predicted_groups(
    mcmc: MCMC, held: pd.DataFrame, data: RunData, *, seed: int
) -> dict[str, xr.Dataset]:
    """The runs kept apart: what they are, what they lost, and what the fit says of them."""
    apart = run_data(held)
    index = np.searchsorted(data.groups, held["group"].to_numpy(str))
    apart = replace(apart, group=index, groups=data.groups, centre=data.centre)
    samples = _as_numpy(mcmc.get_samples(group_by_chain=True))
    predicted = _run_dataset(predictive.replicated_loss(samples, apart, seed=seed + 3))
    return {
        "predictions": predicted.assign_coords(run=held["run_id"].to_numpy(str)),
        "predictions_constant_data": _constant_data(held).merge(_observed_data(held)),
    }


def _as_numpy(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in arrays.items()}


def _law_dataset(samples: dict[str, Any], data: RunData) -> xr.Dataset:
    """The posterior variables of the contract, each with its dims, units and meaning."""
    variables = {
        name: (("chain", "draw", *variable.dims), np.asarray(samples[name]))
        for name, variable in contract.VARIABLES.items()
        if name in samples
    }
    dataset = xr.Dataset(variables, coords={"group": list(data.groups)})
    return contract.describe(dataset, contract.VARIABLES)


def _run_dataset(values: np.ndarray) -> xr.Dataset:
    """One value a draw and run, in single precision: the file is a third of the size."""
    dims = ("chain", "draw", "run")
    dataset = xr.Dataset({"loss": (dims, values.astype(np.float32))})
    return contract.describe(dataset, {"loss": contract.LOSS})


def _constant_data(records: pd.DataFrame) -> xr.Dataset:
    columns = {name: name for name in contract.RUN_VARIABLES} | {"run_group": "group"}
    dataset = xr.Dataset(
        {name: (("run",), _values(records[column])) for name, column in columns.items()},
        coords={"run": records["run_id"].to_numpy(str)},
    )
    return contract.describe(dataset, contract.RUN_VARIABLES)


def _observed_data(records: pd.DataFrame) -> xr.Dataset:
    columns = {name: (("run",), _values(records[name])) for name in ("loss", "loss_stderr")}
    dataset = xr.Dataset(columns, coords={"run": records["run_id"].to_numpy(str)})
    return contract.describe(dataset, {"loss": contract.LOSS})


def _values(column: "pd.Series[Any]") -> np.ndarray:
    return (
        column.to_numpy(str)
        if column.dtype == object or column.dtype == "str"
        else column.to_numpy(float)
    )
