"""Read JetClass-layout ROOT files once into a columnar cache that is memory-mapped ever after.

One folder a split holds one `.npy` file a column: particle columns flat, shape (particles,), with
`offsets`, shape (jets + 1,), that bound each jet's particles; jet columns, shape (jets,). The name
of the folder is a hash of the names, sizes and times of the files behind it, so that a changed
file gets a new cache; a damaged column is found by its checksum. One process builds it, others
wait. Works on the files of `isoflop simulate` and on JetClass itself (arXiv:2202.03772, Zenodo
6619768).
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isoflop.training.jets.columns import GrowingColumn, open_column
from isoflop.training.jets.layout import JET_DTYPES, LABELS, PARTICLE_DTYPES, SPLIT_INDICES, TREE
from isoflop.training.locks import holding

try:
    import awkward as ak
    import uproot
except ImportError as error:
    raise ImportError(f'{error.name} is missing; pip install "isoflop[training]"') from error

CLASSES = tuple(label.removeprefix("label_") for label in LABELS)
"""Class names in the order of the class index: QCD is 0."""

# Kinematics that the features need; the flags are 0 or 1 and take a byte each.
JET_COLUMNS = {name: JET_DTYPES[name] for name in ("jet_pt", "jet_energy")}
PARTICLE_COLUMNS = {
    name: "int8" if dtype == "int32" else dtype for name, dtype in PARTICLE_DTYPES.items()
}
_FORMAT = 2  # another number makes every cache anew
_CHUNK = 50_000  # jets held in memory while the cache is built


@dataclass(frozen=True)
class Jets:
    """The jets of one split, memory-mapped."""

    folder: Path
    """The cache folder the columns live in."""
    offsets: npt.NDArray[np.int64]
    """Jet i holds particles offsets[i] to offsets[i + 1], by falling pT; shape (jets + 1,)."""
    label: npt.NDArray[np.uint8]
    """Class index into `CLASSES`, shape (jets,)."""

    def __len__(self) -> int:
        return len(self.label)

    def column(self, name: str) -> npt.NDArray[Any]:
        """A column by its branch name: particle columns flat; momenta in GeV, lengths in mm."""
        return open_column(self.folder / f"{name}.npy")


def open_jets(data: str | Path, split: str) -> Jets:
    """Open one split ("train", "val", "test") of a folder of ROOT files; the first call builds it.

    Files are found by their names at any depth below `data`: the number at the end of the name
    gives the split, as in JetClass (000-099 train, 100-119 test, 120-124 val).
    """
    files = split_files(data, split)
    folder = Path(data) / ".cache" / f"{split}-{_key(files)}"
    if not folder.is_dir():
        folder.parent.mkdir(exist_ok=True)
        with holding(folder.with_suffix(".lock"), wait=True):
            if not folder.is_dir():  # another process may have built it meanwhile
                _build(folder, files)
    return load_cache(folder)


def load_cache(folder: Path) -> Jets:
    """The jets of a complete cache folder."""
    offsets, label = (open_column(folder / f"{name}.npy") for name in ("offsets", "label"))
    return Jets(folder, offsets, label)


def split_files(data: str | Path, split: str) -> list[Path]:
    """The ROOT files of a split, sorted by name."""
    if split not in SPLIT_INDICES:
        raise ValueError(f"split {split!r} is unknown; use one of {', '.join(SPLIT_INDICES)}")
    indices = SPLIT_INDICES[split]
    if not Path(data).is_dir():
        raise FileNotFoundError(
            f"no folder {data}; make jets with `isoflop simulate -o {data}`, or give their folder"
        )
    files = [path for path in Path(data).rglob("*.root") if _index(path) in indices]
    if not files:
        raise FileNotFoundError(
            f"no {split} files in {data}: their names end in _{indices[0]:03d}.root to "
            f"_{indices[-1]:03d}.root; make some with `isoflop simulate`, or download JetClass"
        )
    return sorted(files, key=lambda path: (path.name, str(path)))


def _index(path: Path) -> int | None:
    number = path.stem.rpartition("_")[2]
    return int(number) if number.isdigit() else None


def _key(files: Sequence[Path]) -> str:
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr((_FORMAT, stats)).encode()).hexdigest()[:12]


def _open(path: Path) -> Any:
    """The tree of a file, with every branch the cache needs."""
    try:
        tree = uproot.open({path: TREE})
    except uproot.KeyInFileError as error:
        raise ValueError(f"{path}: no tree {TREE!r}; give files in the JetClass layout") from error
    except (OSError, ValueError, EOFError, uproot.DeserializationError) as error:
        raise OSError(_unreadable(path, error)) from error
    wanted = (*PARTICLE_COLUMNS, *LABELS, *JET_COLUMNS)
    absent = [name for name in wanted if name not in tree]
    if absent:
        raise ValueError(
            f"{path}: tree {TREE!r} lacks branch(es) {', '.join(absent)}; "
            "give files in the JetClass layout"
        )
    return tree


def _arrays(tree: Any, path: Path, start: int, stop: int) -> "ak.Array":
    names = [*PARTICLE_COLUMNS, *LABELS, *JET_COLUMNS]
    try:
        return tree.arrays(names, entry_start=start, entry_stop=stop)
    except (OSError, ValueError, EOFError, uproot.DeserializationError) as error:
        raise OSError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{path}: not a whole ROOT file ({reason}); simulate or download it again"


def _build(folder: Path, files: Sequence[Path]) -> None:
    """Fill the cache under a temporary name, then rename it: a killed build leaves no cache."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    dtypes = {**PARTICLE_COLUMNS, **JET_COLUMNS, "offsets": "int64", "label": "uint8"}
    columns: dict[str, GrowingColumn] = {}
    try:
        for name, dtype in dtypes.items():
            columns[name] = GrowingColumn(partial / f"{name}.npy", dtype)
        columns["offsets"].append(np.zeros(1))
        particles = 0
        for path in files:
            particles = _append_file(columns, path, particles)
        for column in columns.values():
            column.seal()
        partial.rename(folder)
    finally:
        for column in columns.values():
            column.close()
        shutil.rmtree(partial, ignore_errors=True)


def _append_file(columns: Mapping[str, GrowingColumn], path: Path, particles: int) -> int:
    """Append the jets of a file behind the `particles` there are; how many there are then."""
    with _open(path) as tree:
        for start in range(0, tree.num_entries, _CHUNK):
            chunk = _arrays(tree, path, start, min(start + _CHUNK, tree.num_entries))
            counts = _particles_per_jet(chunk, path)
            ends = particles + np.cumsum(counts)
            columns["offsets"].append(ends)
            columns["label"].append(_class_index(chunk, path))
            for name in JET_COLUMNS:
                columns[name].append(chunk[name].to_numpy())
            flat = {name: ak.flatten(chunk[name]).to_numpy() for name in PARTICLE_COLUMNS}
            order = _falling_pt(flat["part_px"], flat["part_py"], counts)
            for name, values in flat.items():
                columns[name].append(values if order is None else values[order])
            particles = int(ends[-1])
    return particles


def _particles_per_jet(chunk: "ak.Array", path: Path) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = ak.num(chunk["part_px"], axis=1).to_numpy()
    empty = int((counts == 0).sum())
    if empty:
        raise ValueError(f"{path}: {empty} jet(s) hold no particle; leave them out of the file")
    return counts


def _falling_pt(
    px: npt.NDArray[np.float32], py: npt.NDArray[np.float32], counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64] | None:
    """The order of the particles by falling pT within each jet; None where they are in it."""
    pt_squared = px**2 + py**2
    rises = pt_squared[1:] > pt_squared[:-1]
    rises[np.cumsum(counts)[:-1] - 1] = False  # from one jet to the next
    if not rises.any():
        return None
    return np.lexsort((-pt_squared, np.repeat(np.arange(len(counts)), counts)))


def _class_index(chunk: "ak.Array", path: Path) -> npt.NDArray[np.uint8]:
    labels = np.stack([chunk[label].to_numpy() for label in LABELS], axis=1) != 0
    wrong = int((labels.sum(axis=1) != 1).sum())
    if wrong:
        raise ValueError(
            f"{path}: {wrong} jet(s) do not have exactly one label set; leave them out of the file"
        )
    index: npt.NDArray[np.uint8] = labels.argmax(axis=1).astype(np.uint8)
    return index
