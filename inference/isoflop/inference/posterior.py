"""The posterior file: names, dimensions, units and attributes; the contract with the forecast.

A posterior is an `xarray.DataTree` in ArviZ group conventions, stored as NetCDF. Draw axes come
first (`chain`, `draw`), then the data axes `group` and `run`:

* `posterior` — the law's parameters per group, the noise, κ, the law's error `walk` at the knots
  (evenly spaced in log compute, the last one at the cheapest run), the group scales `tau_<name>`;
* `log_likelihood`, `posterior_predictive` — as ArviZ defines them;
* `observed_data`, `constant_data` — the runs of the fit; `valley`, the law at which it is held what
  runs lose off the optimum;
* `sample_stats`, as ArviZ defines it, `prior`, draws of the same variables before the runs were
  seen, and `rolling`, what refits on the cheaper runs made of the dearer ones — if it was sampled
  and not bootstrapped;
* `predictions`, `predictions_constant_data` — the runs kept apart from the fit, if any;
* `link/rejection`, `link/efficiency` — how the working points at fixed signal efficiency, and at
  fixed background rejection, follow from the loss (`LINK_VARIABLES`), if the records have any.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from isoflop.files import writing

SCHEMA = "isoflop.posterior/2"
GROUPS = (
    "posterior",
    "log_likelihood",
    "posterior_predictive",
    "observed_data",
    "constant_data",
)


@dataclass(frozen=True)
class Variable:
    """What a variable of the posterior is: its dimensions after the draws, unit and meaning."""

    dims: tuple[str, ...]
    """Dimensions after (`chain`, `draw`)."""
    unit: str
    """Unit, empty for a pure number."""
    meaning: str
    """One line a reader understands."""
    symbol: str
    """How it is written in tables and figures."""


LAW_VARIABLES = {
    "loss_inf": Variable(("group",), "nat", "loss at infinite N and D", "L∞"),
    "log_A": Variable(("group",), "", "logarithm of A in A N^−α", "log A"),
    "log_B": Variable(("group",), "", "logarithm of B in B D_eff^−β", "log B"),
    "alpha": Variable(("group",), "", "exponent of the parameters", "α"),
    "beta": Variable(("group",), "", "exponent of the effective samples", "β"),
    "gamma": Variable(("group",), "", "coupling of the two terms; 1 is the additive law", "γ"),
    "omega": Variable(("group",), "", "bound of the repetition gain D_eff/U", "ω"),
    "log_P": Variable(("group",), "", "logarithm of P in P (N/U)(e−1), by overfitting", "log P"),
}
NOISE_VARIABLES = {
    "sigma": Variable((), "", "relative scatter of a run's loss at D = `sigma_samples`", "σ"),
    "sigma_slope": Variable((), "", "power of D in that scatter", "slope of σ"),
    "rho": Variable((), "", "scatter off the optimum, of what a run loses there by the law", "ρ"),
    "nu": Variable((), "", "degrees of freedom of that scatter", "ν"),
    "kappa": Variable((), "", "error of the law beyond the runs, of its fall per √decade", "κ"),
}
SCALE_VARIABLES = {
    "tau_loss_inf": Variable((), "", "scale over groups of logit(L∞ / L at the centre)", "τ(L∞)"),
    "tau_share": Variable((), "", "scale over groups of the logit share of the N term", "τ(share)"),
    "tau_alpha": Variable((), "", "scale over groups of log(γα)", "τ(α)"),
    "tau_beta": Variable((), "", "scale over groups of log(γβ)", "τ(β)"),
    "tau_gamma": Variable((), "", "scale over groups of log γ", "τ(γ)"),
    "tau_omega": Variable((), "", "scale over groups of log(ω−1)", "τ(ω)"),
}
ERROR_VARIABLES = {
    "walk": Variable(("group", "knot"), "", "error of the law within the runs, in log loss", "w"),
    "walls": Variable(
        ("group", "side"), "", "error of the law off the optimum, of what runs lose there", "ζ"
    ),
}
LINK_VARIABLES = {
    "level": Variable(
        ("group", "signal"), "", "log rejection, or logit efficiency, at `centre`", "a"
    ),
    "slope": Variable(
        ("group", "signal", "segment"), "nat^-1", "its rise as the loss falls, by segment", "b"
    ),
    "scatter": Variable(("signal",), "", "standard deviation of runs about it, at `centre`", "τ"),
    "scatter_slope": Variable((), "nat^-1", "rise of the log of that with the loss", "h"),
}
VARIABLES = LAW_VARIABLES | NOISE_VARIABLES | SCALE_VARIABLES

RUN_VARIABLES = {
    "params": Variable(("run",), "", "N, parameters counted by the law", "N"),
    "samples": Variable(("run",), "sample", "D, samples seen, repeats included", "D"),
    "unique_samples": Variable(("run",), "sample", "U, distinct samples", "U"),
    "flops": Variable(("run",), "FLOP", "C, training compute", "C"),
    "run_group": Variable(("run",), "", "group of the run", "group"),
}
LOSS = Variable(("run",), "nat", "validation loss", "L")


def save(posterior: xr.DataTree, path: str | Path) -> None:
    """Write a posterior as NetCDF, whole or not at all, after checking it."""
    check(posterior, source="the posterior to be saved")
    with writing(path) as temporary:
        posterior.to_netcdf(temporary, engine="h5netcdf")


def load(path: str | Path) -> xr.DataTree:
    """Read a posterior file into memory and check it against the contract.

    Raises `FileNotFoundError` if there is none, `ValueError` if it is not a posterior of this
    schema; every fault stands in one message.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"no posterior at {source}; make one with `isoflop fit`")
    try:
        with xr.open_datatree(source, engine="h5netcdf") as tree:
            posterior = tree.load()
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{source}: not a NetCDF file that can be read ({error}); a posterior is what "
            "`isoflop fit RUNS -o posterior.nc` writes"
        ) from error
    check(posterior, source=str(source))
    return posterior


def check(posterior: xr.DataTree, *, source: str = "the posterior") -> None:
    """Raise one `ValueError` with every way in which a tree breaks the contract."""
    schema = posterior.attrs.get("schema")
    if schema != SCHEMA:
        raise ValueError(
            f"{source}: schema is {schema!r}, this version reads {SCHEMA!r}; fit the runs again"
        )
    missing = [name for name in GROUPS if name not in posterior.children]
    if missing:
        raise ValueError(f"{source}: missing group(s) {', '.join(missing)}; fit the runs again")
    draws = posterior["posterior"].to_dataset()
    expected = LAW_VARIABLES | NOISE_VARIABLES | ERROR_VARIABLES
    faults = [f"posterior has no {name}" for name in expected if name not in draws]
    for name, variable in expected.items():
        wanted = ("chain", "draw", *variable.dims)
        if name in draws and draws[name].dims != wanted:
            faults.append(f"{name} has dims {draws[name].dims}, expected {wanted}")
        elif name in draws and not np.isfinite(draws[name].values).all():
            faults.append(f"{name} has values that are not finite")
    runs = posterior["constant_data"].to_dataset()
    wanted_runs = [*RUN_VARIABLES, "flops_per_param_sample", "final", "valley", "sigma_samples"]
    faults += [f"constant_data has no {name}" for name in wanted_runs if name not in runs]
    faults += _link_faults(posterior)
    if faults:
        raise ValueError(f"{source}: {len(faults)} fault(s): " + "; ".join(faults))


def _link_faults(posterior: xr.DataTree) -> list[str]:
    """What the links of a posterior lack, as those of an earlier version do."""
    if "link" not in posterior.children:
        return []
    needed = (*LINK_VARIABLES, "at", "knots", "tested", "cut_error")
    return [
        f"link/{kind} has no {name}; fit the runs again"
        for kind in ("rejection", "efficiency")
        if kind in posterior["link"].children
        for name in needed
        if name not in posterior[f"link/{kind}"].data_vars
    ]


def describe(dataset: xr.Dataset, variables: dict[str, Variable]) -> xr.Dataset:
    """The dataset with unit and meaning in the attributes of each variable it knows."""
    for name, variable in variables.items():
        if name in dataset:
            dataset[name].attrs |= {"units": variable.unit, "long_name": variable.meaning}
    return dataset


def root_attributes(*, law: str, seed: int, records: str, records_sha256: str) -> dict[str, Any]:
    """What made the file: schema, law, seed, the records and their hash, the versions."""
    return {
        "schema": SCHEMA,
        "law": law,
        "seed": seed,
        "records": records,
        "records_sha256": records_sha256,
        "isoflop_version": version("isoflop"),
        "numpyro_version": version("numpyro"),
        "jax_version": version("jax"),
    }
