from __future__ import annotations

import errno
import os
import pty
import select
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.control.policy_controller import PolicyController
from runtime.inference.policy import Policy
from runtime.protocol.address import Address
from runtime.protocol.stop_socket import stop_directly, stop_path
from runtime.server.estop_sources import EstopSources
from runtime.status import GoalStatus, State
from sim2real.errors import ShoalError


def test_file_stops_while_it_says_anything_but_zero(policy: Policy, tmp_path: Path) -> None:
    pin = tmp_path / "value"
    pin.write_text("0\n")
    core, sources = PolicyController(policy), EstopSources(file=pin)
    for content, state in (("0\n", State.IDLE), ("1\n", State.ESTOP), ("0\n", State.ESTOP)):
        pin.write_text(content)
        sources.poll(core)
        assert core.safety.state is state
    core.release()
    sources.poll(core)
    assert core.safety.state is State.IDLE
    for content in ("", "x"):
        pin.write_text(content)
        core.release()
        sources.poll(core)
        assert core.safety.state is State.ESTOP
    sources.close()


def test_file_that_was_deleted_stops_and_one_in_its_place_is_read(policy: Policy, tmp_path: Path) -> None:
    pin, other = tmp_path / "value", tmp_path / "other"
    pin.write_text("0")
    core, sources = PolicyController(policy), EstopSources(file=pin)
    sources.poll(core)
    assert core.safety.state is State.IDLE
    for content, state in (("0", State.IDLE), ("1", State.ESTOP)):
        other.write_text(content)
        other.replace(pin)
        sources.poll(core)
        assert core.safety.state is state
    other.write_text("0")
    other.replace(pin)
    core.release()
    sources.poll(core)
    assert core.safety.state is State.IDLE
    pin.unlink()
    for _ in range(2):
        core.release()
        sources.poll(core)
        assert core.safety.state is State.ESTOP
    sources.close()


def test_descriptors_of_the_server_itself_are_no_stop(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with (tmp_path / "file").open("w+") as file, socket.socket() as listening:
        for number, said in (
            (reader, "was not inherited"),
            (listening.fileno(), "was not inherited"),
            (writer, "no pipe, socket or device"),
            (file.fileno(), "no pipe, socket or device"),
            (10**20, "is not open"),
        ):
            if said.startswith("no"):
                os.set_inheritable(number, True)
            with pytest.raises(ShoalError, match=said):
                EstopSources(descriptor=number)
    os.close(reader)
    os.close(writer)


def test_every_press_counts_and_what_lasts_counts_once(policy: Policy, tmp_path: Path) -> None:
    pin = tmp_path / "value"
    pin.write_text("1\n")
    core, sources = PolicyController(policy), EstopSources(file=pin)
    for _ in range(3):
        sources.poll(core)
    assert core.status().estops == 1
    pin.write_text("0\n")
    for stops in (2, 3):
        sources.on_signal(signal.SIGUSR1, None)
        sources.poll(core)
        sources.poll(core)
        assert core.status().estops == stops
    sources.close()


@pytest.mark.parametrize("how", ["byte", "end"])
def test_pipe_stops_when_it_speaks_and_when_it_ends(policy: Policy, how: str) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)  # as one that a shell hands over is
    core, sources = PolicyController(policy), EstopSources(descriptor=reader)
    sources.poll(core)
    assert core.safety.state is State.IDLE
    if how == "byte":
        os.write(writer, b"!")
    os.close(writer)
    sources.poll(core)
    assert core.safety.state is State.ESTOP
    core.release()
    sources.poll(core)
    assert core.safety.state is State.ESTOP
    os.close(reader)


def test_signal_stops_once(policy: Policy) -> None:
    core, sources = PolicyController(policy), EstopSources()
    before = signal.signal(signal.SIGUSR1, sources.on_signal)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        sources.poll(core)
        assert core.safety.state is State.ESTOP
        core.release()
        sources.poll(core)
        assert core.safety.state is State.IDLE
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_connection_to_the_stop_socket_stops_and_is_answered_after_the_tick(policy: Policy, tmp_path: Path) -> None:
    requests = tmp_path / "s"
    core, sources = PolicyController(policy), EstopSources(beside=Address(str(requests)))
    sources.poll(core)
    assert core.safety.state is State.IDLE
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(stop_directly, requests, timeout_s=60) for _ in range(8)]
        while not all(one.done() for one in asked):
            sources.poll(core)
            sources.answer(core.status)
    assert {GoalStatus.model_validate_json(one.result()).state for one in asked} == {"estop"}
    core.release()
    sources.poll(core)
    assert core.safety.state is State.IDLE
    sources.close()
    with pytest.raises(OSError, match="No such file"):
        stop_directly(requests, timeout_s=1)


def test_stop_asked_for_before_the_first_tick_or_by_one_who_is_gone_counts(policy: Policy, tmp_path: Path) -> None:
    requests = tmp_path / "s"
    core, sources = PolicyController(policy), EstopSources(beside=Address(str(requests)))
    with pytest.raises(TimeoutError):
        stop_directly(requests, timeout_s=0.01)
    sources.poll(core)
    assert core.safety.state is State.ESTOP
    sources.answer(core.status)
    sources.close()


def test_stop_needs_no_free_descriptor(policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = tmp_path / "s"
    core, sources = PolicyController(policy), EstopSources(beside=Address(str(requests)))

    def refuse(listening: socket.socket) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched, socket.socket(socket.AF_UNIX) as caller:
        patched.setattr(socket.socket, "accept", refuse)
        caller.connect(str(stop_path(requests)))
        sources.poll(core)
        assert core.safety.state is State.ESTOP
    sources.close()


def test_sources_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match="--estop-file: cannot open"):
        EstopSources(file=tmp_path / "none")
    with pytest.raises(ShoalError, match="--estop-fd: descriptor 987 is not open"):
        EstopSources(descriptor=987)


def test_keys_of_the_terminal_and_a_signal(policy_path: Path, tmp_path: Path) -> None:
    """A served robot in a terminal of its own: space stops, r releases, SIGUSR1 stops."""
    command = [*(sys.executable, "-m", "runtime.cli", "serve", "--model", str(policy_path))]
    command += ["--socket", str(tmp_path / "s"), "--no-realtime", "--speed", "4"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    seen = ""

    def wait_for(part: str) -> None:
        nonlocal seen
        deadline = time.monotonic() + 30
        while part not in seen and time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.1)[0]:
                seen += os.read(terminal, 65536).decode(errors="replace")
        assert part in seen, seen
        seen = ""

    try:
        wait_for("estop by   client, SIGUSR1, space key")
        wait_for("idle")
        os.write(terminal, b" ")
        wait_for("estop ")
        os.write(terminal, b"r")
        wait_for("idle")
        os.kill(pid, signal.SIGUSR1)
        wait_for("estop ")
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        os.close(terminal)
