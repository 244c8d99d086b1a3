"""Write a file whole or not at all: a temporary name beside the target, then a rename."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success rename it to `path`.

    The temporary name keeps the suffix, because many writers choose their format by it. When the
    block raises, or the process is killed, `path` is what it was before. An `OSError` says which
    path cannot be written and why.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    check_writable(target)
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


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
