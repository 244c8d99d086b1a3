"""Simulated jets have the physics and the layout of JetClass, and the same seed the same jets."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from isoflop.training.jets import simulate as module
from isoflop.training.jets.detector import EnergyFlow
from isoflop.training.jets.layout import (
    JET_DTYPES,
    LABEL_OF_PROCESS,
    LABELS,
    PARTICLE_DTYPES,
    PROCESSES,
    TREE,
    file_name,
)
from isoflop.training.jets.processes import GENERATION
from isoflop.training.jets.simulate import cluster, event_batches, jet_batches, simulate
from isoflop.training.jets.truth import Record, Truth, delta_r, match

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")

N_JETS, PER_CLASS = 200, 20


def read(path: Path) -> Any:
    with uproot.open(path) as file:
        return file[TREE].arrays()


def assert_same_files(one: Path, two: Path) -> None:
    names = sorted(p.name for p in one.glob("*.root"))
    assert names == sorted(p.name for p in two.glob("*.root"))
    for name in names:
        assert ak.array_equal(read(one / name), read(two / name), equal_nan=True), name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("jets")
    summary = simulate(path, N_JETS, seed=3, jets_per_file=PER_CLASS, workers=2, quiet=True)
    assert (summary.n_jets, summary.n_simulated) == (N_JETS, N_JETS)
    assert [p.name for p in summary.files] == [file_name(p, 0) for p in PROCESSES]
    return path


# --- layout ---------------------------------------------------------------------------------------


def test_files_have_the_branches_and_dtypes_of_jetclass(folder: Path) -> None:
    for process in PROCESSES:
        with uproot.open(folder / file_name(process, 0)) as file:
            tree = file[TREE]
            assert set(tree.keys()) == {*JET_DTYPES, *PARTICLE_DTYPES, "npart"}
            arrays = tree.arrays()
        for name, dtype in PARTICLE_DTYPES.items():
            assert str(arrays[name].type) == f"{PER_CLASS} * var * {dtype}"
        for name, dtype in JET_DTYPES.items():
            assert str(arrays[name].type) == f"{PER_CLASS} * {dtype}"


def test_every_file_carries_its_own_label_alone(folder: Path) -> None:
    for process, label in LABEL_OF_PROCESS.items():
        jets = read(folder / file_name(process, 0))
        for other in LABELS:
            assert ak.all(jets[other] == (other == label))


def test_what_is_not_computed_is_not_a_number(folder: Path) -> None:
    jets = read(folder / file_name("TTBar", 0))
    for name in ("jet_sdmass", "jet_tau1", "jet_tau2", "jet_tau3", "jet_tau4"):
        assert np.all(np.isnan(jets[name]))


# --- physics --------------------------------------------------------------------------------------


def test_jets_lie_in_the_range_and_are_the_sum_of_their_particles(folder: Path) -> None:
    for process in PROCESSES:
        jets = read(folder / file_name(process, 0))
        assert ak.all((jets.jet_pt > 500) & (jets.jet_pt < 1000) & (abs(jets.jet_eta) < 2))
        assert ak.all(jets.jet_nparticles == ak.num(jets.part_px))
        px, py, pz = (ak.to_numpy(ak.sum(jets[f"part_p{c}"], axis=1)) for c in "xyz")
        np.testing.assert_allclose(np.hypot(px, py), jets.jet_pt, rtol=1e-4)
        np.testing.assert_allclose(np.arcsinh(pz / np.hypot(px, py)), jets.jet_eta, atol=1e-4)
        np.testing.assert_allclose(ak.sum(jets.part_energy, axis=1), jets.jet_energy, rtol=1e-4)
        assert np.all(delta_r(np.zeros(len(px)), np.arctan2(py, px) - jets.jet_phi) < 1e-4)


def test_particles_are_sorted_and_their_angles_are_mirrored_to_positive_eta(folder: Path) -> None:
    for process in PROCESSES:
        jets = read(folder / file_name(process, 0))
        pt = np.hypot(jets.part_px, jets.part_py)
        assert ak.all(pt[:, :-1] >= pt[:, 1:] - 1e-4)
        eta = np.arcsinh(jets.part_pz / pt)
        mirrored = (eta - jets.jet_eta) * np.sign(jets.jet_eta)
        np.testing.assert_allclose(ak.flatten(jets.part_deta), ak.flatten(mirrored), atol=2e-5)
        # a cluster may reach beyond R when soft particles pull its axis, but not by much
        assert ak.max(np.hypot(jets.part_deta, jets.part_dphi)) < 1.2


def test_each_particle_has_one_kind_and_only_charged_ones_impact_parameters(folder: Path) -> None:
    kinds = ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")
    for process in PROCESSES:
        jets = read(folder / file_name(process, 0))
        assert ak.all(sum(jets[f"part_is{kind}"] for kind in kinds) == 1)
        neutral = (jets.part_isNeutralHadron + jets.part_isPhoton) == 1
        assert ak.all((jets.part_charge == 0) == neutral)
        assert ak.all((jets.part_d0err == 0) == neutral)
        assert ak.all((jets.part_dzerr == 0) == neutral)
        assert ak.all((jets.part_d0val == 0) == neutral)


def test_signal_jets_are_matched_to_their_resonance(folder: Path) -> None:
    for process, recipe in GENERATION.items():
        jets = read(folder / file_name(process, 0))
        if recipe.resonance:
            assert ak.all(abs(jets.aux_genpart_pid) == recipe.resonance)
            assert ak.all(jets.aux_truth_match == 1)
        distance = delta_r(
            ak.to_numpy(jets.aux_genpart_eta - jets.jet_eta),
            ak.to_numpy(jets.aux_genpart_phi - jets.jet_phi),
        )
        assert np.median(distance) < 0.2


def products_by_daughters(event: Any, entry: int) -> list[int]:
    """Quarks, gluons and charged leptons of a decay, found from the top down."""
    found: list[int] = []
    for i in range(int(event.daughter1[entry]), int(event.daughter2[entry]) + 1):
        code = abs(int(event.id[i]))
        if code in (6, 23, 24, 25):
            found += products_by_daughters(event, i)
        elif code not in (12, 14, 16, 22):
            found.append(i)
    return found


@pytest.mark.parametrize(
    ("process", "number"), [("HToGG", 2), ("HToWW2Q1L", 3), ("TTBar", 3), ("TTBarLep", 2)]
)
def test_decay_products_are_those_found_from_the_resonance_down(process: str, number: int) -> None:
    resonance = GENERATION[process].resonance
    events = next(event_batches(GENERATION[process], 5))[:20]
    truth = Record(events).decays(resonance)
    row = 0
    for k, event in enumerate(events.prt):
        for entry in np.flatnonzero((abs(event.id) == resonance) & (event.status == -62)):
            products = products_by_daughters(event, int(entry))
            momenta = event.p[products]
            eta = np.arcsinh(momenta.pz / np.hypot(momenta.px, momenta.py))
            assert len(products) == number
            assert truth.event[row] == k
            np.testing.assert_allclose(np.sort(truth.product_eta[row, :number]), np.sort(eta))
            row += 1
    assert row == len(truth.event)


def test_a_jet_is_as_far_from_a_resonance_as_its_farthest_product() -> None:
    truth = Truth(
        event=np.array([0, 0, 2]),
        pdg=np.array([6, -6, 6]),
        pt=np.full(3, 600.0),
        eta=np.array([0.0, 1.0, 0.0]),
        phi=np.array([3.1, 0.0, 0.0]),
        product_eta=np.array([[0.3, -0.1, np.nan], [1.0, 1.2, 0.9], [0.0, 0.0, 0.7]]),
        product_phi=np.array([[3.1, -3.1, np.nan], [0.0, 0.1, 0.0], [0.0, 0.0, 0.7]]),
    )
    jet, partner, distance = match(
        np.array([0, 1, 2, 0]), np.zeros(4), np.array([np.pi, 0.0, 0.0, 0.0]), truth
    )
    assert jet.tolist() == [0, 2, 3]  # event 1 has no resonance
    assert partner.tolist() == [0, 2, 1]
    expected = [np.hypot(0.3, np.pi - 3.1), np.hypot(0.7, 0.7), np.hypot(1.2, 0.1)]
    np.testing.assert_allclose(distance, expected)


def test_clustering_returns_the_hard_jets_and_their_objects() -> None:
    # event 3: a jet of two objects, a third one 1.2 away; event 5: a jet too soft, one too forward
    pt = np.array([400.0, 300.0, 550.0, 450.0, 700.0])
    eta = np.array([0.5, 0.7, 1.9, 0.0, 2.1])
    phi = np.array([0.0, 0.0, 0.0, 1.0, 3.0])
    zero = np.zeros(5)
    flow = EnergyFlow(
        event=np.array([3, 3, 3, 5, 5]),
        kind=np.zeros(5, int),
        charge=np.zeros(5, int),
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        pz=pt * np.sinh(eta),
        energy=pt * np.cosh(eta),
        d0=zero,
        d0err=zero,
        dz=zero,
        dzerr=zero,
    )
    jets = cluster(flow)
    assert jets.event.tolist() == [3, 3]
    assert sorted(sorted(c) for c in jets.constituents) == [[0, 1], [2]]
    np.testing.assert_allclose(np.sort(jets.pt), [550.0, 700.0])


@pytest.mark.slow
def test_mass_peaks_stand_at_the_resonances() -> None:
    for process, expected in {"WToQQ": 80.4, "ZToQQ": 91.2, "HToWW4Q": 125, "TTBar": 173}.items():
        masses: list[float] = []
        for jets in jet_batches(process, 1, seed=4):
            energy, x, y, z = (
                ak.to_numpy(ak.sum(jets[f"part_{name}"], axis=1), allow_missing=False).astype(float)
                for name in ("energy", "px", "py", "pz")
            )
            masses += np.sqrt(energy**2 - x**2 - y**2 - z**2).tolist()
            if len(masses) > 500:
                break
        # mode: the middle of the shortest interval that holds 30 % of the jets; ungroomed jets
        # catch some of the underlying event, about 2 to 5 GeV
        ordered = np.sort(masses)
        width = int(0.3 * len(ordered))
        start = np.argmin(ordered[width:] - ordered[:-width])
        peak = (ordered[start] + ordered[start + width]) / 2
        assert -2 < peak - expected < 7, process


@pytest.mark.slow
def test_heavy_quarks_displace_tracks() -> None:
    displaced = {}
    for process in ("HToBB", "HToCC", "ZJetsToNuNu"):
        jets = next(jet_batches(process, 2, seed=4))
        charged = jets["part_charge"] != 0
        pull = abs(jets["part_d0val"][charged] / jets["part_d0err"][charged])
        displaced[process] = ak.mean(ak.sum(pull > 4, axis=1))
    assert displaced["HToBB"] > 2 * displaced["HToCC"] > 4 * displaced["ZJetsToNuNu"]


# --- the same seed, the same files ----------------------------------------------------------------


def test_a_complete_simulation_is_not_run_again(folder: Path) -> None:
    summary = simulate(folder, N_JETS, seed=3, jets_per_file=PER_CLASS, quiet=True)
    assert (summary.n_jets, summary.n_simulated) == (N_JETS, 0)


def test_files_hold_the_jets_of_their_seed_process_and_index(folder: Path) -> None:
    stored = read(folder / file_name("ZToQQ", 0))
    fresh = next(jet_batches("ZToQQ", 0, seed=3))
    for name in (*JET_DTYPES, *PARTICLE_DTYPES):
        assert ak.array_equal(stored[name], fresh[name][:PER_CLASS], equal_nan=True)
    for index, seed in ((1, 3), (0, 4)):
        other = next(jet_batches("ZToQQ", index, seed=seed))
        assert not np.any(np.isin(other["jet_pt"], stored.jet_pt))


@pytest.mark.slow
def test_one_worker_makes_the_same_files_as_two(folder: Path, tmp_path: Path) -> None:
    simulate(tmp_path, N_JETS, seed=3, jets_per_file=PER_CLASS, workers=1, quiet=True)
    assert_same_files(folder, tmp_path)


@pytest.mark.slow
def test_a_job_of_a_larger_simulation_makes_its_own_files_and_no_others(
    folder: Path, tmp_path: Path
) -> None:
    simulate(tmp_path, 2 * N_JETS, seed=3, jets_per_file=PER_CLASS, only=[0], quiet=True)
    assert_same_files(folder, tmp_path)


@pytest.mark.slow
def test_a_killed_simulation_resumes_and_ends_the_same(folder: Path, tmp_path: Path) -> None:
    code = (
        "from isoflop.training.jets.simulate import simulate\n"
        "if __name__ == '__main__':\n"
        f"    simulate({str(tmp_path)!r}, {N_JETS}, seed=3, jets_per_file={PER_CLASS}, workers=2)\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("[A-Z]*.root"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        output, _ = process.communicate(timeout=60)
    assert output == b""  # progress is no output
    while _group_is_alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _group_is_alive(process.pid), "the workers outlive their parent"
    done = len(list(tmp_path.glob("[A-Z]*.root")))
    assert 2 <= done < len(PROCESSES)
    for left_over in tmp_path.glob(".*.root"):
        left_over.unlink()  # what the killed workers were writing
    summary = simulate(tmp_path, N_JETS, seed=3, jets_per_file=PER_CLASS, workers=2, quiet=True)
    assert summary.n_simulated == N_JETS - done * PER_CLASS
    assert_same_files(folder, tmp_path)


def _group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_jets": 0}, "n_jets is 0; it must be a positive multiple of 10"),
        ({"n_jets": 25}, "n_jets is 25; it must be a positive multiple of 10"),
        ({"split": "dev"}, "unknown split 'dev'; choose one of train, test, val"),
        ({"jets_per_file": 0}, "jets_per_file is 0; it must be at least 1"),
        ({"seed": -1}, "seed is -1; it must not be negative"),
        ({"workers": 0}, "workers is 0; it must be at least 1"),
        ({"only": [0, 3]}, "no file 3 in this request; its files are numbered 0 to 0"),
        (
            {"n_jets": 510, "split": "val", "jets_per_file": 10},
            "510 jets need more than the 5 files a class of split 'val'; "
            "use jets_per_file of at least 11, not 10",
        ),
    ],
)
def test_bad_requests_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    request: dict[str, Any] = {"n_jets": 10, "quiet": True} | options
    with pytest.raises(ValueError, match=message):
        simulate(tmp_path, request.pop("n_jets"), **request)
    assert not list(tmp_path.iterdir())


def test_files_of_another_seed_or_origin_are_not_mixed_in(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds 20 jets of seed 3, not 20 of seed 4; choose"):
        simulate(folder, N_JETS, seed=4, jets_per_file=PER_CLASS, quiet=True)
    with pytest.raises(ValueError, match="holds 20 jets of seed 3, not 10 of seed 3; choose"):
        simulate(folder, N_JETS // 2, seed=3, jets_per_file=PER_CLASS, quiet=True)
    with uproot.recreate(tmp_path / "HToBB_000.root") as file:
        file.mktree(TREE, {"jet_pt": "float32"}).extend({"jet_pt": np.ones(3, np.float32)})
    with pytest.raises(ValueError, match="was not made by this program; choose another folder"):
        simulate(tmp_path, 10, quiet=True)
    (tmp_path / "HToBB_000.root").write_bytes(b"root" + bytes(500))
    with pytest.raises(ValueError, match=r"HToBB_000\.root is not a readable ROOT file; delete it"):
        simulate(tmp_path, 10, quiet=True)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*choose a folder you can write to"):
        simulate(tmp_path / "file" / "jets", 10, quiet=True)


def test_a_missing_generator_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module._generators.cache_clear()
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(
        ImportError, match=r'pythia8mc is missing; pip install "isoflop\[simulation\]"'
    ):
        simulate(tmp_path, 10, quiet=True)
