"""How well do intervals hold? Every method on every table, the dearest runs hidden.

Usage: python benchmarks/extrapolation.py [--quick] [--runs FOLDER] [--tables TEXT]
           [--holdouts X …] [--out FOLDER]

Tables: the public ones in ../shared/runs where they are, and studies/jets, or every CSV file of
--runs FOLDER (benchmarks/unseen: tables that no choice was made on). One setting for all.
Prints a line a table, group, method and hold-out factor, then the means over groups; writes
`extrapolation.json` and `extrapolation.png`. `--quick` leaves out the slow baselines. The method
`shown` is no forecast: it is our model fitted to the hidden runs too, and so about the best that a
law of this form can do on them.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from isoflop.commands.backtest_text import print_backtest
from isoflop.files import writing
from isoflop.forecast.check_figures import backtest_figure
from isoflop.forecast.figures import save_figure
from isoflop.inference.backtest import METHODS, Row, backtest, score_split, split, to_json
from isoflop.inference.fit import usable_runs
from isoflop.training.records import read_records

ROOT = Path(__file__).parents[1]
PUBLIC = ROOT / ".." / "shared" / "runs"
HOLDOUTS = (3.0, 10.0, 30.0)
QUICK = ("isoflop", "varpro", "power-law")
MAX_EPOCHS = 64.0
"""Passes over the same samples up to which the data-constrained runs are asked for."""


def tables_in(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Name and runs of every CSV file of a folder."""
    for path in sorted(folder.glob("*.csv")):
        yield path.stem, read_records(path)


def tables() -> Iterator[tuple[str, pd.DataFrame]]:
    """Name and runs of every table at hand; the data-constrained one with and without repeats."""
    for name in ("chinchilla_kyotakano", "gadre_overtraining", "olmo_ladder"):
        if (PUBLIC / f"{name}.csv").is_file():
            yield name, read_records(PUBLIC / f"{name}.csv")
    if (PUBLIC / "datablations_c4.csv").is_file():
        records = read_records(PUBLIC / "datablations_c4.csv")
        epochs = records["samples"] / records["unique_samples"]
        yield "datablations_c4, one epoch", records[epochs <= 1.0]
        yield "datablations_c4, to 64 epochs", records[epochs <= MAX_EPOCHS]
    jets = read_records(ROOT / "studies" / "jets" / "records")
    yield "jets, one epoch", jets[jets["samples"] <= jets["unique_samples"]]


def shown(records: pd.DataFrame, holdout: float, file: str) -> Iterator[Row]:
    """Scores of the hidden runs under the fit that has seen them."""
    parts = split(usable_runs(records), holdout)
    if len(parts.test):
        told = replace(parts, train=pd.concat([parts.train, parts.test]))
        for row in score_split(told, "isoflop").rows:
            yield replace(row, file=file, method="shown", holdout=holdout)


def summary(rows: list[Row]) -> pd.DataFrame:
    """Means over all groups and hold-out factors, a row a method.

    `crps_ratio` is the geometric mean of the CRPS over that of approach 3 in the same groups.
    """
    frame = pd.DataFrame(map(asdict, rows))
    keys = ["file", "group", "holdout"]
    log_crps = frame.assign(crps=np.log(frame["crps"])).pivot_table("crps", keys, "method")
    means = frame.groupby("method")[["coverage_68", "coverage_95", "mae", "seconds"]].mean()
    means.insert(0, "groups", frame.groupby("method").size())
    means["crps"] = np.exp(log_crps.mean())
    if "approach3" in log_crps:
        means["crps_ratio"] = np.exp(log_crps.sub(log_crps["approach3"], axis=0).mean())
    return means.sort_values("crps")


def main() -> None:
    """Run all back-tests and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=Path, help="a folder of run tables instead")
    parser.add_argument("--tables", default="", help="only those with this in their name")
    parser.add_argument("--holdouts", type=float, nargs="+", default=HOLDOUTS)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks")
    options = parser.parse_args()
    methods = QUICK if options.quick else METHODS
    rows: list[Row] = []
    for name, records in tables_in(options.runs) if options.runs else tables():
        if options.tables not in name:
            continue
        print(f"\n{name}")
        outcomes = [
            backtest(records, holdout=h, methods=methods, file=name) for h in options.holdouts
        ]
        found = [row for outcome in outcomes for row in outcome.rows]
        print_backtest(found, [one for outcome in outcomes for one in outcome.skipped])
        bound = [row for h in options.holdouts for row in shown(records, h, name)]
        print_backtest(bound, [])
        rows += [*found, *bound]
    print("\nMeans over groups and hold-out factors; CRPS geometric, its ratio to approach 3:")
    print(summary(rows).to_string(float_format="%.3g"))
    with writing(options.out / "extrapolation.json") as temporary:
        temporary.write_text(to_json(rows), encoding="utf-8")
    forecasts = [row for row in rows if row.method != "shown"]
    save_figure(
        backtest_figure(pd.DataFrame(map(asdict, forecasts))), options.out / "extrapolation.png"
    )


if __name__ == "__main__":
    main()
