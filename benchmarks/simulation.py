"""Jets simulated per second and core, all ten classes in equal numbers.

    python benchmarks/simulation.py [jets a class]

Counts the processor time of one core, so that other work on the machine changes little. The
initialisation of Pythia, once a file, is timed apart.
"""

import sys
import time

from isoflop.training.jets.layout import PROCESSES
from isoflop.training.jets.simulate import jet_batches


def main(jets_per_class: int = 300) -> None:
    """Time every class and print one line."""
    start_up = work = 0.0
    for process in PROCESSES:
        batches = jet_batches(process, 0, seed=1)
        start = time.process_time()
        next(batches)  # the first batch pays for the initialisation
        first, start = time.process_time() - start, time.process_time()
        jets = n_batches = 0
        while jets < jets_per_class:
            jets += len(next(batches)["jet_pt"])
            n_batches += 1
        spent = time.process_time() - start
        work += spent / jets
        start_up += first - spent / n_batches
    n = len(PROCESSES)
    print(f"{n / work:.0f} jets/s per core, and {start_up / n:.2f} s to start a file")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
