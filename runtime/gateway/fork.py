"""The gateway as a child of the listener process: forked, watched, replaced, and given connections."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from runtime.gateway import process as gateway_process
from runtime.gateway.config import GatewayConfig
from runtime.ipc.shared_memory import SharedSlots
from runtime.process.watching import Backoff, Watchdog

_CHECK_EVERY_S = 0.02
_HUNG_S = 2.0
"""Without a beat."""
_END_S = 8.0
_BUFFER_BYTES = 1 << 20
"""Connections on their way; they wait there while one gateway takes the place of another."""
_PR_SET_PDEATHSIG = 1
_WITHOUT_A_WORD = (
    "error: the control process ended without a summary: it was killed, it crashed, or its driver's code ended it "
    "(os._exit); the robot was NOT braked and holds its last target."
)


class GatewayFork:
    """The gateway of one server."""

    def __init__(self, config: GatewayConfig, slots: SharedSlots) -> None:
        self._config, self._slots = config, slots
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self._ours.setblocking(False)
        self._pid = 0
        self._next_check_s = 0.0
        self._backoff, self._watchdog = Backoff(), Watchdog(_HUNG_S, every_s=_CHECK_EVERY_S)

    def check(self, release: Callable[[], None]) -> None:
        """Start a gateway where there is none, and end one that hangs; never waits.

        `release` closes in the new process what is this one's alone.
        """
        now = time.monotonic()
        if now < self._next_check_s:
            return
        self._next_check_s = now + _CHECK_EVERY_S
        if self._pid:
            ended, status = os.waitpid(self._pid, os.WNOHANG)
            if ended and os.WIFEXITED(status) and not self._slots.gateway_beats:
                # Another attempt would end the same way; one that was killed says nothing about the next.
                raise SystemExit(1)
            self._pid = 0 if ended else self._pid
        if self._pid:
            if self._watchdog.hangs(self._slots.gateway_beats, now):
                os.kill(self._pid, signal.SIGKILL)
            elif self._watchdog.seen:
                self._backoff.came_up()
        elif self._backoff.over(now):
            self._backoff.started(now)
            self._watchdog.restart(self._slots.gateway_beats, now)
            # Out of processes or memory just now: a later check tries again.
            with suppress(OSError):
                self._fork(release)

    def hand_over(self, connection: socket.socket, address: int, begun: bytes) -> None:
        """Give a connection away, of which `begun` has been read; it is lost when the gateway takes no more."""
        with suppress(OSError):
            socket.send_fds(self._ours, [bytes([address]) + begun], [connection.fileno()])

    def close(self) -> None:
        """End the gateway; a control process that has ended without a word is told by nobody else."""
        deadline_s = time.monotonic() + _END_S
        # Its end of the connection may be closed while it still brings the robot to rest: a driver can close it.
        while not self._slots.control_ends and os.getppid() == self._config.control and time.monotonic() < deadline_s:
            time.sleep(_CHECK_EVERY_S)
        if not self._slots.control_ends and os.getppid() != self._config.control:
            print(_WITHOUT_A_WORD, file=sys.stderr, flush=True)
        self._ours.close()
        self._theirs.close()
        while self._pid and not os.waitpid(self._pid, os.WNOHANG)[0]:
            if time.monotonic() > deadline_s:
                os.kill(self._pid, signal.SIGKILL)
            time.sleep(_CHECK_EVERY_S)

    def _fork(self, release: Callable[[], None]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid:
            self._slots.count_gateway()
            return
        status = 1
        try:
            _die_with(parent)
            release()
            self._ours.close()
            gateway_process.serve(self._config, self._theirs)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            # Nothing of the parent's must be run again at the end of its child.
            sys.stdout.flush()
            os._exit(status)


def _die_with(parent: int) -> None:
    """Die with the parent, so that there are never two gateways; elsewhere than on Linux the end of their connection
    has to do.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
