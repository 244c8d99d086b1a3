"""Small ROOT files in the JetClass layout, from random numbers that differ a little by class."""

from pathlib import Path
from types import SimpleNamespace

import awkward as ak
import numpy as np
import pytest
import torch
import uproot

from isoflop.training.jets.batches import Splits, open_splits
from isoflop.training.jets.layout import LABEL_OF_PROCESS, LABELS, PARTICLE_DTYPES, TREE, file_name


def jet_arrays(label: str, jets: int, seed: int) -> dict[str, ak.Array]:
    """Branches of one file; the spread, the pT and the displacement of particles tell the class."""
    generator = np.random.default_rng([seed, LABELS.index(label)])
    place = LABELS.index(label)
    counts = generator.integers(2, 30, jets)
    total = int(counts.sum())
    pt = np.exp(generator.normal(1.0 + 0.2 * place, 1.0, total))
    phi, eta = generator.normal(0.0, 0.1 + 0.05 * place, (2, total))
    particles = {
        "part_px": pt * np.cos(phi),
        "part_py": pt * np.sin(phi),
        "part_pz": pt * np.sinh(eta),
        "part_energy": pt * np.cosh(eta),
        "part_deta": eta,
        "part_dphi": phi,
        **{
            f"part_{name}": generator.normal(0.0, 0.1 + place, total)
            for name in ("d0val", "d0err", "dzval", "dzerr")
        },
        "part_charge": generator.integers(-1, 2, total),
    }
    kind = generator.integers(0, 5, total)
    flags = ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")
    particles |= {f"part_is{flag}": kind == number for number, flag in enumerate(flags)}
    order = np.lexsort((-pt, np.repeat(np.arange(jets), counts)))
    branches = {
        name: ak.unflatten(values[order].astype(PARTICLE_DTYPES[name]), counts)
        for name, values in particles.items()
    }
    for name in LABELS:
        branches[name] = np.full(jets, name == label, dtype=np.int32)
    branches["jet_pt"] = generator.uniform(500, 1000, jets).astype(np.float32)
    branches["jet_energy"] = branches["jet_pt"] * np.float32(1.5)
    return branches


def write_tree(path: Path, branches: dict[str, ak.Array], *, tree: str = TREE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path) as file:
        file.mktree(tree, {name: ak.type(ak.Array(v)).content for name, v in branches.items()})
        file[tree].extend(branches)


def write_jets(folder: Path, *, train: int = 40, val: int = 40, files: int = 1) -> Path:
    """Write `train` and `val` jets of every class, `files` files a class and split."""
    for process, label in LABEL_OF_PROCESS.items():
        for start, jets in ((0, train), (120, val)):
            for number in range(start, start + files):
                write_tree(folder / file_name(process, number), jet_arrays(label, jets, number))
    return folder


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small networks are faster on one thread, and on a busy machine by far."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def jet_files() -> SimpleNamespace:
    """The functions that make test files: `arrays`, `write_tree`, `write_jets`."""
    return SimpleNamespace(arrays=jet_arrays, write_tree=write_tree, write_jets=write_jets)


@pytest.fixture(scope="session")
def jet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 training and 400 validation jets in 40 files; not to be written to."""
    return write_jets(tmp_path_factory.mktemp("jets"), train=20, val=20, files=2)


@pytest.fixture(scope="session")
def splits(jet_folder: Path) -> Splits:
    return open_splits(jet_folder)
