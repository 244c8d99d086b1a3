"""Run records from known parameters, to test a fit or to plan a sweep before any run is trained."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from isoflop.inference import laws
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
