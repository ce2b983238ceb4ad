"""Connections of clients to the gateway: lines in, lines out, every client its share of the time.

They come from the listener process, which has checked tokens and let nobody in who said nothing.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import Counter
from contextlib import suppress

from runtime.gateway.gateway import Gateway
from runtime.protocol.messages import (
    MAX_LINE_BYTES,
    ErrorReply,
    SubscribeRequest,
    encode,
    parse_request,
)
from sim2real.errors import ShoalError

MAX_CONNECTIONS = 64
"""At each address."""
_IDLE_S = 5.0
"""A client that has been silent for this long may lose its place to a new one."""
_SEND_S = 5.0
"""How long a client may leave its replies unread."""
_LOOK_S = 0.02
_SHARE = 0.25
"""Of the gateway's time, for one connection in the long run."""
_BURST_S = 0.05
"""What it may use at once."""


class Connections:
    """All connections of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._open: dict[Connection, asyncio.Task[None]] = {}

    def adopt(self, peer: socket.socket, address: int, begun: bytes) -> None:
        """Serve a connection at one of the addresses; `begun` is what has been read of it."""
        connection = Connection(self._gateway, peer, address, begun)
        if not self._make_room(connection):
            connection.refuse(f"there are {MAX_CONNECTIONS} connections already.")
            return
        task = asyncio.ensure_future(connection.serve())
        self._open[connection] = task
        task.add_done_callback(lambda _: self._open.pop(connection, None))

    def _make_room(self, new: Connection) -> bool:
        """Whether there is a place, if need be that of the longest silent connection of whoever has the most; those on
        which nothing but changes is wanted go last. One who has fewer need not wait until it has been silent for long.
        """
        here = [connection for connection in self._open if connection.address == new.address]
        if len(here) < MAX_CONNECTIONS:
            return True
        held = Counter(connection.owner for connection in here)
        longest = min(here, key=lambda one: (-held[one.owner], one.subscribed, one.heard_s))
        has_fewer = held[new.owner] + 1 < held[longest.owner]
        if not has_fewer and time.monotonic() - longest.heard_s < _IDLE_S:
            return False
        # Out of the count at once, however long its end takes.
        self._open.pop(longest).cancel()
        return True


class Connection:
    """Connection of one client."""

    def __init__(self, gateway: Gateway, peer: socket.socket, address: int, begun: bytes) -> None:
        self._gateway, self._peer, self.address = gateway, peer, address
        self.owner = _owner(peer)
        self._reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
        self._reader.feed_data(begun)
        self.heard_s = time.monotonic()
        """When its last request came."""
        self.subscribed = False

    def refuse(self, reason: str) -> None:
        """Say why, and end."""
        with self._peer, suppress(OSError):
            self._peer.send(encode(ErrorReply(reason=reason)))

    async def serve(self) -> None:
        """Until the client leaves, does not read its replies or sends a line that is too long, or until cancelled."""
        loop = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(self._reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, self._peer)
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, loop)
        try:
            with suppress(ConnectionError, TimeoutError):
                await self._converse()
        finally:
            self._writer.close()
            # What the client never reads must not keep the connection.
            loop.call_later(_SEND_S, transport.abort)

    async def _converse(self) -> None:
        share = _Share()
        while line := await self._next_line():
            started = time.thread_time()
            reply, subscribed = self._answer(line)
            used_s = time.thread_time() - started
            await self._send(reply)
            if subscribed:
                await self._stream()
                return
            # Also where there is nothing to wait for: others have their turn between two lines of one client.
            await asyncio.sleep(share.pause_s(used_s))

    async def _next_line(self) -> bytes:
        """Empty at the end, which a line that is too long is, too."""
        try:
            line = await self._reader.readline()
        except ValueError:
            await self._send(encode(ErrorReply(reason=f"a message may have at most {MAX_LINE_BYTES} bytes.")))
            return b""
        self.heard_s = time.monotonic()
        return line

    def _answer(self, line: bytes) -> tuple[bytes, bool]:
        """The reply, and whether it is the first of many."""
        try:
            request = parse_request(line)
        except ShoalError as error:
            return encode(ErrorReply(reason=str(error)[:500])), False
        return encode(self._gateway.answer(request)), isinstance(request, SubscribeRequest)

    async def _stream(self) -> None:
        """Goals at every change, until the peer leaves or says anything."""
        self.subscribed = True
        seen = self._gateway.look()
        left = asyncio.ensure_future(self._reader.read(1))
        try:
            while not left.done():
                changes = self._gateway.look()
                if changes != seen:
                    seen = changes
                    await self._send(self._gateway.news())
                await asyncio.wait([left], timeout=_LOOK_S)
        finally:
            left.cancel()

    async def _send(self, line: bytes) -> None:
        self._writer.write(line)
        async with asyncio.timeout(_SEND_S):
            await self._writer.drain()


def _owner(peer: socket.socket) -> str:
    """The process at the other end, on this machine, or the host."""
    if peer.family == socket.AF_UNIX:
        if not hasattr(socket, "SO_PEERCRED"):
            return ""
        pid, _, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        return str(pid)
    try:
        return str(peer.getpeername()[0])
    except OSError:
        return ""


class _Share:
    """How long a client that has used the gateway's time must wait, so that it gets its share and no more."""

    def __init__(self) -> None:
        self._left_s, self._counted_s = _BURST_S, time.monotonic()

    def pause_s(self, used_s: float) -> float:
        """How long to pause after an answer that took `used_s`."""
        now = time.monotonic()
        self._left_s = min(_BURST_S, self._left_s + _SHARE * (now - self._counted_s)) - used_s
        self._counted_s = now
        return max(0.0, -self._left_s / _SHARE)
