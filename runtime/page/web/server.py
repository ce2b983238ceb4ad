"""viser's web server behind the page's own gate.

viser opens its server without a hook for the handshake, so this module gives it another `websockets` server while it
starts. What a stranger can reach is then decided here:

    request ── name asked for ── web site ── code ──► websocket of viser (at most 32), page, or one sentence
                     │
                     └──► /stop, always
"""

from __future__ import annotations

import asyncio
import io
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import msgspec
import websockets.asyncio.server as websockets_server
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from runtime.page.config import PageConfig, require_viser
from runtime.page.web.emergency_stop import EmergencyStop
from runtime.page.web.gate import Doorstep, Gate, Refusal
from runtime.page.web.stop_page import PATH, PRESS_HEADER, PRESS_PATH, stop_page
from sim2real.errors import ShoalError

MAX_BROWSERS = 32
_MAX_ARRIVING = 64
"""Connections that are no browser's websocket (yet); the oldest one makes room for the next."""
_ACCEPTED_AT_ONCE = 16
"""Connections that the event loop takes before it looks after the others again."""
_REQUEST_S = 5.0
"""In which a connection must have said what it wants."""
_LOAD_S = 120.0
"""In which it must have got it: viser's client is a megabyte, and some networks are slow."""
_CONFIRM_S = 2.0
_MAX_MESSAGE_BYTES = 2**16
_MESSAGES_PER_S, _MESSAGES_AT_ONCE = 200.0, 400.0
"""Of one browser; one that sends more is read more slowly."""
_FROM_BROWSERS = {
    "ViewerCameraMessage": None,
    "GuiUpdateMessage": {"value"},
    "TransformControlsUpdateMessage": None,
    "TransformControlsDragStartMessage": None,
    "TransformControlsDragEndMessage": None,
}
"""The messages that the page needs, and what one may update. viser knows more: uploads, a public tunnel
(`ShareUrlRequest`), and updates of any attribute of a control."""
_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer: no other site may show the page in a frame, where clicks meant for that site would reach it."""
_Static = Callable[[Any, Request], Response | None]


class WebServer:
    """Listens from the start, and lets browsers in after `admit`; `viser` is what the page draws with.

    Raises `ShoalError` when viser cannot be guarded.
    """

    def __init__(self, config: PageConfig, doorstep: Doorstep, gate: Gate, stop: EmergencyStop) -> None:
        viser, _ = require_viser()
        self._gate, self._stop = gate, stop
        self._protocol = f"viser-v{viser.__version__}"
        self._static: _Static | None = None
        self._doorstep = doorstep
        self._admitting = False
        self._arriving: dict[_Connection, None] = {}
        self._browsers: set[_Connection] = set()
        with redirect_stdout(io.StringIO()), self._in_place_of_visers_server():  # it prints a box
            self.viser: Any = viser.ViserServer(host=config.host, port=config.port, label="Shoal", verbose=False)
        if self._static is None:
            self.close()
            raise ShoalError(f"--page: viser {viser.__version__} opens its server in a way that cannot be guarded.")
        # Whatever asks for it: the robot is not put on the internet through a tunnel of viser's makers.
        self.viser.request_share_url = self.viser.get_share_url = _no_sharing

    def admit(self) -> None:
        """Let browsers in."""
        self._admitting = True

    def close(self) -> None:
        """End the server and all connections."""
        with redirect_stdout(io.StringIO()):
            self.viser.stop()

    def arrived(self, connection: _Connection) -> None:
        """A connection was made, which has asked for nothing yet."""
        self._arriving[connection] = None
        if len(self._arriving) > _MAX_ARRIVING:
            oldest = next(iter(self._arriving))
            del self._arriving[oldest]
            oldest.transport.abort()

    def left(self, connection: _Connection) -> None:
        """A connection is gone."""
        self._arriving.pop(connection, None)
        self._browsers.discard(connection)

    @contextmanager
    def _in_place_of_visers_server(self) -> Iterator[None]:
        original = websockets_server.serve

        def serve(handler: Any, host: str, port: int, **options: Any) -> Any:
            self._static = options["process_request"]
            options |= {
                "sock": self._doorstep,
                "backlog": _ACCEPTED_AT_ONCE,
                "process_request": self._answer,
                "create_connection": partial(_Connection, self),
                "max_size": _MAX_MESSAGE_BYTES,
                "open_timeout": _LOAD_S,
                "logger": _silent_logger(),
            }
            return original(handler, **options)

        websockets_server.serve = serve  # type: ignore[assignment, misc]
        try:
            yield
        finally:
            websockets_server.serve = original  # type: ignore[misc]

    async def _answer(self, connection: _Connection, request: Request) -> Response | None:
        response = self._refusal(connection, request) or await self._page(connection, request)
        if response is not None:
            for name, value in _HEADERS.items():
                response.headers[name] = value
        return response

    def _refusal(self, connection: _Connection, request: Request) -> Response | None:
        """Refusal of a request under a wrong name, or the opening of a websocket; None lets it go on."""
        headers = request.headers
        refusal = self._gate.misdirected(headers)
        if refusal is None and headers.get_all("Upgrade"):
            refusal = self._gate.websocket(headers, connection.peer) or self._no_place(headers)
        return None if refusal is None else connection.respond(refusal.status, refusal.sentence + "\n")

    def _no_place(self, headers: Headers) -> Refusal | None:
        if not self._admitting:
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "The page is starting; try again.")
        if len(self._browsers) >= MAX_BROWSERS:
            return Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{MAX_BROWSERS} browsers show the page already; close one. The emergency stop is always at {PATH}.",
            )
        offered = {name.strip() for value in headers.get_all("Sec-WebSocket-Protocol") for name in value.split(",")}
        if self._protocol not in offered:
            return Refusal(HTTPStatus.BAD_REQUEST, f"The page speaks {self._protocol}; reload it.")
        return None

    async def _page(self, connection: _Connection, request: Request) -> Response | None:
        if request.headers.get_all("Upgrade"):
            self._arriving.pop(connection, None)
            self._browsers.add(connection)
            return None
        path, _, query = request.path.partition("?")
        if path == PATH:
            return _html(HTTPStatus.OK, stop_page())
        if path == PRESS_PATH:
            return await self._press(connection, request)
        if not self._gate.knows(request.headers):
            return self._door(connection, parse_qs(query).get("code", [""])[0])
        if query:  # viser's client would let it name another server, or a file to play
            return _redirect()
        assert self._static is not None
        return self._static(connection, request)

    def _door(self, connection: _Connection, code: str) -> Response:
        sentence, status = "This page needs the code that was printed where it was started.", HTTPStatus.UNAUTHORIZED
        if code:
            refusal = self._gate.judge(code, connection.peer)
            if refusal is None:
                response = _redirect()
                response.headers["Set-Cookie"] = self._gate.cookie
                return response
            sentence, status = refusal.sentence, refusal.status
        return _html(status, stop_page(sentence, asks_code=True))

    async def _press(self, connection: _Connection, request: Request) -> Response:
        name, value = PRESS_HEADER
        if request.headers.get_all(name) != [value] or self._gate.foreign(request.headers):
            return connection.respond(HTTPStatus.FORBIDDEN, f"Press the button at {PATH}.\n")
        press, loop = self._stop.press(), asyncio.get_running_loop()
        deadline = loop.time() + _CONFIRM_S
        while self._stop.confirmed < press and loop.time() < deadline:
            await asyncio.sleep(0.005)
        if self._stop.confirmed >= press:
            return connection.respond(HTTPStatus.OK, "The emergency stop is in force.\n")
        problem = self._stop.problem or "The robot has not confirmed it."
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"NOT STOPPED yet, still trying. {problem}\n")


class _Connection(websockets_server.ServerConnection):
    """Connection of one peer. Reads what the page needs, no faster than one browser may send."""

    def __init__(self, web_server: WebServer, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._web_server = web_server
        self._allowance, self._counted_s = _MESSAGES_AT_ONCE, self.loop.time()
        self.peer = ""
        """Address that it comes from."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer = (transport.get_extra_info("peername") or ("",))[0]
        self._web_server.arrived(self)
        self.loop.call_later(_REQUEST_S, self._require_request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._web_server.left(self)
        super().connection_lost(exc)

    async def recv(self, decode: bool | None = None) -> Any:
        """The next message that the page needs."""
        while True:
            raw = await super().recv(decode)
            await self._throttle()
            if _is_needed(raw):
                return raw

    def _require_request(self) -> None:
        if self.request is None:
            self.transport.abort()

    async def _throttle(self) -> None:
        now = self.loop.time()
        refilled = self._allowance + (now - self._counted_s) * _MESSAGES_PER_S
        self._allowance, self._counted_s = min(_MESSAGES_AT_ONCE, refilled) - 1, now
        if self._allowance < 0:
            await asyncio.sleep(-self._allowance / _MESSAGES_PER_S)


def _is_needed(raw: bytes | str) -> bool:
    if isinstance(raw, str):
        return False
    try:
        message = msgspec.msgpack.decode(raw)
        updated = _FROM_BROWSERS[message["type"]]
        return (updated is None or set(message["updates"]) <= updated) and _is_finite(message)
    except (msgspec.MsgspecError, TypeError, KeyError, ValueError, RecursionError):
        return False


def _is_finite(value: object) -> bool:
    """Whether every number in it is."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _no_sharing(*_: object, **__: object) -> None:
    return None


def _html(status: HTTPStatus, text: str) -> Response:
    body = text.encode()
    headers = Headers({"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(body))})
    return Response(status, status.phrase, headers, body)


def _redirect() -> Response:
    headers = Headers({"Location": "/", "Content-Length": "0"})
    return Response(HTTPStatus.SEE_OTHER, HTTPStatus.SEE_OTHER.phrase, headers, b"")


def _silent_logger() -> logging.Logger:
    """Strangers must not be able to write to the terminal."""
    logger = logging.getLogger("runtime.page.websockets")
    logger.disabled = True
    return logger
