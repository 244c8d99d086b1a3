"""The cache of jets beside uproot: how long it takes to make, and how fast it is read.

    python benchmarks/cache.py             # files of random numbers with JetClass's multiplicities
    python benchmarks/cache.py data/jets   # the training files of a folder, linked elsewhere

uproot reads the branches that the cache holds and does nothing with them. The rounds alternate and
the fastest of each counts, so that other work on the machine matters little.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from isoflop.training.jets import columns
from isoflop.training.jets.features import open_features
from isoflop.training.jets.jetclass import JET_COLUMNS, PARTICLE_COLUMNS, open_jets, split_files
from isoflop.training.jets.layout import (
    JET_DTYPES,
    LABEL_OF_PROCESS,
    LABELS,
    PARTICLE_DTYPES,
    TREE,
    file_name,
)


def main() -> None:
    """Print the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", nargs="?", help="folder of ROOT files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jets", type=int, default=5_000, help="random jets a file")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        if chosen.data:
            for path in split_files(chosen.data, "train"):
                (data / path.name).symlink_to(path.resolve())
        else:
            write_files(data, chosen.jets)
        measure(data, rounds=chosen.rounds)


def write_files(folder: Path, jets: int) -> None:
    """One file of `jets` jets a class, particles of random numbers, 45 a jet on average."""
    generator = np.random.default_rng(0)
    counts = np.exp(generator.normal(np.log(42.0), 0.4, jets)).round().clip(2, 128).astype(int)
    for process, label in LABEL_OF_PROCESS.items():
        momenta = -np.sort(-ak.unflatten(generator.exponential(10.0, counts.sum()), counts))
        branches = {
            name: ak.values_astype(momenta, dtype) for name, dtype in PARTICLE_DTYPES.items()
        }
        branches |= {
            name: generator.normal(size=jets).astype(JET_DTYPES[name]) for name in JET_DTYPES
        }
        branches |= {name: np.full(jets, name == label, JET_DTYPES[name]) for name in LABELS}
        with uproot.recreate(folder / file_name(process, 0)) as file:
            types = {name: ak.type(ak.Array(values)).content for name, values in branches.items()}
            file.mktree(TREE, types)
            file[TREE].extend(branches)


def measure(data: Path, *, rounds: int) -> None:
    """Time each way of reading and print what the cache costs and gains."""
    files = split_files(data, "train")

    def read_root() -> None:
        for path in files:
            with uproot.open({path: TREE}) as tree:
                tree.arrays([*PARTICLE_COLUMNS, *JET_COLUMNS, *LABELS])

    def build() -> None:
        shutil.rmtree(data / ".cache", ignore_errors=True)
        open_jets(data, "train")

    def compute() -> None:
        jets = open_jets(data, "train")
        (jets.folder / "features_full.npy").unlink(missing_ok=True)
        open_features(jets, "full")

    def read_cache() -> None:
        folder = open_jets(data, "train").folder
        for name in (*PARTICLE_COLUMNS, *JET_COLUMNS, "offsets", "label"):
            np.array(columns.open_column(folder / f"{name}.npy"))

    def check_and_read() -> None:
        columns._checked.cache_clear()  # as in a new process
        read_cache()

    ways = (read_root, build, compute, check_and_read, read_cache)
    spent = [[seconds(way) for way in ways] for _ in range(rounds)]
    root, made, features, checked, cached = np.min(spent, axis=0)
    jets = len(open_jets(data, "train"))
    print(
        f"{jets:,} jets in {len(files)} files\n"
        f"  uproot alone        {root:7.3f} s, {jets / root:12,.0f} jets/s\n"
        f"  ROOT to cache       {made:7.3f} s, {jets / made:12,.0f} jets/s: "
        f"{root / made:.2f} of uproot's speed\n"
        f"  features besides    {features:7.3f} s, {jets / features:12,.0f} jets/s: "
        f"{root / (made + features):.2f} of uproot's speed for both\n"
        f"  checked and read    {checked:7.3f} s, {jets / checked:12,.0f} jets/s: "
        f"{root / checked:.0f} times uproot's speed\n"
        f"  cached reading      {cached:7.3f} s, {jets / cached:12,.0f} jets/s: "
        f"{root / cached:.0f} times uproot's speed"
    )


def seconds(way: Callable[[], None]) -> float:
    """Wall time of a call."""
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
