"""Simulate jets of the ten JetClass classes: Pythia 8, a parametrised detector, FastJet, ROOT.

Proton collisions at 13 TeV at leading order, with showers, multiparton interactions, hadronisation
and decays (cτ < 10 mm), without pile-up. Jets are anti-kT R = 0.8 jets of energy-flow objects with
500 < pT < 1000 GeV and |η| < 2 (arXiv:2202.03772). A signal jet is kept only when every decay
product of the resonance, neutrinos aside, lies within ΔR < 0.8 of it.

| file          | hard process (Pythia)               | decay                     |
|---------------|-------------------------------------|---------------------------|
| ZJetsToNuNu   | q q̄ → Z g, q g → Z q                | Z → νν; jets of QCD       |
| HToBB/CC/GG   | q q̄ → H Z, Z → νν                   | H → bb̄, cc̄, gg            |
| HToWW4Q       | q q̄ → H Z, Z → νν                   | H → WW* → qq̄qq̄            |
| HToWW2Q1L     | q q̄ → H Z, Z → νν                   | H → WW* → ℓν qq̄, ℓ = e, μ |
| ZToQQ         | q q̄ → Z Z                           | both Z → qq̄               |
| WToQQ         | q q̄ → W W                           | both W → qq̄               |
| TTBar         | g g, q q̄ → t t̄                      | both t → b qq̄             |
| TTBarLep      | g g, q q̄ → t t̄                      | both t → b ℓν, ℓ = e, μ   |

An event yields as many jets as pass: both sides of ZZ, WW and tt̄ are used.

The files have the branches and dtypes of JetClass (`layout.py`). Three things differ: the particle
branches are counted arrays, not std::vector, and share one extra branch, `npart`; soft-drop mass
and N-subjettiness are NaN, for they are not computed; and an entry `isoflop` beside the tree says
what made the file.

A file depends on (seed, process, index) alone, not on the number of workers. Pythia and FastJet are
GPL: only this module imports them, when it runs. Cite arXiv:2203.11601 (Pythia 8.3) and
arXiv:1111.6097 (FastJet) for jets made with it.
"""

import itertools
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from isoflop.files import check_writable, writing
from isoflop.training.jets.detector import (
    CHARGED_HADRON,
    ELECTRON,
    MUON,
    NEUTRAL_HADRON,
    PHOTON,
    EnergyFlow,
    Floats,
    Integers,
    detect,
)
from isoflop.training.jets.layout import (
    JET_DTYPES,
    LABEL_OF_PROCESS,
    PARTICLE_DTYPES,
    PROCESSES,
    SPLIT_INDICES,
    TREE,
    file_name,
)
from isoflop.training.jets.preselection import PT_HAT_MIN, selection
from isoflop.training.jets.processes import COMMON, GENERATION, Process
from isoflop.training.jets.truth import Record, Truth, match, wrap
from isoflop.training.workers import cores, end_with_parent

try:
    import awkward as ak
    import uproot
except ImportError as error:
    raise ImportError(f'{error.name} is missing; pip install "isoflop[simulation]"') from error

SCHEMA = "isoflop.simulation/1"
RADIUS = 0.8
PT_RANGE = (500.0, 1000.0)  # GeV
ETA_MAX = 2.0
EVENTS_PER_BATCH = 100  # fixed: the content of a file must not depend on how many jets are wanted


@dataclass(frozen=True)
class SimulationSummary:
    """What `simulate` did."""

    directory: Path
    """folder of the files"""
    files: tuple[Path, ...]
    """all files of the request, written now or found complete"""
    n_jets: int
    """jets in these files"""
    n_simulated: int
    """jets simulated now"""
    seconds: float
    """wall-clock time [s]"""
    workers: int
    """processes that worked at the same time"""


@dataclass(frozen=True)
class _Task:
    """One file to simulate; it fixes the content of the file."""

    path: Path
    process: str
    index: int
    n_jets: int
    seed: int


def simulate(
    directory: str | Path,
    n_jets: int,
    *,
    seed: int = 1,
    split: str = "train",
    jets_per_file: int = 10_000,
    only: Sequence[int] = (),
    workers: int | None = None,
    quiet: bool = False,
) -> SimulationSummary:
    """Simulate `n_jets` jets, a tenth of each class, into ROOT files in `directory`.

    The files are named as in JetClass, `<process>_<index>.root`, with the indices of `split`
    (train 000–099, test 100–119, val 120–124) and `jets_per_file` jets each. A complete file that
    is already there is kept, so an interrupted simulation resumes when called again; a killed one
    has lost at most the files in progress. `only` names files of the request by their index: a job
    of a larger simulation, which writes no others. `workers` processes run at a time (default: the
    cores this process may use); a script that calls this needs the usual
    `if __name__ == "__main__"` unless `workers` is 1. Progress goes to stderr unless `quiet`.
    """
    folder = Path(directory)
    tasks = _chosen(_tasks(folder, n_jets, seed, split, jets_per_file), only)
    n_jets = sum(task.n_jets for task in tasks)
    workers = cores() if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    _generators()
    check_writable(tasks[0].path)
    todo = [task for task in tasks if not _is_complete(task)]
    workers = min(workers, max(1, len(todo)))
    start = time.perf_counter()
    with _progress(n_jets, sum(t.n_jets for t in todo), quiet) as advance:
        for done in _run(todo, workers):
            advance(done)
    return SimulationSummary(
        directory=folder,
        files=tuple(task.path for task in tasks),
        n_jets=n_jets,
        n_simulated=sum(task.n_jets for task in todo),
        seconds=time.perf_counter() - start,
        workers=workers,
    )


# --- files to write, and who writes them ----------------------------------------------------------


def _tasks(
    folder: Path, n_jets: int, seed: int, split: str, jets_per_file: int
) -> tuple[_Task, ...]:
    """Return the files of the request, index by index, so that all classes grow together."""
    if split not in SPLIT_INDICES:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLIT_INDICES)}")
    if n_jets < 1 or n_jets % len(PROCESSES):
        raise ValueError(
            f"n_jets is {n_jets}; it must be a positive multiple of {len(PROCESSES)}, "
            "the number of classes"
        )
    if jets_per_file < 1:
        raise ValueError(f"jets_per_file is {jets_per_file}; it must be at least 1")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must not be negative")
    per_class, indices = n_jets // len(PROCESSES), SPLIT_INDICES[split]
    if per_class > jets_per_file * len(indices):
        raise ValueError(
            f"{n_jets} jets need more than the {len(indices)} files a class of split {split!r}; "
            f"use jets_per_file of at least {-(-per_class // len(indices))}, not {jets_per_file}"
        )
    sizes = [
        (index, min(jets_per_file, per_class - first))
        for index, first in zip(indices, range(0, per_class, jets_per_file), strict=False)
    ]
    return tuple(
        _Task(folder / file_name(process, index), process, index, size, seed)
        for index, size in sizes
        for process in PROCESSES
    )


def _chosen(tasks: tuple[_Task, ...], only: Sequence[int]) -> tuple[_Task, ...]:
    """Return the files whose index `only` names, or all."""
    indices = {task.index for task in tasks}
    if unknown := sorted(set(only) - indices):
        raise ValueError(
            f"no file {unknown[0]} in this request; its files are numbered {min(indices)} to "
            f"{max(indices)}"
        )
    return tuple(task for task in tasks if task.index in only) if only else tasks


def _is_complete(task: _Task) -> bool:
    """Tell whether the file of `task` is there; refuse one that is not part of this request."""
    if not task.path.exists():
        return False
    try:
        with uproot.open(task.path) as file:
            made_by = json.loads(file["isoflop"]) if "isoflop" in file else {}
            entries = int(file[TREE].num_entries)
    except (OSError, ValueError, KeyError, uproot.deserialization.DeserializationError) as error:
        raise ValueError(f"{task.path} is not a readable ROOT file; delete it") from error
    if made_by.get("schema") != SCHEMA:
        raise ValueError(f"{task.path} was not made by this program; choose another folder")
    if made_by["seed"] != task.seed or entries > task.n_jets:
        raise ValueError(
            f"{task.path} holds {entries} jets of seed {made_by['seed']}, not {task.n_jets} of "
            f"seed {task.seed}; choose another folder, or the seed and jets_per_file used before"
        )
    return entries == task.n_jets


def _run(tasks: list[_Task], workers: int) -> Iterator[int]:
    """Simulate the files of `tasks`; yield the number of jets of each when it is written."""
    if workers == 1:
        yield from map(_simulate_file, tasks)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=end_with_parent) as pool:
        futures = [pool.submit(_simulate_file, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _progress(n_jets: int, n_todo: int, quiet: bool) -> Iterator[Any]:
    """Yield a function that advances a progress bar on stderr by a number of jets."""
    bar = Progress(
        TextColumn("{task.completed:.0f}/{task.total:.0f} jets"),
        BarColumn(),
        TextColumn("{task.fields[rate]:.0f} jets/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        console=Console(file=sys.stderr),
        disable=quiet,
        speed_estimate_period=600.0,
    )
    start = time.perf_counter()
    with bar:
        row = bar.add_task("simulate", total=n_jets, completed=n_jets - n_todo, rate=0.0)
        done = 0

        def advance(jets: int) -> None:
            nonlocal done
            done += jets
            bar.update(row, advance=jets, rate=done / (time.perf_counter() - start))

        yield advance


# --- one file -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Jets:
    """Jets of a batch of events and the objects in them."""

    event: Integers
    """number of the event, shape (jets,), as all below"""
    pt: Floats
    """transverse momentum [GeV]"""
    eta: Floats
    """pseudorapidity"""
    phi: Floats
    """azimuth"""
    energy: Floats
    """energy [GeV]"""
    constituents: list[list[int]]
    """positions of the objects of each jet in the energy flow"""


def _simulate_file(task: _Task) -> int:
    """Simulate one file and write it; return the number of jets."""
    n_jets, batches = 0, []
    for columns in jet_batches(task.process, task.index, seed=task.seed):
        batches.append(columns)
        n_jets += len(columns["jet_pt"])
        if n_jets >= task.n_jets:
            break
    columns = {k: ak.concatenate([b[k] for b in batches])[: task.n_jets] for k in batches[0]}
    _write(task, columns)
    return task.n_jets


def jet_batches(process: str, index: int, *, seed: int) -> Iterator[dict[str, Any]]:
    """Yield batches of jets of `process` for ever, as columns by their JetClass branch name.

    Columns of particles are jagged awkward arrays, the others NumPy arrays. The sequence depends on
    `process`, `index` (the number of the file) and `seed` alone.
    """
    sequence = np.random.SeedSequence([seed, PROCESSES.index(process), index])
    rng = np.random.default_rng(sequence)
    # Pythia takes seeds from 1 to 900 000 000
    pythia_seed = int(sequence.generate_state(1)[0]) % 900_000_000 + 1
    recipe = GENERATION[process]
    for events in event_batches(recipe, pythia_seed):
        record = Record(events)
        flow = detect(record.visible(), rng)
        jets = cluster(flow)
        truth = record.partons() if recipe.resonance == 0 else record.decays(recipe.resonance)
        jet, partner, distance = match(jets.event, jets.eta, jets.phi, truth)
        if recipe.resonance:
            kept = distance < RADIUS
            jet, partner, distance = jet[kept], partner[kept], distance[kept]
        yield _columns(process, flow, jets, truth, jet, partner, distance)


def event_batches(recipe: Process, pythia_seed: int) -> Iterator[Any]:
    """Yield batches of Pythia events for ever, as awkward arrays."""
    pythia8, _ = _generators()
    pythia = pythia8.Pythia("", False)
    cuts = (f"Random:seed = {pythia_seed}", f"PhaseSpace:pTHatMin = {PT_HAT_MIN}")
    for setting in (*COMMON, *cuts, *recipe.settings, *recipe.alternatives[0]):
        assert pythia.readString(setting), setting
    hook = selection(pythia8, recipe.resonance)  # Pythia does not own it: it must live as long
    pythia.setUserHooksPtr(hook)
    if not pythia.init():
        raise RuntimeError(f"Pythia cannot be initialised with {recipe.settings}")
    batch = 0
    while True:
        for setting in recipe.alternatives[batch % len(recipe.alternatives)]:
            assert pythia.readString(setting), setting
        yield pythia.nextBatch(EVENTS_PER_BATCH)
        batch += 1


def cluster(flow: EnergyFlow) -> Jets:
    """Return the anti-kT jets of `flow` in the range of pT and η, event by event."""
    _, fastjet = _generators()
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
    momenta = np.stack([flow.px, flow.py, flow.pz, flow.energy], axis=1).tolist()
    bounds = np.flatnonzero(np.diff(flow.event, prepend=-1, append=-1))
    rows: list[tuple[float, ...]] = []
    constituents: list[list[int]] = []
    for start, stop in itertools.pairwise(bounds.tolist()):
        inputs = [fastjet.PseudoJet(*p) for p in momenta[start:stop]]
        sequence = fastjet.ClusterSequence(inputs, definition)
        for jet in sequence.inclusive_jets(PT_RANGE[0]):
            if jet.pt() < PT_RANGE[1] and abs(jet.eta()) < ETA_MAX:
                rows.append((flow.event[start], jet.pt(), jet.eta(), jet.phi_std(), jet.e()))
                constituents.append([start + c.cluster_hist_index() for c in jet.constituents()])
    event, pt, eta, phi, energy = np.array(rows, dtype=float).reshape(-1, 5).T
    return Jets(event.astype(np.int64), pt, eta, phi, energy, constituents)


def _columns(
    process: str,
    flow: EnergyFlow,
    jets: Jets,
    truth: Truth,
    jet: Integers,
    partner: Integers,
    distance: Floats,
) -> dict[str, Any]:
    """Return the columns of the tree for the jets numbered `jet`, matched to `partner`."""
    n = len(jet)
    unknown = np.full(n, np.nan)
    columns: dict[str, Any] = {label: np.zeros(n) for label in LABEL_OF_PROCESS.values()}
    columns[LABEL_OF_PROCESS[process]] = np.ones(n)
    columns |= {
        "jet_pt": jets.pt[jet],
        "jet_eta": jets.eta[jet],
        "jet_phi": jets.phi[jet],
        "jet_energy": jets.energy[jet],
        "jet_nparticles": np.array([len(jets.constituents[j]) for j in jet], dtype=float),
        **{name: unknown for name in ("jet_sdmass", *(f"jet_tau{i}" for i in (1, 2, 3, 4)))},
        "aux_genpart_eta": truth.eta[partner],
        "aux_genpart_phi": truth.phi[partner],
        "aux_genpart_pid": truth.pdg[partner],
        "aux_genpart_pt": truth.pt[partner],
        "aux_truth_match": distance < RADIUS,
    }
    columns = {name: columns[name].astype(dtype) for name, dtype in JET_DTYPES.items()}
    return columns | _particle_columns(flow, jets, jet)


def _particle_columns(flow: EnergyFlow, jets: Jets, jet: Integers) -> dict[str, Any]:
    """Return the jagged columns of the particles of the jets numbered `jet`, hardest first."""
    counts = np.array([len(jets.constituents[j]) for j in jet], dtype=np.int64)
    objects = np.array([i for j in jet for i in jets.constituents[j]], dtype=np.int64)
    of = np.repeat(jet, counts)
    order = np.lexsort((-np.hypot(flow.px[objects], flow.py[objects]), of))
    at = objects[order]  # `of` is in order already
    px, py, pz, kind = flow.px[at], flow.py[at], flow.pz[at], flow.kind[at]
    eta, phi = np.arcsinh(pz / np.hypot(px, py)), np.arctan2(py, px)
    values = {
        "part_px": px,
        "part_py": py,
        "part_pz": pz,
        "part_energy": flow.energy[at],
        "part_deta": (eta - jets.eta[of]) * np.sign(jets.eta[of]),
        "part_dphi": wrap(phi - jets.phi[of]),
        "part_d0val": flow.d0[at],
        "part_d0err": flow.d0err[at],
        "part_dzval": flow.dz[at],
        "part_dzerr": flow.dzerr[at],
        "part_charge": flow.charge[at],
        "part_isChargedHadron": kind == CHARGED_HADRON,
        "part_isNeutralHadron": kind == NEUTRAL_HADRON,
        "part_isPhoton": kind == PHOTON,
        "part_isElectron": kind == ELECTRON,
        "part_isMuon": kind == MUON,
    }
    return {
        name: ak.unflatten(values[name].astype(dtype), counts)
        for name, dtype in PARTICLE_DTYPES.items()
    }


def _write(task: _Task, columns: dict[str, Any]) -> None:
    """Write the tree of one file, and beside it what made it."""
    # zipped, the particle branches share one counter branch, `npart`
    particles = ak.zip({name.removeprefix("part_"): columns[name] for name in PARTICLE_DTYPES})
    scalars = {name: ak.to_numpy(columns[name]) for name in JET_DTYPES}
    made_by = {"schema": SCHEMA, "seed": task.seed, "process": task.process, "index": task.index}
    with writing(task.path) as path, uproot.recreate(path) as file:
        columns = {"part": particles, **scalars}
        types = {name: ak.type(values).content for name, values in columns.items()}
        file.mktree(TREE, types).extend(columns)
        file["isoflop"] = json.dumps(made_by)


# --- the generators -------------------------------------------------------------------------------


@cache
def _generators() -> tuple[Any, Any]:
    """Return the modules pythia8mc and fastjet, imported on first use."""
    try:
        import fastjet
        import pythia8mc
    except ImportError as error:
        raise ImportError(f'{error.name} is missing; pip install "isoflop[simulation]"') from error
    with _stdout_closed():  # FastJet greets on stdout at its first clustering
        definition = fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
        fastjet.ClusterSequence([fastjet.PseudoJet(1.0, 0.0, 0.0, 1.0)], definition)
    return pythia8mc, fastjet


@contextmanager
def _stdout_closed() -> Iterator[None]:
    """Send what C++ code writes to stdout to nowhere."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
