"""Wall time of `fit` on the committed jet records: first call of a process, then the next.

Usage: python benchmarks/fit.py
"""

import time
from pathlib import Path

from isoflop.inference.diagnostics import diagnose
from isoflop.inference.fit import fit
from isoflop.training.records import read_records

RECORDS = Path(__file__).parents[1] / "studies" / "jets" / "records"


def main() -> None:
    """Fit twice and print one line."""
    records = read_records(RECORDS)
    seconds = []
    for seed in (0, 1):
        start = time.perf_counter()
        posterior = fit(records, seed=seed)
        seconds.append(time.perf_counter() - start)
    diagnosis = diagnose(posterior)
    steps = float(posterior["sample_stats"].to_dataset()["n_steps"].mean())
    print(
        f"fit: {len(records)} runs, 4 chains of 1000 draws: cold {seconds[0]:.1f} s, "
        f"warm {seconds[1]:.1f} s, {steps:.0f} leapfrog steps a draw, "
        f"smallest ESS {diagnosis.table['ess_bulk'].min():.0f}"
    )


if __name__ == "__main__":
    main()
