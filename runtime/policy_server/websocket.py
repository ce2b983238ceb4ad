"""The policy server's websocket, in the message format of openpi's clients.

After the handshake the server sends one binary message, a map of facts about the policy. Each binary message of the
client is then one observation, a map from names to arrays (see `runtime.policy_server.messagepack`), and is answered
by one map with `actions [1, J]`. A text message instead is one sentence saying why there is no answer; openpi's client
raises it as an error. `GET /healthz` answers 200.

The protocol is the websockets package's own, without its threads and event loop: the policy server's one thread
reads and writes the socket.
"""

from __future__ import annotations

import http
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from runtime.policy_server.client import answer_of, fill_inputs, number
from runtime.policy_server.greeting import Hello
from runtime.policy_server.messagepack import pack, unpack
from runtime.policy_server.packets import input_names
from runtime.policy_server.server import MAX_CLIENTS, Peer
from runtime.policy_server.session import Session
from runtime.protocol.address import require_private
from runtime.protocol.token import same_token
from sim2real.errors import ShoalError

MAX_MESSAGE_BYTES = 64 * 1024
_READ_BYTES = 2 * 1024
"""At a time: what fits into them, pings say, is answered before anybody else is."""

_SILENT = logging.Logger("websockets of strangers")
"""The package's own would print tracebacks of what they send."""
_SILENT.addHandler(logging.NullHandler())


class WebsocketPeer:
    """A client on the websocket, which has a session once its handshake is done.

    `token`, if not empty, must come with the handshake as `Api-Key` or `Bearer`.
    """

    def __init__(self, connection: socket.socket, make_session: Callable[[], Session], token: str) -> None:
        self.connection, self._make_session, self._token = connection, make_session, token
        self.admitted, self.answered_s = False, time.perf_counter()
        self._session: Session | None = None
        # A browser always names an origin: no page that someone opens on this machine may talk to the robot.
        self._protocol = ServerProtocol(origins=[None], max_size=MAX_MESSAGE_BYTES, logger=_SILENT)
        self._events: deque[Any] = deque()
        self._message = bytearray()
        self._text = False
        connection.setblocking(False)

    @property
    def waiting(self) -> bool:
        """Whether messages, or parts of them, have been received and not looked at."""
        return bool(self._events)

    def serve(self) -> bool:
        """A handshake, a message or a part of one, or, when there is none left, some bytes of the next."""
        protocol, ended = self._protocol, False
        try:
            if not self._events:
                data = self.connection.recv(_READ_BYTES)
                ended = not data
                with _peers_fault():
                    protocol.receive_data(data) if data else protocol.receive_eof()
                    self._events.extend(protocol.events_received())
            if self._events:
                event = self._events.popleft()
                self._open(event) if isinstance(event, Request) else self._take(event)
            for data in protocol.data_to_send():
                if not data:
                    self.connection.shutdown(socket.SHUT_WR)
                elif self.connection.send(data) != len(data):
                    return False  # a client that does not read its replies
        except (OSError, InvalidState):
            return False
        return not ended and not protocol.close_expected()

    def warm_up(self) -> None:
        """See `runtime.policy_server.server.Peer.warm_up`."""
        if self._session is not None:
            self._session.warm_up()

    def _open(self, request: Request) -> None:
        protocol = self._protocol
        with _peers_fault():
            healthy = protocol.reject(http.HTTPStatus.OK, "OK\n") if request.path == "/healthz" else None
            response = healthy or self._refuse(request) or protocol.accept(request)
            protocol.send_response(response)
        if response.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS:
            self._session, self.admitted = self._make_session(), True
            self._hello = Hello.of(self._session.contract)
            fields = input_names(self._session.request_record.dtype)
            self._inputs = {name: self._session.request[name] for name in fields}
            protocol.send_binary(pack(metadata(self._hello)))

    def _refuse(self, request: Request) -> Response | None:
        if not self._token:
            return None
        headers = request.headers.get_all("Authorization")  # of which a client may send several
        scheme, _, given = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
        if same_token(given, self._token) and scheme in ("Api-Key", "Bearer"):
            return None
        return self._protocol.reject(http.HTTPStatus.UNAUTHORIZED, "Give the server's token.\n")

    def _take(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
            return  # the protocol itself answers pings and closes
        if frame.opcode is not Opcode.CONT:
            self._message.clear()
            self._text = frame.opcode is Opcode.TEXT
        self._message += frame.data
        if not frame.fin:
            return
        if self._text:
            self._protocol.send_text(b"message: observations are binary messages, in MessagePack.")
            return
        try:
            answer = self._answer(bytes(self._message), time.perf_counter())
            self.answered_s = time.perf_counter()
            self._protocol.send_binary(pack(answer))
        except ShoalError as error:
            self._protocol.send_text(str(error)[:500].encode(errors="replace"))

    def _answer(self, message: bytes, started_s: float) -> dict[str, Any]:
        observation = unpack(message)
        if not isinstance(observation, dict):
            raise ShoalError("message: an observation is a map from names to arrays.")
        fill_inputs(self._inputs, observation, self._hello.optional)
        session = self._session
        assert session is not None
        session.answer(
            number(observation, "time_s", time.monotonic()),
            number(observation, "age_s", 0.0),
            reset=bool(number(observation, "reset", 0.0)),
        )
        session.reply["server_s"][0] = time.perf_counter() - started_s
        answer = answer_of(session.reply_record, self._hello) | {"reason": session.core.safety.sentence}
        infer_ms = 1e3 * answer.pop("server_s")
        return {"actions": answer.pop("command")[None], **answer, "server_timing": {"infer_ms": infer_ms}}


@contextmanager
def _peers_fault() -> Iterator[None]:
    """Ends the connection for whatever the websockets package makes of bytes that are neither HTTP nor frames: errors
    of its own, of decoding, of assertions.
    """
    try:
        yield
    except Exception as error:
        raise ConnectionAbortedError from error


class WebsocketListener:
    """A TCP socket. Without a token only on the loopback interface."""

    local = False

    def __init__(self, host: str, port: int, make_session: Callable[[], Session], *, token: str = "") -> None:
        require_private(host, "--websocket", with_token=bool(token))
        self._make_session, self._token = make_session, token
        try:
            self.listening = socket.create_server((host, port), backlog=MAX_CLIENTS)
        except OSError as error:
            raise ShoalError(f"--websocket: cannot listen on {host}:{port}: {error.strerror}.") from error
        self.port = int(self.listening.getsockname()[1])

    def accept(self, connection: socket.socket) -> Peer:
        """The handshake follows."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return WebsocketPeer(connection, self._make_session, self._token)

    def close(self) -> None:
        """Stop listening."""
        self.listening.close()


def metadata(hello: Hello) -> dict[str, Any]:
    """What a client is told on connecting: the facts of `Hello` that do not concern its byte layout."""
    facts = hello.model_dump(mode="json", exclude={"request", "reply", "states", "reasons", "contract"})
    fields = {field.name: field for field in hello.request.fields}
    facts["observation"] = {
        name: {"shape": list(fields[name].shape), "unit": fields[name].unit, "meaning": fields[name].meaning}
        for name in input_names(hello.request_dtype())
    }
    command = next(field for field in hello.reply.fields if field.name == "command")
    meaning = command.meaning.split(", to be")[0]
    facts["actions"] = {"shape": [1, len(hello.joint_names)], "unit": command.unit, "meaning": meaning}
    return facts
