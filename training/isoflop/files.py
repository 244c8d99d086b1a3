"""Write a file whole or not at all: a temporary name beside the target, then a rename."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def check_writable(path: str | Path) -> None:
    """Raise `OSError` if a file cannot be written at `path`; make its folder if that is missing."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {target}: it is a folder; name a file in it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot write {target}: {error.strerror}; choose a folder you can write to"
        ) from error
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(
            f"cannot write {target}: no permission in {target.parent}; choose another folder"
        )
