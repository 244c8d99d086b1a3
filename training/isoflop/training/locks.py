"""A file that one process at a time holds, on this machine or another that shares the folder.

The lock is the kernel's (`flock`), not the file's existence or age: it ends with its process,
however that ends, so nothing has to guess whether an owner is still alive.
"""

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from isoflop.files import naming_full_disk


class HeldElsewhereError(Exception):
    """Another process holds the lock; the message names it."""


@contextmanager
def holding(path: Path, *, wait: bool = False) -> Iterator[str]:
    """Hold `path`; yields who held it before and ended without letting go, or an empty text.

    Raises `HeldElsewhereError` where another process holds it, or waits for that one to let go.
    """
    with _locked(path, wait=wait) as file:
        file.seek(0)
        left_by = file.read().decode()
        try:
            with naming_full_disk(path):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {platform.node()}".encode())
            yield left_by
        finally:
            path.unlink(missing_ok=True)  # before it is let go: whoever waits for it looks again


def is_held(path: Path) -> bool:
    """Whether a process holds the lock at `path`."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def _locked(path: Path, *, wait: bool) -> FileIO:
    """The file at `path`, open and locked; made where it is missing."""
    while True:
        with naming_full_disk(path):
            file = FileIO(path, "a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_at(file, path):
                return file
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().decode() or "another process"
            file.close()
            raise HeldElsewhereError(owner) from error
        except OSError as error:
            file.close()
            raise OSError(
                f"cannot lock {path}: {error.strerror}; use a folder on a file system with locks"
            ) from error
        file.close()


def _is_at(file: FileIO, path: Path) -> bool:
    """Whether the open file is still the one at `path`: its owner removes it when done."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
