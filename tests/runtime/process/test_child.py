"""A process beside the control process: told, asked, hurried and ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from runtime.process.child import ChildProcess, usable_cores
from sim2real.child_process import bare_python
from tests.runtime.conftest import killed_at_the_end

MODULE, CONFIG, PATIENCE_S = "tests.runtime.process.echo_child", b"what it is told", 60.0


def started(**options: object) -> ChildProcess:
    child = ChildProcess(MODULE, CONFIG, cores=usable_cores(), **options)  # type: ignore[arg-type]
    deadline = time.monotonic() + PATIENCE_S
    while not child.is_up:
        assert child.status is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return child


@pytest.fixture
def child() -> Iterator[ChildProcess]:
    child = started()
    yield child
    child.kill()
    child.end()
    child.wait(PATIENCE_S)


def test_it_is_told_its_configuration_and_listens_on_what_it_is_given(child: ChildProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        child.go([listening.fileno()])
        for _ in range(2):
            with socket.create_connection(listening.getsockname(), PATIENCE_S) as caller:
                assert caller.recv(100) == CONFIG
    child.end()
    child.wait(PATIENCE_S)
    assert child.status == 0


def test_one_that_is_not_wanted_ends_too(child: ChildProcess) -> None:
    child.end()
    child.wait(PATIENCE_S)
    assert child.status == 0


def test_one_that_was_killed_can_still_be_spoken_to(child: ChildProcess) -> None:
    os.kill(child.pid, signal.SIGKILL)
    child.wait(PATIENCE_S)
    child.go([])
    assert child.status == -signal.SIGKILL
    assert child.is_up, "it was"


def test_it_has_the_priority_that_is_wanted_where_that_is_permitted() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    for niceness in (3, -3):
        child = started(niceness=niceness)
        found = os.getpriority(os.PRIO_PROCESS, child.pid)
        child.kill()
        child.end()
        child.wait(PATIENCE_S)
        assert found in ((before + niceness,) if niceness > 0 else (before + niceness, before))


def test_a_process_that_a_test_forgets_ends_with_it() -> None:
    with killed_at_the_end():
        process = subprocess.Popen(bare_python("input()"), stdin=subprocess.PIPE)
    assert process.poll() == -signal.SIGKILL
