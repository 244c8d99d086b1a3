"""Run the command line in this process, as a test's user."""

import sys

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
