"""The listening socket of the page: closes the connections of a peer that makes too many, before they cost anything."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, Self

from runtime.page.gate import name_of_peer

_PER_S, _AT_ONCE = 10.0, 40.0
"""Connections of one peer. A browser needs two or three to open the page."""
_MAX_PEERS = 1024
_LOOKS = 32
"""Connections that are closed in one go; then others have their turn."""


class PeerRate:
    """Counts what each peer does, and allows it so often in the long run and so often at once."""

    def __init__(self, per_s: float, at_once: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._at_once, self._clock = per_s, at_once, clock
        self._left: dict[str, tuple[float, float]] = {}
        """What each peer has left, and since when."""

    def allows(self, peer: str) -> bool:
        """Whether this peer may do it once more now, and count it."""
        now = self._clock()
        left, since = self._left.pop(peer, (self._at_once, now))
        left = min(self._at_once, left + (now - since) * self._per_s)
        if len(self._left) >= _MAX_PEERS:  # the one that has been quiet for longest
            del self._left[next(iter(self._left))]
        self._left[peer] = (left - 1 if left >= 1 else left, now)
        return left >= 1


class Doorstep(socket.socket):
    """A bound socket for an event loop to listen on. Raises `OSError` when the address is taken."""

    @classmethod
    def at(cls, host: str, port: int) -> Self:
        """On this interface, an address or a name."""
        doorstep = cls(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            doorstep.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            doorstep.bind((host, port))
        except OSError:
            doorstep.close()
            raise
        doorstep.rate = PeerRate(_PER_S, _AT_ONCE)
        return doorstep

    rate: PeerRate

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection of a peer that has not made too many. Raises `BlockingIOError` when none is there."""
        for _ in range(_LOOKS):
            connection, address = super().accept()
            if self.rate.allows(name_of_peer(address[0])):
                return connection, address
            connection.close()
        raise BlockingIOError
