"""Connections of clients to the gateway: lines in, lines out, a token where one is asked for."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

from runtime.protocol.address import Address
from runtime.protocol.messages import (
    MAX_LINE_BYTES,
    ErrorReply,
    HelloRequest,
    Message,
    Request,
    SubscribeRequest,
    Welcome,
    encode,
    parse_request,
)
from runtime.protocol.token import same_token
from runtime.server.gateway import Gateway
from sim2real.errors import ShoalError

MAX_CONNECTIONS = 64
_HELLO_S = 5.0
_WRONG_TOKEN_S = 0.5
_LOOK_S = 0.02


class Listener:
    """Serves connections on one address; `token` is asked for first, unless it is empty."""

    _open = 0
    """Connections of all listeners of this process."""

    def __init__(self, gateway: Gateway, address: Address, *, token: str = "") -> None:
        self._gateway, self._address = gateway, address
        # Only the user's own processes reach the Unix socket.
        self._token = token if address.path is None else ""

    async def listen(self) -> asyncio.Server:
        """Start to listen; raises `OSError`."""
        path = self._address.path
        if path is None:
            return await asyncio.start_server(
                self._serve, self._address.host, self._address.port, limit=MAX_LINE_BYTES, reuse_address=True
            )
        # A socket file that a killed gateway left behind; the control process made sure that nobody answers on it.
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            return await asyncio.start_unix_server(self._serve, str(path), limit=MAX_LINE_BYTES)
        finally:
            os.umask(mask)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        Listener._open += 1
        try:
            with suppress(ConnectionError):
                if Listener._open > MAX_CONNECTIONS:
                    await _send(writer, ErrorReply(reason=f"there are {MAX_CONNECTIONS} connections already."))
                elif await self._admit(reader, writer):
                    await self._converse(reader, writer)
        finally:
            Listener._open -= 1
            writer.close()

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if not self._token:
            return True
        try:
            request = await asyncio.wait_for(_receive(reader), _HELLO_S)
        except (ShoalError, TimeoutError):
            request = None
        if isinstance(request, HelloRequest) and same_token(request.token, self._token):
            await _send(writer, Welcome())
            return True
        # Slows down whoever tries many.
        await asyncio.sleep(_WRONG_TOKEN_S)
        await _send(writer, ErrorReply(reason="this server wants the right token first (hello, --token-file)."))
        return False

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer line by line until the peer leaves or sends a line that is too long."""
        while True:
            try:
                request = await _receive(reader)
            except _TooLong as error:
                await _send(writer, ErrorReply(reason=str(error)))
                return
            except ShoalError as error:
                await _send(writer, ErrorReply(reason=str(error)[:500]))
                continue
            if request is None:
                return
            await _send(writer, self._gateway.answer(request))
            if isinstance(request, SubscribeRequest):
                await self._stream(reader, writer)
                return

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Goals at every change, until the peer leaves or says anything."""
        seen = self._gateway.look()
        left = asyncio.ensure_future(reader.read(1))
        try:
            while not left.done():
                changes = self._gateway.look()
                if changes != seen:
                    seen = changes
                    await _send(writer, self._gateway.goals())
                await asyncio.wait([left], timeout=_LOOK_S)
        finally:
            left.cancel()


class _TooLong(ShoalError):
    pass


async def _receive(reader: asyncio.StreamReader) -> Request | None:
    """The next request; None at the end. Raises `ShoalError`."""
    try:
        line = await reader.readline()
    except ValueError as error:
        raise _TooLong(f"a message may have at most {MAX_LINE_BYTES} bytes.") from error
    return parse_request(line) if line else None


async def _send(writer: asyncio.StreamWriter, message: Message) -> None:
    writer.write(encode(message))
    await writer.drain()
