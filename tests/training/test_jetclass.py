"""The columnar cache of JetClass files: equal to the files, whole or absent, with clear errors."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import awkward as ak
import numpy as np
import pytest
import uproot

from isoflop.training.jets.columns import GrowingColumn, open_column
from isoflop.training.jets.features import open_features
from isoflop.training.jets.jetclass import (
    CLASSES,
    JET_COLUMNS,
    PARTICLE_COLUMNS,
    open_jets,
    split_files,
)
from isoflop.training.jets.layout import LABELS, TREE


def test_cache_equals_the_files_read_plainly_by_uproot(jet_folder: Path) -> None:
    jets = open_jets(jet_folder, "train")
    names = [*PARTICLE_COLUMNS, *JET_COLUMNS, *LABELS]
    files = sorted(path for path in jet_folder.glob("*.root") if path.stem[-3:] < "100")
    plain = uproot.concatenate({path: TREE for path in files}, names)
    for name in PARTICLE_COLUMNS:
        np.testing.assert_array_equal(jets.column(name), ak.flatten(plain[name]).to_numpy())
    for name in JET_COLUMNS:
        np.testing.assert_array_equal(jets.column(name), plain[name].to_numpy())
    np.testing.assert_array_equal(np.diff(jets.offsets), ak.num(plain["part_px"]).to_numpy())
    labels = np.stack([plain[name].to_numpy() for name in LABELS], axis=1)
    np.testing.assert_array_equal(np.eye(len(CLASSES))[jets.label], labels)


def test_particles_are_put_in_order_of_falling_pt(
    tmp_path: Path, jet_files: SimpleNamespace
) -> None:
    branches = jet_files.arrays("label_Hbb", 30, seed=1)
    backwards = {
        name: values[:, ::-1] if values.ndim == 2 else values for name, values in branches.items()
    }
    jet_files.write_tree(tmp_path / "sorted" / "HToBB_000.root", branches)
    jet_files.write_tree(tmp_path / "backwards" / "HToBB_000.root", backwards)
    one, other = (open_jets(tmp_path / name, "train") for name in ("sorted", "backwards"))
    for name in PARTICLE_COLUMNS:
        np.testing.assert_array_equal(one.column(name), other.column(name))


def test_cache_is_built_once_and_anew_for_changed_files(
    tmp_path: Path, jet_files: SimpleNamespace
) -> None:
    path = tmp_path / "HToBB_000.root"
    jet_files.write_tree(path, jet_files.arrays("label_Hbb", 5, seed=1))
    first = open_jets(tmp_path, "train").folder
    built = (first / "offsets.npy").stat().st_mtime_ns
    assert open_jets(tmp_path, "train").folder == first
    assert (first / "offsets.npy").stat().st_mtime_ns == built
    jet_files.write_tree(path, jet_files.arrays("label_Hbb", 6, seed=1))
    changed = open_jets(tmp_path, "train")
    assert changed.folder != first
    assert len(changed) == 6


def test_columns_are_memory_mapped(jet_folder: Path) -> None:
    assert isinstance(open_jets(jet_folder, "train").column("part_px"), np.memmap)


def test_splits_go_by_file_number_in_any_folder_below(
    tmp_path: Path, jet_files: SimpleNamespace
) -> None:
    branches = jet_files.arrays("label_Hbb", 2, seed=1)
    names = ("train_100M/HToBB_099.root", "test_20M/HToBB_100.root", "val_5M/HToBB_124.root")
    for name in names:
        jet_files.write_tree(tmp_path / name, branches)
    found = [split_files(tmp_path, split) for split in ("train", "test", "val")]
    assert found == [[tmp_path / name] for name in names]


def test_killed_build_leaves_no_cache(tmp_path: Path, jet_files: SimpleNamespace) -> None:
    data = jet_files.write_jets(tmp_path / "jets", train=20, val=1)
    code = (
        "import sys, time; from isoflop.training.jets import jetclass\n"
        "append = jetclass._append_file\n"
        "def slow(*given):\n"
        "    append(*given); print('half', flush=True); time.sleep(60)\n"
        "jetclass._append_file = slow\n"
        "jetclass.open_jets(sys.argv[1], 'train')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(data)], stdout=subprocess.PIPE, text=True
    ) as build:
        assert build.stdout is not None
        assert build.stdout.readline() == "half\n"
        build.send_signal(signal.SIGKILL)
    left = [path.name for path in (data / ".cache").iterdir()]
    assert all(name.endswith((".partial", ".lock")) for name in left), left
    jets = open_jets(data, "train")
    assert [path.name for path in (data / ".cache").iterdir()] == [jets.folder.name]
    assert len(jets) == 200
    assert (np.bincount(jets.label) == 20).all()


DAMAGED = ("offsets", "label", "part_px", "part_isMuon", "jet_pt", "features_full")


def use_all(data: Path) -> list[np.ndarray]:
    jets = open_jets(data, "train")
    columns = [jets.column(name) for name in (*PARTICLE_COLUMNS, *JET_COLUMNS)]
    return [jets.offsets, jets.label, *columns, open_features(jets, "full")]


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("damage", ["one bit", "cut short", "no checksum", "no file"])
def test_damaged_column_is_named_and_made_anew_once_deleted(
    tmp_path: Path, jet_files: SimpleNamespace, name: str, damage: str
) -> None:
    jet_files.write_tree(tmp_path / "HToBB_000.root", jet_files.arrays("label_Hbb", 9, seed=1))
    whole = [np.array(column) for column in use_all(tmp_path)]
    folder = open_jets(tmp_path, "train").folder
    path = folder / f"{name}.npy"
    content = bytearray(path.read_bytes())
    if damage == "one bit":
        content[np.random.default_rng(len(content)).integers(len(content))] ^= 4
        path.write_bytes(content)
        said = "npy: damaged, its checksum is another than when made"
    elif damage == "cut short":
        path.write_bytes(content[:-1])
        said = f"npy: damaged, {len(content) - 1} of {len(content)} bytes are there"
    elif damage == "no checksum":
        path.with_suffix(".crc32").unlink()
        os.utime(path)  # another time of change is looked at as in a new process
        said = "npy: its checksum is missing or damaged"
    else:
        path.unlink()
        said = "npy: missing"
    if (damage, name) == ("no file", "features_full"):
        use_all(tmp_path)  # it is computed from the columns, whenever it is not there
    else:
        with pytest.raises(OSError, match=rf"{name}.{said}; delete {folder} and start again"):
            use_all(tmp_path)
    shutil.rmtree(folder)
    for column, expected in zip(use_all(tmp_path), whole, strict=True):
        np.testing.assert_array_equal(column, expected)


def test_any_flipped_bit_of_a_column_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    column = GrowingColumn(path, "float32")
    column.append(np.arange(3))
    column.append(np.arange(3, 8))
    column.seal()
    np.testing.assert_array_equal(open_column(path), np.arange(8, dtype=np.float32))
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        os.utime(path, ns=(bit, bit))
        with pytest.raises(OSError, match=r"x.npy: damaged, its checksum"):
            open_column(path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere; make jets with `isoflop si"):
        open_jets(tmp_path / "nowhere", "train")


def test_split_without_files_is_named_with_its_file_names(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no val files in .*_120.root to _124.root"):
        open_jets(tmp_path, "val")


def test_unknown_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"split 'dev' is unknown; use one of train, test, val"):
        open_jets(tmp_path, "dev")


@pytest.mark.parametrize("content", [b"", b"not a ROOT file", b"root" + b"\xff" * 1000])
def test_file_that_is_no_root_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "HToBB_000.root").write_bytes(content)
    with pytest.raises(OSError, match=r"HToBB_000.root: not a whole ROOT file .*download it again"):
        open_jets(tmp_path, "train")
    assert not any((tmp_path / ".cache").iterdir())


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_truncated_file_is_named(tmp_path: Path, jet_files: SimpleNamespace, share: float) -> None:
    path = tmp_path / "HToBB_000.root"
    jet_files.write_tree(path, jet_files.arrays("label_Hbb", 200, seed=1))
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(OSError, match=r"HToBB_000.root: not a whole ROOT file"):
        open_jets(tmp_path, "train")


def test_file_without_the_tree_is_named(tmp_path: Path, jet_files: SimpleNamespace) -> None:
    branches = jet_files.arrays("label_Hbb", 2, seed=1)
    jet_files.write_tree(tmp_path / "HToBB_000.root", branches, tree="events")
    with pytest.raises(ValueError, match=r"HToBB_000.root: no tree 'tree'; give files in the JetC"):
        open_jets(tmp_path, "train")


def test_file_without_a_branch_is_named_with_the_branch(
    tmp_path: Path, jet_files: SimpleNamespace
) -> None:
    branches = jet_files.arrays("label_Hbb", 2, seed=1)
    del branches["part_d0val"], branches["label_QCD"]
    jet_files.write_tree(tmp_path / "HToBB_000.root", branches)
    with pytest.raises(ValueError, match=r"HToBB_000.root: .* lacks .* part_d0val, label_QCD; gi"):
        open_jets(tmp_path, "train")


def test_jets_without_particles_are_counted_in_the_error(
    tmp_path: Path, jet_files: SimpleNamespace
) -> None:
    branches = jet_files.arrays("label_Hbb", 3, seed=1)
    keep = ak.Array([[True], [False], [True]])
    branches = {
        name: values[ak.broadcast_arrays(keep[:, 0], values)[0]] if values.ndim == 2 else values
        for name, values in branches.items()
    }
    jet_files.write_tree(tmp_path / "HToBB_000.root", branches)
    with pytest.raises(ValueError, match=r"HToBB_000.root: 1 jet\(s\) hold no particle; leave"):
        open_jets(tmp_path, "train")


def test_jets_without_exactly_one_label_are_counted_in_the_error(
    tmp_path: Path, jet_files: SimpleNamespace
) -> None:
    branches = jet_files.arrays("label_Hbb", 3, seed=1)
    branches["label_QCD"] = np.array([0, 1, 0], dtype=np.int32)
    jet_files.write_tree(tmp_path / "HToBB_000.root", branches)
    with pytest.raises(ValueError, match=r"HToBB_000.root: 1 jet\(s\) do not have exactly one lab"):
        open_jets(tmp_path, "train")
