"""Columns of the cache: `.npy` files that are memory-mapped and found out when they are damaged.

Beside each column lie its length in bytes and its CRC-32. Every process compares both when it opens
a column for the first time: that reads the file once, at several GB/s, into the page cache where
the training wants it. A damaged column is not mended in place, because other processes may have it
mapped; the error says what to delete.
"""

import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isoflop.files import writing


class GrowingColumn:
    """A one-dimensional `.npy` file that values are appended to."""

    def __init__(self, path: Path, dtype: str) -> None:
        """Start an empty column."""
        self._path, self._dtype, self._length = path, np.dtype(dtype), 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, values: npt.NDArray[Any]) -> None:
        """Add values, shape (n,), converted to the type of the column."""
        self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self._length += len(values)

    def seal(self) -> None:
        """Put the final length into the header, close the file and write its checksum."""
        self._file.seek(0)
        self._write_header()
        self.close()
        write_checksum(self._path, self._path)

    def close(self) -> None:
        """Close the file; a column that was not sealed is not readable."""
        self._file.close()

    def _write_header(self) -> None:
        # NumPy leaves room in the header for the first axis to grow.
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._length,),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


def open_column(path: Path) -> npt.NDArray[Any]:
    """Memory-map a column; `OSError` says that it is damaged and what to do."""
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise OSError(f"{path}: missing; {_remedy(path)}") from error
    return _checked(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _checked(path: Path, size: int, changed: int) -> npt.NDArray[Any]:
    """The column as it was changed last; read through once a process."""
    try:
        expected, checksum = map(int, _checksum_file(path).read_text().split())
    except (OSError, ValueError) as error:
        raise OSError(f"{path}: its checksum is missing or damaged; {_remedy(path)}") from error
    if size != expected:
        raise OSError(f"{path}: damaged, {size} of {expected} bytes are there; {_remedy(path)}")
    if _crc32(path) != checksum:
        raise OSError(f"{path}: damaged, its checksum is another than when made; {_remedy(path)}")
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _remedy(path: Path) -> str:
    return f"delete {path.parent} and start again, it is made anew from the ROOT files"


def write_checksum(content: Path, column: Path) -> None:
    """Write length and CRC-32 of the file `content` beside `column`, the name it has or gets."""
    with writing(_checksum_file(column)) as temporary:
        temporary.write_text(f"{content.stat().st_size} {_crc32(content)}\n")


def _checksum_file(column: Path) -> Path:
    return column.with_suffix(".crc32")


def _crc32(path: Path) -> int:
    return zlib.crc32(np.memmap(path, np.uint8, "r").data)
