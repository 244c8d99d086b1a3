"""Wall time of `isoflop --help`, best and median of ten calls.

Usage: python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMAND = [str(Path(sys.executable).with_name("isoflop")), "--help"]


def main() -> None:
    """Call the command ten times and print one line."""
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        subprocess.run(COMMAND, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    print(f"isoflop --help: best {min(seconds):.2f} s, median {statistics.median(seconds):.2f} s")


if __name__ == "__main__":
    main()
