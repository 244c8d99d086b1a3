"""The runs that could be trained next: a grid about the runs of a fit, or a user's own table.

A table of candidates has one row a cell, `group, params, unique_samples, epochs, flops`; other
columns are the user's and are kept.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from isoflop.forecast.predict import group_draws, group_names, loss_draws

CELL = ("group", "params", "unique_samples", "epochs")
"""Columns that name a cell; repeats of it differ by seed or learning rate alone."""
STEP = 2.0
"""Factor between neighbours of the default grid, in N and in U."""
BEYOND = 4.0
"""How far the default grid exceeds the largest N and the largest U of a group."""
MOST_STEPS = 14
"""Values of N, and of U, in the default grid of a group; the step grows to keep to it."""
PASSES = (4.0, 16.0)
"""Epochs of the default grid besides 1, up to the most that the runs of the group have."""
SAME = 0.01
"""Relative difference in N, U and epochs below which two runs are repeats of one cell."""


def default_grid(
    posterior: xr.DataTree,
    *,
    groups: Sequence[str] | None = None,
    unique_cap: float | None = None,
) -> pd.DataFrame:
    """Cells that span the runs of each group (all by default) and exceed them by `BEYOND`.

    `unique_cap` [sample] bounds U. Passes over the same samples are proposed where the runs of the
    group repeat theirs. A cell whose loss would exceed that of all runs of the fit is left out:
    there the law may not hold.
    """
    tables = []
    runs = fitted_cells(posterior)
    for group in groups or group_names(posterior):
        draws = group_draws(posterior, group)
        own = runs[runs["group"] == group]
        passes = [1.0, *(e for e in PASSES if e <= own["epochs"].max())]
        unique = _ladder(own["unique_samples"], unique_cap)
        axes = np.meshgrid(_ladder(own["params"], None), unique, passes, indexing="ij")
        params, samples, epochs = (axis.ravel() for axis in axes)
        cells = {"group": group, "params": params, "unique_samples": samples, "epochs": epochs}
        flops = draws.flops_per_param_sample * params * samples * epochs
        table = pd.DataFrame(cells).assign(flops=flops)
        loss = loss_draws(draws, params, unique_samples=samples, epochs=epochs)
        tables.append(table[np.median(loss, axis=0) <= own["loss"].max()])
    whole: pd.DataFrame = pd.concat(tables, ignore_index=True)
    return whole


def read_candidates(path: str | Path, posterior: xr.DataTree) -> pd.DataFrame:
    """A CSV of cells: `params` and `unique_samples`, and by default 1 epoch of the only group.

    Raises `ValueError` for missing columns, no rows, unknown groups and numbers below 1.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"no candidates at {source}; give a .csv file of runs to choose of")
    try:
        table = pd.read_csv(source, dtype={"group": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{source}: not a readable CSV file ({error})") from error
    return complete_candidates(table, posterior, source=str(source))


def complete_candidates(
    table: pd.DataFrame, posterior: xr.DataTree, *, source: str = "the candidates"
) -> pd.DataFrame:
    """The table with its defaults filled in and checked; `flops` from the group's own c·N·D."""
    groups = group_names(posterior)
    needed = ["params", "unique_samples"] + (["group"] if len(groups) > 1 else [])
    missing = [name for name in needed if name not in table]
    if missing:
        raise ValueError(
            f"{source}: missing column(s) {', '.join(missing)}; it has "
            f"{', '.join(map(str, table.columns))} and needs {', '.join(needed)}"
        )
    if table.empty:
        raise ValueError(f"{source}: no candidates; give at least one row")
    table = table.assign(
        group=table["group"].astype(str) if "group" in table else groups[0],
        epochs=table["epochs"].fillna(1.0) if "epochs" in table else 1.0,
    )
    unknown = sorted(set(table["group"]) - set(groups))
    if unknown:
        raise ValueError(
            f"{source}: unknown group(s) {', '.join(unknown)}; "
            f"this posterior has {', '.join(groups)}"
        )
    for name in CELL[1:]:
        table[name] = pd.to_numeric(table[name], errors="coerce").astype(float)
        wrong = ~(np.isfinite(table[name]) & (table[name] >= 1.0))
        if wrong.any():
            raise ValueError(
                f"{source}: {name} must be a finite number of at least 1; "
                f"row {int(np.argmax(wrong)) + 1} has {table[name][wrong].iloc[0]:g}"
            )
    cost = table["group"].map({g: group_draws(posterior, g).flops_per_param_sample for g in groups})
    flops = cost * table["params"] * table["unique_samples"] * table["epochs"]
    own = table.get("flops", flops)
    table["flops"] = pd.to_numeric(own, errors="coerce").fillna(flops)
    order = [*CELL, "flops"]
    whole = table[order + [name for name in table.columns if name not in order]]
    return whole.drop_duplicates(list(CELL), ignore_index=True)


def fitted_cells(posterior: xr.DataTree) -> pd.DataFrame:
    """The runs of the fit: `group, params, unique_samples, epochs, flops, samples, loss` [nat]."""
    runs = posterior["constant_data"].to_dataset()
    samples, unique = (runs[name].values.astype(float) for name in ("samples", "unique_samples"))
    return pd.DataFrame(
        {
            "group": runs["run_group"].values.astype(str),
            "params": runs["params"].values.astype(float),
            "unique_samples": unique,
            "epochs": np.maximum(samples / unique, 1.0),
            "flops": runs["flops"].values.astype(float),
            "samples": samples,
            "loss": posterior["observed_data"].to_dataset()["loss"].values.astype(float),
        }
    )


def cell_keys(table: pd.DataFrame) -> "pd.Series[str]":
    """The same text for runs of one cell: numbers that differ by less than `SAME` are equal."""
    steps = np.round(np.log(table[list(CELL[1:])]) / np.log1p(SAME)).astype(int).astype(str)
    key: pd.Series[str] = table["group"].str.cat([steps[name] for name in steps], sep="/")
    return key


def _ladder(values: "pd.Series[float]", cap: float | None) -> np.ndarray:
    """From the smallest value to `BEYOND` times the largest, two digits each, up to the cap."""
    low, high = float(values.min()), BEYOND * float(values.max())
    step = max(STEP, (high / low) ** (1.0 / (MOST_STEPS - 1)))
    rungs = low * step ** np.arange(np.floor(np.log(high / low) / np.log(step) + 1e-9) + 1.0)
    rounded = np.array([float(f"{value:.1e}") for value in rungs])
    if cap is None or rounded[-1] <= cap:
        return rounded
    return np.append(rounded[rounded < cap], cap)
