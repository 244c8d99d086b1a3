"""From the ranks of all chunks to one row a quantity, and the points and curves of the figure.

    python studies/calibration/summarise.py build/calibration/ranks-*.csv \
        --table studies/calibration/summary.csv \
        --curves build/calibration/curves.csv --points build/calibration/points.csv
"""

import argparse
from pathlib import Path

import pandas as pd

from isoflop.files import writing
from isoflop.inference.ranks import ecdf_band, ecdf_difference, uniformity_table


def curves_of(ranks: pd.DataFrame) -> pd.DataFrame:
    """ECDF of each quantity's ranks minus the uniform one, with the band that holds 95 % of such
    curves."""
    band = ecdf_band(ranks["seed"].nunique())
    edges = {"at": band.at, "low": band.low, "high": band.high}
    tables = [
        pd.DataFrame({"quantity": name, **edges, "difference": ecdf_difference(part.to_numpy())})
        for name, part in ranks.groupby("quantity", sort=False)["rank"]
    ]
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    """Write the three tables and print what a reader asks first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("chunks", type=Path, nargs="+", help="CSV files of replicate.py")
    for name in ("table", "curves", "points"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"CSV of the {name}")
    given = parser.parse_args()

    ranks = pd.concat([pd.read_csv(path) for path in given.chunks], ignore_index=True)
    table = uniformity_table(ranks)
    points = ranks[["quantity", "contraction", "z_score"]]
    outputs = {given.table: table, given.curves: curves_of(ranks), given.points: points}
    for path, frame in outputs.items():
        with writing(path) as temporary:
            frame.to_csv(temporary, index=False, float_format="%.6g")

    runs = ranks.groupby("seed")[["rhat", "divergent", "seconds"]].max()
    print(
        f"{len(runs)} replications, {len(table)} quantities, {runs['seconds'].median():.2f} s each"
    )
    print(
        f"R-hat above 1.05 in {(runs['rhat'] > 1.05).sum()}, "
        f"a divergent transition in {(runs['divergent'] > 0).sum()}"
    )
    print(f"smallest p-values of {len(table)}; times {len(table)} is the bound of Bonferroni:")
    print(table.nsmallest(5, "ecdf_p")[["quantity", "chi2_p", "ecdf_p"]].to_string(index=False))
    print(table.nsmallest(5, "chi2_p")[["quantity", "chi2_p", "ecdf_p"]].to_string(index=False))


if __name__ == "__main__":
    main()
