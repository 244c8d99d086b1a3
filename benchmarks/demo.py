"""Wall time of `make demo` in an environment that is installed already.

Usage: python benchmarks/demo.py
"""

import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Install if need be, run the demo once, print one line."""
    subprocess.run(["make", ".venv/.base"], cwd=ROOT, check=True, capture_output=True)
    start = time.perf_counter()
    subprocess.run(["make", "demo"], cwd=ROOT, check=True, capture_output=True)
    print(f"make demo after install: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
