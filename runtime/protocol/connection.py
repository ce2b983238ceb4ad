"""Requests and replies of the protocol over one socket, which is opened again when the server has closed it."""

from __future__ import annotations

import socket
import time

from runtime.protocol.address import Address
from runtime.protocol.messages import (
    MAX_LINE_BYTES,
    MAX_REPLY_BYTES,
    ErrorReply,
    HelloRequest,
    Reply,
    RequestMessage,
    encode,
    parse_reply,
)
from sim2real.errors import ShoalError

_RETRY_S = 0.02


class Connection:
    """To the server at `address`, from the first request on. `timeout_s` bounds every exchange."""

    def __init__(self, address: Address, *, token: str, timeout_s: float) -> None:
        self.address, self.timeout_s = address, timeout_s
        self._token = token
        self._socket: socket.socket | None = None
        self._received = b""

    def close(self) -> None:
        """Close the socket, if it is open."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._received = None, b""

    def exchange(self, *requests: RequestMessage) -> list[Reply]:
        """The replies to requests that are sent together; raises `ShoalError` where none come in time."""
        deadline = time.monotonic() + self.timeout_s
        while True:
            try:
                return self.exchange_once(*requests, deadline=deadline)
            except OSError as error:
                # Also the short time in which a gateway starts or is restarted; requests may safely be repeated.
                self.close()
                if time.monotonic() > deadline:
                    reason = error.strerror or str(error) or type(error).__name__
                    raise ShoalError(
                        f"client: no answer from {self.address} within {self.timeout_s:g} s ({reason}); "
                        "is `runtime serve` running?"
                    ) from error
                time.sleep(_RETRY_S)

    def exchange_once(self, *requests: RequestMessage, deadline: float) -> list[Reply]:
        """As `exchange`, until `deadline` of `time.monotonic()`; an `OSError` comes through."""
        lines = [encode(request) for request in requests]
        if max(map(len, lines)) > MAX_LINE_BYTES:
            raise ShoalError(
                f"client: a message of {max(map(len, lines))} bytes is above the limit of {MAX_LINE_BYTES}."
            )
        if self._socket is None:
            self._socket = self.address.connect(max(0.01, deadline - time.monotonic()))
            if self._token and self.address.path is None:
                lines = [encode(HelloRequest(token=self._token)), *lines]
        self._socket.settimeout(max(0.01, deadline - time.monotonic()))
        self._socket.sendall(b"".join(lines))
        return [self._receive() for _ in lines][-len(requests) :]

    def next_reply(self) -> Reply:
        """What the server sends next of its own accord, however long that takes; raises `OSError` when it ends."""
        assert self._socket is not None
        self._socket.settimeout(None)
        return parse_reply(self._receive_line())

    def _receive(self) -> Reply:
        reply = parse_reply(self._receive_line())
        if isinstance(reply, ErrorReply):
            # The server may have ended the connection, and other answers may be on their way.
            self.close()
            raise ShoalError(f"client: {self.address} refuses: {reply.reason}")
        return reply

    def _receive_line(self) -> bytes:
        assert self._socket is not None
        while b"\n" not in self._received:
            chunk = self._socket.recv(65536)
            if not chunk:
                raise ConnectionResetError(0, "the server closed the connection")
            self._received += chunk
            if len(self._received) > MAX_REPLY_BYTES:
                raise ShoalError("client: the server's reply is too long.")
        reply, _, self._received = self._received.partition(b"\n")
        return reply
