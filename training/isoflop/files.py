"""Write a file whole or not at all: a temporary name beside the target, then a rename.

What can be said of a name before anything is computed for it, its suffix and whether it can be
written, is said here too.
"""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FIGURES = (".png", ".pdf", ".svg")
"""Suffixes of the figures that are drawn."""
TABLES, MANIFESTS = (".csv", ".json", ".md"), (".csv", ".json")
"""Suffixes of the tables that a plan writes: for a person to read too, or for a program."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success rename it to `path`.

    The temporary name keeps the suffix, because many writers choose their format by it. When the
    block raises, or the process is killed, `path` is what it was before. An `OSError` says which
    path cannot be written and why.
    """
    target = Path(path)
    unique = os.urandom(4).hex()  # other machines may write into the folder too
    temporary = target.with_name(f".{target.stem}.{unique}.partial{target.suffix}")
    check_writable(target)
    try:
        with naming_full_disk(target):
            yield temporary
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming_full_disk(path: str | Path) -> Iterator[None]:
    """Let an `OSError` of a full disk say what could not be written, the space, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        folder = Path(path).parent
        free = shutil.disk_usage(folder).free / 1e6
        raise OSError(
            f"cannot write {path}: {os.strerror(error.errno).lower()}, {free:.1f} MB are free in "
            f"{folder}; free some space and start again, what is written so far is kept"
        ) from error


def require_suffix(path: str | Path, suffixes: Sequence[str], *, thing: str = "") -> str:
    """The suffix of a file's name in lower case; `ValueError` lists those that it may have."""
    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        allowed = " or ".join(filter(None, (", ".join(suffixes[:-1]), suffixes[-1])))
        name = f"{thing} is {path}" if thing else f"cannot write {path}"
        raise ValueError(f"{name}; its name must end in {allowed}")
    return suffix


def require_writable(path: str | Path) -> None:
    """Raise `OSError` if a file could not be written at `path`; make nothing."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {target}: it is a folder; name a file in it")
    folder = next(one for one in target.absolute().parents if one.exists())
    if not folder.is_dir():
        raise NotADirectoryError(
            f"cannot write {target}: {folder} is no folder; choose a folder you can write to"
        )
    if not os.access(folder, os.W_OK):
        raise PermissionError(
            f"cannot write {target}: no permission in {folder}; choose another folder"
        )


def check_writable(path: str | Path) -> None:
    """Raise `OSError` if a file cannot be written at `path`; make its folder if that is missing."""
    target = Path(path)
    require_writable(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot write {target}: {error.strerror}; choose a folder you can write to"
        ) from error
