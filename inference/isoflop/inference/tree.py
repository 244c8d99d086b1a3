"""The groups of a posterior file as xarray datasets, each variable with its unit and meaning."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from isoflop.inference import posterior as contract
from isoflop.inference.model import Valley
from isoflop.inference.rolling import RollingErrors


def law_dataset(sites: Mapping[str, np.ndarray], groups: tuple[str, ...]) -> xr.Dataset:
    """The posterior variables of the contract among the sites, (chain, draw[, group])."""
    known = contract.VARIABLES | contract.ERROR_VARIABLES
    variables = {
        name: (("chain", "draw", *variable.dims), np.asarray(sites[name]))
        for name, variable in known.items()
        if name in sites
    }
    dataset = xr.Dataset(variables, coords={"group": list(groups)})
    return contract.describe(dataset, known)


def loss_dataset(values: np.ndarray) -> xr.Dataset:
    """One value a draw and run, in single precision: the file is a third of the size."""
    dims = ("chain", "draw", "run")
    dataset = xr.Dataset({"loss": (dims, values.astype(np.float32))})
    return contract.describe(dataset, {"loss": contract.LOSS})


def run_groups(
    records: pd.DataFrame, groups: tuple[str, ...], valley: Valley, *, reference: float
) -> dict[str, xr.Dataset]:
    """The runs of the fit, with what one parameter and one sample cost in each group.

    `reference` is the D at which the scatter is quoted, `valley` the law at which it is held what
    runs lose off the optimum.
    """
    constant = _constant_data(records)
    cost = records["flops"] / (records["params"] * records["samples"])
    per_group = cost.groupby(records["group"]).median().loc[list(groups)].to_numpy()
    constant["flops_per_param_sample"] = (("group",), per_group)
    constant["final"] = (("group",), [_judged_at_its_end(records, name) for name in groups])
    held = np.stack([valley[name] for name in contract.LAW_VARIABLES], axis=-1)
    constant["valley"] = (("group", "parameter"), held)
    constant["sigma_samples"] = ((), reference)
    constant = constant.assign_coords(group=list(groups), parameter=list(contract.LAW_VARIABLES))
    return {"constant_data": constant, "observed_data": _observed_data(records)}


def _judged_at_its_end(records: pd.DataFrame, group: str) -> bool:
    """Whether a forecast for the group is of the last loss, overfitting included, or of the best.

    Its repeated runs decide, if there are any: in the first pass both are the same.
    """
    own = records[records["group"] == group]
    repeated = own[own["samples"] > own["unique_samples"]]
    kinds = (repeated if len(repeated) else own)["loss_kind"]
    return bool((kinds == "final").mean() > 0.5)


def predicted_groups(records: pd.DataFrame, loss: np.ndarray) -> dict[str, xr.Dataset]:
    """The runs kept apart: what they are, what they lost, and what the fit says of them."""
    predicted = loss_dataset(loss).assign_coords(run=records["run_id"].to_numpy(str))
    return {
        "predictions": predicted,
        "predictions_constant_data": _constant_data(records).merge(_observed_data(records)),
    }


def rolling_dataset(errors: RollingErrors) -> xr.Dataset:
    """What refits on the cheaper runs made of the dearer ones, (prediction,)."""
    return xr.Dataset({name: (("prediction",), v) for name, v in asdict(errors).items()})


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
