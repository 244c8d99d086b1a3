"""Columns of the cache: `.npy` files that are memory-mapped and found out when they are damaged.

Beside each column lie its length in bytes and its CRC-32. Every process compares both when it opens
a column for the first time: that reads the file once, at several GB/s, into the page cache where
the training wants it. A damaged column is not mended in place, because other processes may have it
mapped; the error says what to delete.
"""

import zlib
from functools import lru_cache
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isoflop.files import naming_full_disk, writing


class GrowingColumn:
    """A `.npy` file that rows are appended to.

    Rows are written through the file, not through a memory map, so that a full disk is an error
    and not the end of the process.
    """

    def __init__(self, path: Path, dtype: str, *, width: int | None = None) -> None:
        """Start an empty column of shape (0,), or (0, width)."""
        self._path, self._dtype = path, np.dtype(dtype)
        self._length, self._row = 0, () if width is None else (width,)
        with naming_full_disk(path):
            self._file = FileIO(path, "w")

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Add rows, shape (n,) or (n, width), converted to the type of the column."""
        if not self._length:
            self._write(self._header())
        self._length += len(rows)
        self._write(np.ascontiguousarray(rows, self._dtype).reshape(-1).view(np.uint8).data)

    def seal(self, name: Path | None = None) -> None:
        """Put the final length into the header, close the file and write its checksum.

        `name` is the path that the file will get, if another.
        """
        self._file.seek(0)
        self._write(self._header())
        self.close()
        checksum = f"{self._path.stat().st_size} {_crc32(self._path)}\n"
        with writing(_checksum_file(name or self._path)) as temporary:
            temporary.write_text(checksum)

    def close(self) -> None:
        """Close the file; a column that was not sealed is not readable."""
        self._file.close()

    def _header(self) -> memoryview:
        """The header for the rows so far; NumPy leaves room in it for the first axis to grow."""
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._length, *self._row),
        }
        buffer = BytesIO()
        np.lib.format.write_array_header_1_0(buffer, header)
        return buffer.getbuffer()

    def _write(self, content: memoryview) -> None:
        with naming_full_disk(self._path):
            while content:  # a file takes only a part when the disk is nearly full
                content = content[self._file.write(content) :]


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


def _checksum_file(column: Path) -> Path:
    return column.with_suffix(".crc32")


def _crc32(path: Path) -> int:
    return zlib.crc32(np.memmap(path, np.uint8, "r").data)
