"""Connections of clients to the gateway: lines in, lines out, a token where one is asked for."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

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
    """Serves connections; `token` is asked for first, unless it is empty."""

    _open = 0
    """Connections of all listeners of this process."""

    def __init__(self, gateway: Gateway, *, token: str = "") -> None:
        self._gateway, self._token = gateway, token

    async def listen(self, listening: socket.socket) -> asyncio.Server:
        """Accept clients on a socket that listens already."""
        return await asyncio.start_server(self._serve, sock=listening, limit=MAX_LINE_BYTES)

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
