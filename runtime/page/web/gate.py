"""Who may open the page, decided before there is a websocket: `Doorstep` counts a peer's connections, `Gate` reads the
head of its request.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from runtime.protocol.token import same_token

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without those that look like others."""
_CODE_LENGTH = 8
_CODES_PER_S, _CODES_AT_ONCE = 1.0, 3.0
_CONNECTIONS_PER_S, _CONNECTIONS_AT_ONCE = 10.0, 40.0
"""Of one peer. A browser needs two or three to open the page."""
_WAITING = 1024
"""Connections that wait to be accepted. Where one does not fit, its browser asks again after a second."""
_CLOSED_AT_ONCE = 32
"""Connections too many that are closed in one go; then others have their turn."""
_MAX_PEERS = 1024
_NETWORK_OF_A_PEER = 64
"""Bits of an IPv6 address; the rest is the peer's own choice."""


class Headers(Protocol):
    """Headers of an HTTP request; names are case-insensitive."""

    def get_all(self, key: str) -> list[str]:
        """Every value of one name."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is not served."""

    status: HTTPStatus
    sentence: str


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
        """A doorstep on this interface, an address or a name."""
        doorstep = cls(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            doorstep.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            doorstep.bind((host, port))
        except OSError:
            doorstep.close()
            raise
        return doorstep

    @classmethod
    def of(cls, descriptor: int) -> Self:
        """A doorstep that another process has bound."""
        return cls(fileno=descriptor)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.rate = PeerRate(_CONNECTIONS_PER_S, _CONNECTIONS_AT_ONCE)

    def listen(self, backlog: int = _WAITING, /) -> None:
        """Let connections wait: many, however few an event loop wants to accept in one go."""
        super().listen(max(backlog, _WAITING))

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection of a peer that has not made too many. Raises `BlockingIOError` when none is there."""
        for _ in range(_CLOSED_AT_ONCE):
            connection, address = super().accept()
            if self.rate.allows(name_of_peer(address[0])):
                return connection, address
            connection.close()
        raise BlockingIOError


class Gate:
    """Judges requests by their addresses, and beyond this machine (`guarded`) by a code that only the terminal shows.

    Browsers let any web site open a websocket to this machine, and say in `Origin` which one did. It must be what was
    asked for (`Host`), and that must be an IP address, `localhost` or the configured `host`: a foreign name may have
    been pointed at this machine (DNS rebinding). A websocket without `Origin` comes from no browser: it has to show the
    code in its own request, and is refused where there is none. Programs have the server's socket.
    """

    def __init__(self, host: str, port: int, *, guarded: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._host = host.lower()
        self.code = _new_code() if guarded else ""
        """What the terminal shows; empty where none is needed."""
        self._session = secrets.token_urlsafe(24)
        self._cookie = f"shoal_page_{port}"
        self._codes = PeerRate(_CODES_PER_S, _CODES_AT_ONCE, clock)

    @property
    def cookie(self) -> str:
        """The `Set-Cookie` of a browser that knows the code."""
        return f"{self._cookie}={self._session}; Path=/; HttpOnly; SameSite=Lax"

    def misdirected(self, headers: Headers) -> Refusal | None:
        """Judges any request: whether it asks for a name that is not the page's."""
        name = _hostname("//" + _only(headers, "Host"))
        if name in ("localhost", self._host) or _is_address(name):
            return None
        return Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"This page may only be opened under its own address: an IP address, localhost or {self._host}, "
            f"not {name or 'none'!r}.",
        )

    def foreign(self, headers: Headers) -> Refusal | None:
        """Judges a request that a web site may have made: whether another one than this did."""
        origins, site = headers.get_all("Origin"), headers.get_all("Sec-Fetch-Site")
        own = (f"http://{_only(headers, 'Host')}", f"https://{_only(headers, 'Host')}")
        if any(origin.lower() not in own for origin in origins) or any(value != "same-origin" for value in site):
            return Refusal(HTTPStatus.FORBIDDEN, f"This page does not serve other web sites ({', '.join(origins)}).")
        return None

    def websocket(self, headers: Headers, peer: str) -> Refusal | None:
        """Judges the opening of a websocket from this address, after `misdirected`."""
        if refusal := self.foreign(headers):
            return refusal
        if headers.get_all("Origin"):
            if self.knows(headers):
                return None
            return Refusal(HTTPStatus.UNAUTHORIZED, "Open the page with its code first.")
        kind, _, code = _only(headers, "Authorization").partition(" ")
        if self.code and kind.lower() == "bearer":
            return self.judge(code, peer)
        return Refusal(
            HTTPStatus.UNAUTHORIZED,
            "A program (no Origin) has to send 'Authorization: Bearer CODE' with the code of a page that has one; "
            "without a code, use the server's socket.",
        )

    def knows(self, headers: Headers) -> bool:
        """Whether this browser has shown the code, where one is needed."""
        if not self.code:
            return True
        cookies = (part.strip().partition("=") for line in headers.get_all("Cookie") for part in line.split(";"))
        return any(name == self._cookie and same_token(value, self._session) for name, _, value in cookies)

    def judge(self, code: str, peer: str) -> Refusal | None:
        """Whether the code is right. Three of one peer are looked at, and then one a second; nothing waits for that."""
        if not self._codes.allows(name_of_peer(peer)):
            return Refusal(HTTPStatus.TOO_MANY_REQUESTS, "Those were too many codes; try again in a second.")
        if self.code and same_token(_plain(code), _plain(self.code)):
            return None
        return Refusal(HTTPStatus.UNAUTHORIZED, "That is not the code; it was printed where the page was started.")


def _new_code() -> str:
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LENGTH))
    return f"{letters[:4]}-{letters[4:]}"


def _plain(code: str) -> str:
    return code.lower().replace("-", "").replace(" ", "")


def _only(headers: Headers, name: str) -> str:
    """The value; empty when there is none, or several that may contradict each other."""
    values = headers.get_all(name)
    return values[0] if len(values) == 1 else ""


def _hostname(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def name_of_peer(peer: str) -> str:
    """One name for the addresses that one machine may choose from."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _NETWORK_OF_A_PEER), strict=False))
