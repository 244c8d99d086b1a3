"""Run the command line in this process, as a test's user."""

import sys
from pathlib import Path

import pytest

from isoflop import cli


def run(*words: str) -> int:
    """Exit code of `isoflop words…`."""
    before, sys.argv = sys.argv, ["isoflop", *words]
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0


def assert_refused(
    *words: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The call ends with exit code 2 and one line that says why, and leaves nothing in `folder`."""
    assert run(*words) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.startswith("isoflop: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(folder.iterdir()) == []
