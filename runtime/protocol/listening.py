"""Listening sockets, bound by one process alone until it closes them or ends.

    listening = Listening(Address("/run/user/1000/shoal/runtime.sock"))
    listening.sockets[0].accept()
    listening.close()

A Unix socket leaves a file behind when its process is killed, and the next server has to remove it. Two rules keep that
from doing harm: nothing but a socket on which nobody answers is ever removed, and only by the process that holds the
lock beside it (`NAME.lock`), which the kernel frees however that process ends.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from runtime.protocol.address import Address
from sim2real.errors import ShoalError

_BACKLOG = 1024
"""So that connections that come in a rush keep nobody out."""
_PROBE_S = 0.5


class Listening:
    """The sockets of one address; a host name may stand for several.

    Raises `ShoalError`, with `option` (`--socket`, say) first, when another server has the address or none could have
    it. `kind` is the type of a Unix socket.
    """

    def __init__(self, address: Address, *, option: str, kind: int = socket.SOCK_STREAM) -> None:
        self.address = address
        self.sockets: list[socket.socket] = []
        self._lock, self._inode = -1, (0, 0)
        try:
            if address.path is None:
                self._bind_tcp()
            else:
                self._bind_unix(address.path, kind)
        except OSError as error:
            self.close()
            raise ShoalError(
                f"{option}: cannot listen on {address}: {error.strerror or error}; choose another address."
            ) from error
        except ShoalError as error:
            self.close()
            raise ShoalError(f"{option}: {error}") from error

    def close(self) -> None:
        """Stop listening, and remove the Unix socket's file if it is still the one that was made."""
        for listening in self.sockets:
            listening.close()
        self.sockets.clear()
        path = self.address.path
        if self._lock >= 0:
            if path is not None and _inode(path) == self._inode:
                with suppress(OSError):
                    path.unlink()
            os.close(self._lock)
            self._lock = -1

    def _bind_unix(self, path: Path, kind: int) -> None:
        if not path.parent.is_dir():
            raise ShoalError(f"there is no folder {path.parent} for the socket; create it first.")
        _require_socket(path)
        self._lock = _lock(path)
        # Once more, now that no other server can change it.
        _require_socket(path)
        if _answers(path, kind):
            raise _taken(path)
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, kind)
        self.sockets.append(listening)
        mask = os.umask(0o177)
        try:
            listening.bind(str(path))
        finally:
            os.umask(mask)
        self._inode = _inode(path)
        listening.listen(_BACKLOG)

    def _bind_tcp(self) -> None:
        address, refused = self.address, OSError(0, "the name stands for no address")
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, place in dict.fromkeys(found):
            try:
                listening = socket.socket(family, kind, protocol)
            except OSError as error:  # a system without IPv6
                refused = error
                continue
            self.sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(place)
            listening.listen(_BACKLOG)
        if not self.sockets:
            raise refused


def _require_socket(path: Path) -> None:
    """Raise `ShoalError` for anything but a socket, which is somebody's file."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ShoalError(f"{path} exists and is no socket; choose another path, or remove it if nobody needs it.")


def _lock(path: Path) -> int:
    """Descriptor of the lock beside a socket. The file stays: to remove it would let a third server lock another."""
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise _taken(path) from None
    return descriptor


def _answers(path: Path, kind: int) -> bool:
    """Whether somebody without the lock (a server of another kind, say) listens there."""
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:  # a socket of another kind, one that is overwhelmed, or one that is not ours
            return True
    return True


def _taken(path: Path) -> ShoalError:
    return ShoalError(f"another server already listens on {path}; stop it, or choose another path.")


def _inode(path: Path) -> tuple[int, int]:
    try:
        facts = path.lstat()
    except OSError:
        return 0, 0
    return facts.st_dev, facts.st_ino
