"""A process of `runtime.server.listener`, as the control process holds it.

config  ──► the process imports what it needs, and waits
GO      ──► with the listening sockets, which it has not held so far: it is the one now
the end ──► whatever it does, it ends
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from sim2real.child_process import python_module

_GO = b"go"
_LONGEST_MESSAGE = 1 << 20
_MOST_SOCKETS = 64


class ListenerProcess:
    """Started with its configuration as JSON and the shared memory's descriptors; that takes about a millisecond."""

    def __init__(self, config: bytes, memory: Sequence[int]) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST_MESSAGE)
            self._ours.setblocking(False)
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                python_module("runtime.server.listener"),
                stdin=theirs.fileno(),
                pass_fds=tuple(memory),
                # Threads of NumPy's would be of no use, and no process with threads should fork.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        self._ours.send(config)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative after a signal; None as long as it lives."""
        return self._process.poll()

    def go(self, listening: Sequence[int]) -> None:
        """Have it listen; one that has just died is found dead soon enough."""
        with suppress(OSError):
            socket.send_fds(self._ours, [_GO], listening)

    def kill(self) -> None:
        """End a process that hangs."""
        self._process.kill()

    def end(self) -> None:
        """Ask it to end, without waiting."""
        self._ours.close()

    def wait(self, patience_s: float) -> None:
        """Wait until it has ended, or had to be killed."""
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class ControlEnd:
    """The other side, in the listener process."""

    def __init__(self) -> None:
        self._socket = socket.socket(fileno=os.dup(0))

    def fileno(self) -> int:
        """Readable when the control process has ended or wants the end."""
        return self._socket.fileno()

    def config(self) -> bytes:
        """The first message; empty for none."""
        return self._socket.recv(_LONGEST_MESSAGE)

    def listening(self) -> list[int]:
        """Descriptors of the sockets, once this process is wanted; none for the end."""
        return socket.recv_fds(self._socket, len(_GO), _MOST_SOCKETS)[1]
