"""Particle features: what the network sees of a particle, by feature set.

`kin` holds the 3 kinematic inputs of the scaling study (arXiv:2602.15781), `full` the 17 inputs of
the Particle Transformer (arXiv:2202.03772, its "full" set). Features are stored as float16: they
are standardised to order one, and its step of 2⁻¹¹ relative is below the detector's resolution.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isoflop.files import writing
from isoflop.training.jets.columns import GrowingColumn, open_column
from isoflop.training.jets.jetclass import JET_COLUMNS, PARTICLE_COLUMNS, Jets
from isoflop.training.locks import holding

KIN = ("part_deta", "part_dphi", "part_logpt")
FULL = (
    "part_logpt", "part_loge", "part_logptrel", "part_logerel", "part_deltar",
    "part_charge", "part_isChargedHadron", "part_isNeutralHadron", "part_isPhoton",
    "part_isElectron", "part_isMuon", "part_d0", "part_d0err", "part_dz", "part_dzerr",
    "part_deta", "part_dphi",
)  # fmt: skip
FEATURE_SETS = {"kin": KIN, "full": FULL}

_CHUNK = 500  # jets whose features are computed at once; they stay in the processor's cache

FloatArray = npt.NDArray[np.floating]


def open_features(jets: Jets, features: str) -> npt.NDArray[np.float16]:
    """The features of all particles, memory-mapped, shape (particles, features).

    The first call computes them and stores them in the jets' cache folder.
    """
    path = jets.folder / f"features_{features}.npy"
    if not path.is_file():
        with holding(path.with_suffix(".lock"), wait=True):
            if not path.is_file():  # another process may have stored them meanwhile
                _store(path, jets, features)
    return open_column(path)


def compute_features(jets: Jets, features: str, first: int, last: int) -> FloatArray:
    """Features of the particles of jets `first` to `last`, shape (particles, features).

    As in the Particle Transformer, a value that is not finite counts as 0.
    """
    particles = slice(int(jets.offsets[first]), int(jets.offsets[last]))
    counts = np.diff(jets.offsets[first : last + 1])
    columns = {
        name: np.asarray(jets.column(name)[particles], np.float32) for name in PARTICLE_COLUMNS
    }
    for name in JET_COLUMNS:
        columns[name] = np.repeat(jets.column(name)[first:last], counts)
    named = _named_features(columns)
    stacked = np.stack([named[name] for name in FEATURE_SETS[features]], axis=1, dtype=np.float32)
    stacked[~np.isfinite(stacked)] = 0.0
    return stacked


def _named_features(of: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """All features by name, shape (particles,); logarithms are natural, of GeV; d0 and dz in mm."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_pt = np.log(np.hypot(of["part_px"], of["part_py"]))
        log_energy = np.log(of["part_energy"])
        log_pt_share = log_pt - np.log(of["jet_pt"])
        log_energy_share = log_energy - np.log(of["jet_energy"])
    return {
        **of,
        "part_logpt": 0.7 * (log_pt - 1.7),
        "part_loge": 0.7 * (log_energy - 2.0),
        "part_logptrel": 0.7 * (log_pt_share + 4.7),
        "part_logerel": 0.7 * (log_energy_share + 4.7),
        "part_deltar": 4.0 * (np.hypot(of["part_deta"], of["part_dphi"]) - 0.2),
        "part_d0": np.tanh(of["part_d0val"]),
        "part_d0err": np.clip(of["part_d0err"], 0.0, 1.0),
        "part_dz": np.tanh(of["part_dzval"]),
        "part_dzerr": np.clip(of["part_dzerr"], 0.0, 1.0),
    }


def _store(path: Path, jets: Jets, features: str) -> None:
    with writing(path) as temporary:
        table = GrowingColumn(temporary, "float16", width=len(FEATURE_SETS[features]))
        try:
            for first in range(0, len(jets), _CHUNK):
                last = min(first + _CHUNK, len(jets))
                table.append(compute_features(jets, features, first, last))
            table.seal(path)
        finally:
            table.close()
