"""Simulate runs from the prior, refit them, rank the truth: one chunk of replications to a CSV.

    python studies/calibration/replicate.py --chunk 0 --size 40 -o build/calibration/0.csv

Replication i of chunk c has seed c·size + i, so chunks of one size never repeat each other.
"""

import argparse
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from isoflop.files import writing
from isoflop.inference.calibration import (
    Laboratory,
    Replication,
    lay_out,
    ranks_table,
    replicate,
)
from isoflop.inference.laws import law_named
from isoflop.inference.sampler import Lengths
from isoflop.training.records import complete_records

LENGTHS = Lengths(chains=2, draws=400, warmup=200)
"""Of one refit."""
ONE_EPOCH = [(n, u, 1.0) for n, u in product(np.geomspace(1e4, 1e6, 4), np.geomspace(1e4, 1e6, 4))]
REPEATED = [(1e6, 1e4, 2.0), (1e6, 1e4, 8.0), (1e6, 1e4, 32.0), (1e5, 4e4, 4.0), (1e5, 4e4, 16.0)]
"""N, U, epochs; the best loss on the way is kept."""
TO_THE_END = [(1e5, 4e4, 2.0), (1e5, 4e4, 4.0), (1e5, 4e4, 16.0), (1e6, 4e5, 8.0), (4e4, 1e4, 32.0)]
"""The same, trained to the end of their passes, so that overfitting counts."""
SECOND_SEEDS = ONE_EPOCH[::3][:5]
CELLS = {
    "a": ONE_EPOCH + REPEATED,
    "b": ONE_EPOCH + TO_THE_END,
    "c": ONE_EPOCH + SECOND_SEEDS,
}
"""The runs of each group; `c` repeats no sample and learns of ω and P from the other two."""


def design() -> pd.DataFrame:
    """Records of the runs to be; a loss of 1 nat puts the prior of the level there."""
    rows = [(group, n, u * e, u) for group, cells in CELLS.items() for n, u, e in cells]
    table = pd.DataFrame(rows, columns=["group", "params", "samples", "unique_samples"])
    kind = np.where(table["group"] == "b", "final", "early_stopped")
    return complete_records(table.assign(loss=1.0, loss_kind=kind), source="the design")


def replications(
    laboratory: Laboratory, seeds: range, *, recentre: bool
) -> Iterator[tuple[Replication, float]]:
    """Each replication with the seconds that it took."""
    for seed in seeds:
        start = time.perf_counter()
        yield replicate(laboratory, seed=seed, recentre=recentre), time.perf_counter() - start


def main() -> None:
    """Run the chunk that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--chunk", type=int, required=True, help="number of the chunk, from 0")
    parser.add_argument("--size", type=int, default=40, help="replications of a chunk")
    parser.add_argument("--law", default="coupled", help="law that makes and refits the runs")
    parser.add_argument("--recentre", action="store_true", help="refit about the mean log loss")
    parser.add_argument("-o", "--output", type=Path, required=True, help="CSV to write")
    given = parser.parse_args()

    seeds = range(given.chunk * given.size, (given.chunk + 1) * given.size)
    laboratory = lay_out(design(), law_named(given.law), lengths=LENGTHS)
    timed = list(replications(laboratory, seeds, recentre=given.recentre))
    table = ranks_table(one for one, _ in timed)
    table["seconds"] = table["seed"].map({one.seed: seconds for one, seconds in timed})
    with writing(given.output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")
    print(f"{given.output}: {len(seeds)} replications, {sum(s for _, s in timed):.0f} s")


if __name__ == "__main__":
    main()
