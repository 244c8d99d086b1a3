"""A lock has one owner, ends with it, and names it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from isoflop.training.locks import HeldElsewhereError, holding

OWNER = (
    "import sys, time; from pathlib import Path; from isoflop.training.locks import holding\n"
    "with holding(Path(sys.argv[1])):\n"
    "    print('held', flush=True); sys.stdin.readline()\n"
)


def start_owner(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OWNER, str(path)]
    owner = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert owner.stdout is not None and owner.stdout.readline() == "held\n"
    return owner


def test_another_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with start_owner(path) as owner:
        with pytest.raises(HeldElsewhereError, match=f"process {owner.pid} on "), holding(path):
            pass
        owner.communicate("\n")
    assert not path.exists()
    with holding(path) as left_by:
        assert left_by == ""


def test_the_lock_of_a_killed_process_is_free_and_says_whose_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with start_owner(path) as owner:
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        with holding(path) as left_by:
            assert left_by.startswith(f"process {owner.pid} on ")
    assert not path.exists()


def test_waiting_ends_when_the_owner_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with start_owner(path) as owner, start_waiter(path) as waiter:
        owner.communicate("\n")
        assert waiter.stdout is not None and waiter.stdout.readline() == "held\n"
        waiter.communicate("\n")
    assert not path.exists()


def start_waiter(path: Path) -> subprocess.Popen[str]:
    code = OWNER.replace("(Path(sys.argv[1]))", "(Path(sys.argv[1]), wait=True)")
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_an_error_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with pytest.raises(RuntimeError), holding(path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
