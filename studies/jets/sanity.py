"""Draw what simulated jets look like: mass, multiplicity, displacement and particle pT by class.

    python studies/jets/sanity.py FOLDER [jets a class]

reads the JetClass-layout files of FOLDER and writes `sanity.png` beside this script.
"""

import sys
from pathlib import Path
from typing import Any

import awkward as ak
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import uproot
from matplotlib.axes import Axes

from isoflop.training.jets.layout import LABEL_OF_PROCESS, PARTICLE_DTYPES, TREE

mpl.use("agg")

COLOURS = {
    "ZJetsToNuNu": "0.4",
    "HToBB": "tab:blue",
    "HToCC": "tab:cyan",
    "HToGG": "tab:purple",
    "HToWW4Q": "tab:pink",
    "HToWW2Q1L": "tab:olive",
    "ZToQQ": "tab:green",
    "WToQQ": "tab:orange",
    "TTBar": "tab:red",
    "TTBarLep": "tab:brown",
}
POLE_MASSES = {"WToQQ": 80.4, "ZToQQ": 91.2, "HToBB": 125.2, "TTBar": 172.6}  # GeV, PDG


def main(folder: str, n_jets: int = 4000) -> None:
    """Read, draw, print a table, save."""
    jets = {process: read(Path(folder), process, n_jets) for process in LABEL_OF_PROCESS}
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
    draw_mass(axes[0, 0], jets)
    draw_multiplicity(axes[0, 1], jets)
    draw_displacement(axes[1, 0], jets)
    draw_particle_pt(axes[1, 1], jets)
    axes[0, 1].legend(ncols=2, fontsize=7, frameon=False)  # serves all panels
    figure.savefig(Path(__file__).with_name("sanity.png"), dpi=110)
    for process, arrays in jets.items():
        displaced = np.mean(ak.sum(significance(arrays) > 4, axis=1))
        print(
            f"{process:12} {len(arrays):6} jets  mass peak {mode(mass(arrays)):6.1f} GeV  "
            f"pT {np.mean(arrays.jet_pt):6.1f} GeV  "
            f"particles {np.mean(ak.num(arrays.part_px)):5.1f}  |d0|/σ > 4: {displaced:5.2f}"
        )


def read(folder: Path, process: str, n_jets: int) -> Any:
    """Return the first jets of one class."""
    names = [*PARTICLE_DTYPES, "jet_pt"]
    chunks, found = [], 0
    for path in sorted(folder.glob(f"{process}_*.root")):
        if found >= n_jets:
            break
        with uproot.open(path) as file:
            chunks.append(file[TREE].arrays(names, entry_stop=n_jets - found))
        found += len(chunks[-1])
    if not chunks:
        raise SystemExit(f"no file {process}_*.root in {folder}; run `isoflop simulate` first")
    return ak.concatenate(chunks)


def mass(jets: Any) -> Any:
    """Return the ungroomed jet mass [GeV], shape (jets,)."""
    energy, x, y, z = (
        ak.to_numpy(ak.sum(ak.values_astype(jets[f"part_{name}"], "float64"), axis=1))
        for name in ("energy", "px", "py", "pz")
    )
    return np.sqrt(np.maximum(energy**2 - x**2 - y**2 - z**2, 0))


def significance(jets: Any) -> Any:
    """Return |d0|/σ(d0) of the charged particles, jagged."""
    charged = jets.part_charge != 0
    return abs(jets.part_d0val[charged] / jets.part_d0err[charged])


def mode(values: Any) -> float:
    """Return the middle of the shortest interval that holds 20 % of `values`."""
    ordered = np.sort(values)
    width = len(ordered) // 5
    start = int(np.argmin(ordered[width:] - ordered[:-width]))
    return float(ordered[start] + ordered[start + width]) / 2


def draw_mass(ax: Axes, jets: dict[str, Any]) -> None:
    """Jet mass, with the pole masses as dotted lines."""
    for process, arrays in jets.items():
        step(ax, mass(arrays), np.linspace(0, 250, 63), process)
    for process, value in POLE_MASSES.items():
        ax.axvline(value, color=COLOURS[process], lw=0.8, ls=":")
    ax.set(xlabel="jet mass, ungroomed [GeV]", ylabel="jets / GeV (normalised)")


def draw_multiplicity(ax: Axes, jets: dict[str, Any]) -> None:
    """Particles a jet."""
    for process, arrays in jets.items():
        step(ax, ak.to_numpy(ak.num(arrays.part_px)), np.arange(0, 141, 4), process)
    ax.set(xlabel="particles a jet", ylabel="jets / particle (normalised)", ylim=(0, 0.065))


def draw_displacement(ax: Axes, jets: dict[str, Any]) -> None:
    """Largest but two significance of d0: three displaced tracks tell a heavy quark."""
    for process, arrays in jets.items():
        ordered = ak.sort(significance(arrays), axis=1, ascending=False)
        third = ak.to_numpy(ak.fill_none(ak.pad_none(ordered, 3)[:, 2], 0.0))
        step(ax, third, np.geomspace(0.5, 500, 40), process, density_in_log=True)
    ax.set(
        xscale="log",
        xlabel="third largest |d0| / σ(d0) in the jet",
        ylabel="jets / d ln (normalised)",
    )


def draw_particle_pt(ax: Axes, jets: dict[str, Any]) -> None:
    """Transverse momentum of the particles, particles a jet."""
    edges = np.geomspace(0.1, 1000, 50)
    for process, arrays in jets.items():
        pt = ak.to_numpy(ak.flatten(np.hypot(arrays.part_px, arrays.part_py)))
        counts, _ = np.histogram(pt, edges)
        per_jet = counts / len(arrays) / np.diff(np.log(edges))
        ax.stairs(per_jet, edges, color=COLOURS[process], label=process)
    ax.set(xscale="log", yscale="log", ylim=(1e-3, 40))
    ax.set(xlabel="particle pT [GeV]", ylabel="particles / jet / d ln pT")


def step(ax: Axes, values: Any, edges: Any, process: str, *, density_in_log: bool = False) -> None:
    """Draw a normalised histogram as a line."""
    counts, _ = np.histogram(values, edges)
    width = np.diff(np.log(edges)) if density_in_log else np.diff(edges)
    heights = counts / len(values) / width
    ax.stairs(heights, edges, color=COLOURS[process], label=process, lw=1.1)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))
