"""Fit the runs of the large end together with the sweep, with and without the under-tuned ones.

    python -m studies.large_end.together

writes together.csv beside this script.
"""

from pathlib import Path

import pandas as pd
import xarray as xr
from studies.large_end.draw import HERE, RECORDS, by_rule
from studies.study import COLUMNS

from isoflop.files import writing
from isoflop.forecast.predict import group_draws, group_names, predictive_draws, quantiles
from isoflop.inference.fit import fit
from isoflop.inference.verdict import judge
from isoflop.training.records import read_records

SWEEP = Path("studies/jets/records")
LOSS_BELOW = 1.9
WIDE = 1e6
"""Parameters above which the rule of the learning rates is known to be too high."""
REPEATED = {"params": 417e3, "unique_samples": 260e3, "epochs": 4.0}
"""The runs that were forecast worst."""


def main() -> None:
    """Fit both selections, write the table."""
    sweep, new = read_records(SWEEP), read_records(RECORDS)
    ruled = by_rule(new)
    lowest = new["loss"] == new.groupby(["group", "params", "samples"])["loss"].transform("min")
    wide = (new["params"] > WIDE).to_numpy()
    chosen = {"by the rule": ruled, "tuned": (ruled & ~wide) | (~ruled & lowest)}
    tables = []
    for name, kept in chosen.items():
        runs = pd.concat([sweep, new[kept]], ignore_index=True)
        posterior = fit(runs, loss_below=LOSS_BELOW, seed=0)
        tables.append(rows_of(posterior).assign(runs=name, added=int(kept.sum())))
    table = pd.concat(tables)
    with writing(HERE / "together.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.4g")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}"))


def rows_of(posterior: xr.DataTree) -> pd.DataFrame:
    """Five quantiles of L∞ and of the loss of `REPEATED` in each group, and the verdict."""
    verdict = judge(posterior)
    rows = []
    for group in group_names(posterior):
        draws = group_draws(posterior, group)
        repeated = predictive_draws(draws, **REPEATED, seed=0)
        for name, values in (("loss_inf", draws.loss_inf[:, None]), ("repeated", repeated)):
            found = dict(zip(COLUMNS, quantiles(values)[:, 0], strict=True))
            rows.append({"group": group, "quantity": name, **found, "trusted": verdict.ok})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
