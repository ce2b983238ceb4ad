"""One server per address, and nobody's file is removed for it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.protocol.address import Address
from runtime.protocol.listening import Listening
from sim2real.errors import ShoalError


def listen(path: Path, **more: int) -> Listening:
    return Listening(Address(str(path)), option="--socket", **more)


def _ordinary(path: Path) -> None:
    path.write_text("somebody's work")


def _link(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("somebody's work")
    path.symlink_to(target)


@pytest.mark.parametrize("make", [_ordinary, _link, Path.mkdir, os.mkfifo], ids=["file", "link", "folder", "fifo"])
def test_what_is_no_socket_stays(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "notes.txt"
    make(path)
    before = path.lstat()
    with pytest.raises(ShoalError, match=f"--socket: {re.escape(str(path))} exists and is no socket"):
        listen(path)
    assert path.lstat() == before
    assert not (tmp_path / "notes.txt.lock").exists()


def test_a_socket_on_which_nobody_answers_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listening = listen(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    listening.close()
    assert not path.exists()
    listen(path).close()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_a_server_without_the_lock_is_left_alone(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ShoalError, match="another server already listens"):
            listen(path)
        assert path.is_socket()


def test_the_file_of_somebody_who_came_later_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listening = listen(path)
    path.unlink()
    path.write_text("somebody's work")
    listening.close()
    assert path.read_text() == "somebody's work"


_RACER = """
import sys
from pathlib import Path
from runtime.protocol.address import Address
from runtime.protocol.listening import Listening
from sim2real.errors import ShoalError
sys.stdin.readline()
try:
    listening = Listening(Address(sys.argv[1]), option="--socket")
except ShoalError as error:
    print(error, flush=True)
else:
    print("serves", flush=True)
sys.stdin.read()
"""


def test_of_servers_started_together_one_serves_and_a_killed_one_frees_its_place(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:  # what a killed server leaves behind
        dead.bind(str(path))
    command = [sys.executable, "-c", _RACER, str(path)]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
    said = [racer.stdout.readline().strip() for racer in racers if racer.stdout is not None]
    assert sum(line == "serves" for line in said) == 1, said
    assert sum("another server already listens" in line for line in said) == 3, said
    for racer in racers:
        racer.kill()
        racer.communicate()
    listen(path).close()


def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ShoalError, match=rf"--listen: cannot listen on tcp://127\.0\.0\.1:{port}: Address alr"):
            Listening(Address(f"tcp://127.0.0.1:{port}"), option="--listen")


def test_a_name_without_an_address_is_one_sentence() -> None:
    address = Address("tcp://nobody.invalid:7400", with_token=True)
    with pytest.raises(ShoalError, match=r"--listen: cannot listen on tcp://nobody\.invalid:7400: "):
        Listening(address, option="--listen")
