"""Particle features against a plain computation, one particle at a time."""

import math
from pathlib import Path

import numpy as np
import uproot

from isoflop.training.jets.batches import Splits
from isoflop.training.jets.features import FEATURE_SETS, compute_features, open_features
from isoflop.training.jets.layout import TREE


def plain_features(particle: dict[str, float], jet_pt: float, jet_energy: float) -> list[float]:
    """The 17 inputs of the Particle Transformer, written from arXiv:2202.03772."""
    pt = math.sqrt(particle["part_px"] ** 2 + particle["part_py"] ** 2)
    energy = particle["part_energy"]
    distance = math.sqrt(particle["part_deta"] ** 2 + particle["part_dphi"] ** 2)
    return [
        (math.log(pt) - 1.7) * 0.7,
        (math.log(energy) - 2.0) * 0.7,
        (math.log(pt / jet_pt) - (-4.7)) * 0.7,
        (math.log(energy / jet_energy) - (-4.7)) * 0.7,
        (distance - 0.2) * 4.0,
        particle["part_charge"],
        particle["part_isChargedHadron"],
        particle["part_isNeutralHadron"],
        particle["part_isPhoton"],
        particle["part_isElectron"],
        particle["part_isMuon"],
        math.tanh(particle["part_d0val"]),
        min(max(particle["part_d0err"], 0.0), 1.0),
        math.tanh(particle["part_dzval"]),
        min(max(particle["part_dzerr"], 0.0), 1.0),
        particle["part_deta"],
        particle["part_dphi"],
    ]


def test_full_features_equal_a_plain_computation(jet_folder: Path, splits: Splits) -> None:
    # The first file by name is HToBB_000.root, so its jets are the first jets of the split.
    with uproot.open(jet_folder / "HToBB_000.root") as file:
        jets = file[TREE].arrays(library="ak").to_list()
    expected = [
        plain_features(
            {name: jet[name][i] for name in jet if name.startswith("part_")},
            jet["jet_pt"],
            jet["jet_energy"],
        )
        for jet in jets
        for i in range(len(jet["part_px"]))
    ]
    found = compute_features(splits.train, "full", 0, len(jets))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_kinematic_features_are_three_columns_of_the_full_ones(splits: Splits) -> None:
    kin, full = (open_features(splits.train, name) for name in ("kin", "full"))
    columns = [FEATURE_SETS["full"].index(name) for name in FEATURE_SETS["kin"]]
    assert FEATURE_SETS["kin"] == ("part_deta", "part_dphi", "part_logpt")
    np.testing.assert_array_equal(kin, full[:, columns])


def test_stored_features_equal_computed_ones_to_half_precision(splits: Splits) -> None:
    computed = compute_features(splits.train, "full", 0, len(splits.train))
    np.testing.assert_allclose(open_features(splits.train, "full"), computed, rtol=5e-4, atol=1e-6)


def test_features_are_finite(splits: Splits) -> None:
    assert np.isfinite(open_features(splits.train, "full")).all()
