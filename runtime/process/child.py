"""A process beside the control process, as both of them hold it.

config  ──► the process imports what it needs, and waits
GO      ──► with listening sockets, which it has not held so far: it is the one now
UP      ◄── it works, for whoever wants to know
the end ──► whatever it does, it ends; also when the control process dies
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Collection, Sequence
from contextlib import suppress

from sim2real.child_process import python_module

_GO, _UP = b"go", b"up"
_LONGEST_MESSAGE = 1 << 20
_MOST_SOCKETS = 64


class ChildProcess:
    """Started on `cores`, with its configuration as JSON and `inherited` descriptors; takes about a millisecond."""

    def __init__(
        self,
        module: str,
        config: bytes,
        *,
        inherited: Sequence[int] = (),
        cores: Collection[int] = (),
        niceness: int = 0,
    ) -> None:
        self._up = False
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST_MESSAGE)
            self._ours.setblocking(False)
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                python_module(module),
                stdin=theirs.fileno(),
                pass_fds=tuple(inherited),
                # Threads of NumPy's would be of no use, and no process with threads should fork.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        # Of its one thread so far; this process may be pinned to one core. What is not permitted is left as it is.
        with suppress(OSError):
            if cores:
                os.sched_setaffinity(self._process.pid, cores)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, os.getpriority(os.PRIO_PROCESS, 0) + niceness)
        self._ours.send(config)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative after a signal; None as long as it lives."""
        return self._process.poll()

    @property
    def is_up(self) -> bool:
        """Whether it has said so; see `ParentEnd.say_up`."""
        if not self._up:
            with suppress(OSError):
                self._up = self._ours.recv(len(_UP)) == _UP
        return self._up

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


class ParentEnd:
    """The other side, in the process that was started."""

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

    def say_up(self) -> None:
        """Tell that this process works; one whose parent has died hears of that otherwise."""
        with suppress(OSError):
            self._socket.send(_UP)

    def wait_for_end(self) -> None:
        """Until the control process has ended or wants the end."""
        while self._socket.recv(_LONGEST_MESSAGE):
            pass


def usable_cores() -> tuple[int, ...]:
    """Where this process may run; none where the system does not tell. Asked for before a process pins itself."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
