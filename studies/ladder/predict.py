"""Fit the cheap rungs of the OLMo ladder and forecast the runs above them, by two methods.

    python studies/ladder/predict.py ../shared/runs/olmo_ladder.csv \
        --table studies/ladder/ladder.csv --parameters studies/ladder/parameters.csv
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
import xarray as xr

from isoflop.files import writing
from isoflop.forecast.predict import (
    Draws,
    extrapolation_decades,
    group_draws,
    predictive_draws,
    quantiles,
)
from isoflop.inference.fit import fit
from isoflop.inference.verdict import rolling_summary, sentence
from isoflop.training.records import read_records

LARGEST = 1.3e9
"""Parameters of the largest run that is fitted."""
COLUMNS = ["low_95", "low_68", "median", "high_68", "high_95"]
METHODS = {
    "isoflop": {"law": "coupled"},
    "approach 3": {"engine": "approach3", "chains": 1, "draws": 400},
}
SYMBOLS = ("loss_inf", "alpha", "beta", "gamma", "sigma", "kappa")


def predicted(posterior: xr.DataTree, runs: pd.DataFrame) -> pd.DataFrame:
    """The interval of each run's loss [nat], and how far the median lies from the truth."""
    draws = group_draws(posterior, str(runs["group"].iloc[0]))
    size = runs["params"].to_numpy(float), runs["samples"].to_numpy(float)
    loss = predictive_draws(draws, size[0], unique_samples=size[1], seed=0)
    table = pd.DataFrame(quantiles(loss).T, columns=COLUMNS)
    names = ["run_id", "role", "params", "samples", "flops", "loss"]
    table = pd.concat([runs[names].reset_index(drop=True), table], axis=1)
    table["error_percent"] = 100.0 * (table["median"] / table["loss"] - 1.0)
    # By the group's c, which is how the forecast measures distance.
    cost = draws.flops_per_param_sample * size[0] * size[1]
    table["decades"] = [extrapolation_decades(c, draws.largest_flops) for c in cost]
    return table


def parameters(posterior: xr.DataTree, draws: Draws) -> pd.DataFrame:
    """Median and 68 % interval of the law's parameters, and what its rolling refits held."""
    rows = {name: quantiles(getattr(draws, name)[:, None])[1:4, 0] for name in SYMBOLS}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["low_68", "median", "high_68"])
    rolled = rolling_summary(posterior)
    if rolled:
        frame.loc["refits_held_95", "median"] = rolled.coverage_95
    return frame.rename_axis("parameter").reset_index()


def main() -> None:
    """Write the table of all runs by both methods, fitted ones too, and the law's parameters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", type=Path, help="olmo_ladder.csv")
    parser.add_argument("--table", type=Path, required=True, help="CSV of the forecasts")
    parser.add_argument("--parameters", type=Path, required=True, help="CSV of the law")
    given = parser.parse_args()
    if not given.runs.is_file():
        print(f"skipped: no {given.runs}; the public run tables are not part of the repository")
        sys.exit(0)
    records = read_records(given.runs)
    rungs = records[(records["role"] == "ladder") & (records["params"] <= LARGEST)]
    tables, laws = [], []
    for method, settings in METHODS.items():
        posterior = fit(rungs, seed=0, **settings)
        table = predicted(posterior, records).assign(method=method)
        tables.append(table.assign(fitted=table["run_id"].isin(rungs["run_id"])))
        laws.append(parameters(posterior, group_draws(posterior, "olmo2")).assign(method=method))
        print(f"{method}: {len(rungs)} runs. {sentence(posterior, decades=table['decades'].max())}")
        print(table[table["params"] > LARGEST].drop(columns="method").to_string(index=False))
    for path, parts in ((given.table, tables), (given.parameters, laws)):
        with writing(path) as temporary:
            pd.concat(parts, ignore_index=True).to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
