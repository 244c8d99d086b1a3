"""A posterior with everything a report can show: law errors, noise that varies, links to counts."""

import numpy as np
import xarray as xr
from tests.forecast.conftest import OFFSETS, make_posterior

SIGNALS = {"Hbb": 0.5, "Tbl": 0.995}


def full_posterior(
    *,
    draws: int = 200,
    offsets: dict[str, float] = OFFSETS,
    ceiling: float = np.inf,
    held: bool = True,
) -> xr.DataTree:
    """`make_posterior` with an error of the law within and beyond its runs, and with links."""
    tree = make_posterior(draws=draws, offsets=offsets, held=held)
    random = np.random.default_rng(3)
    law = tree["posterior"].to_dataset()
    each = law["sigma"].shape
    for name in ("sigma", "nu"):
        law[name] = law[name] * np.exp(0.1 * random.standard_normal(each))
    law["sigma_slope"] = law["sigma_slope"] + 0.02 * random.standard_normal(each)
    law["kappa"] = law["kappa"] + 0.3 * np.exp(0.2 * random.standard_normal(each))
    law["rho"] = law["rho"] + 0.1 * np.exp(0.3 * random.standard_normal(each))
    law["walk"] = law["walk"] + 0.01 * random.standard_normal(law["walk"].shape)
    law["walls"] = law["walls"] + 0.1 * random.standard_normal(law["walls"].shape)
    tree["posterior"] = law
    for kind, at in (("rejection", SIGNALS), ("efficiency", {"Hbb": 1000.0})):
        tree[f"link/{kind}"] = _link(each, list(offsets), at, random)
    tree.attrs |= {"ceiling": ceiling, "seed": 0, "records": "runs.csv", "engine": "nuts"}
    return tree


def _link(
    each: tuple[int, ...], groups: list[str], at: dict[str, float], random: np.random.Generator
) -> xr.Dataset:
    """Draws of a link about log R = 5 − 8 (L − 0.5), or the same for logit ε."""
    dims = ("chain", "draw", "group", "signal")
    shape = (*each, len(groups), len(at))
    middle = {"level": 5.0, "slope": 8.0, "scatter": 0.1, "scatter_slope": 1.0}
    values = {
        name: (dims, value * np.exp(0.05 * random.standard_normal(shape)))
        for name, value in middle.items()
    }
    link = xr.Dataset(values, coords={"group": groups, "signal": list(at)})
    link["slope"] = link["slope"].expand_dims(segment=2, axis=-1)
    link["knots"] = ("knot", [0.45])
    link["tested"], link["cut_error"] = (("signal", np.full(len(at), v)) for v in (1e4, 0.05))
    link["at"] = ("signal", list(at.values()))
    link["centre"] = ((), 0.5)
    link["lowest_loss"] = ("group", np.full(len(groups), 0.45))
    return link
