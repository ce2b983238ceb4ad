"""`os._exit` ends no server as a success, and no fork of it otherwise than it would."""

from __future__ import annotations

import os
import subprocess

import pytest

from runtime.process.exits import AbruptExit, exits_are_errors
from sim2real.child_process import python_program

PATIENCE_S = 60
_IN_A_THREAD = """
import os, threading, time
from runtime.process.exits import exits_are_errors
with exits_are_errors():
    threading.Thread(target=os._exit, args=[{status}], name="watchdog").start()
    time.sleep(20)
"""


def test_it_raises_in_the_main_thread_and_is_itself_again_afterwards() -> None:
    before = os._exit
    with exits_are_errors(), pytest.raises(AbruptExit) as raised:
        os._exit(3)
    assert raised.value.code == 3
    assert os._exit is before


@pytest.mark.parametrize(("status", "ends_with"), [(0, 2), (3, 3)])
def test_in_another_thread_it_is_told_and_never_a_success(status: int, ends_with: int) -> None:
    program = python_program(_IN_A_THREAD.format(status=status))
    done = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == ends_with
    assert done.stderr == f"error: the thread 'watchdog' has ended the program (os._exit({status})).\n"


def test_a_fork_ends_as_it_wants_to() -> None:
    with exits_are_errors():
        copy = os.fork()
        if not copy:
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]) == 7
