"""Clients that do their worst, each in a process of its own, against a server of this machine.

    with attack("silent", "unix:///run/user/1000/shoal/runtime.sock"):
        Client().estop()

Only addresses of the loopback interface and Unix sockets are accepted.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socket import create_connection, socket

from runtime.protocol.address import Address, is_loopback
from sim2real.child_process import python_module
from sim2real.errors import ShoalError

_CONNECTIONS = 100
_CONNECT_S = 5.0
_AT_WORK = b"at work\n"
_HELLO = b'{"v":2,"type":"hello","token":"%s"}\n'
_STATUS = b'{"v":2,"type":"status"}\n'
_GOAL = b'{"v":2,"type":"goal","goal":{"position":[0.45,0.1,0.45]}}\n'
_SUBSCRIBE = b'{"v":2,"type":"subscribe"}\n'
_RUBBISH = b"[" * 60_000 + b"\n"
_ELSEWHERE = "127.0.0.2", 0
"""Another peer than this machine's browsers, as far as a page can tell."""
_FOREIGN_WEBSOCKET = b"Origin: https://evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

Attack = Callable[[Address, bytes], Iterator[None]]
"""One step each time it is asked for the next; with the address, and the line that the server wants first."""


def _crowd(said: bytes) -> Attack:
    """So many connections, each of which says this much and no more; those that are closed come again."""

    def run(address: Address, hello: bytes) -> Iterator[None]:
        crowd: list[socket] = []
        while True:
            with suppress(OSError):
                crowd.append(address.connect(_CONNECT_S))
                crowd[-1].sendall(said)
            if len(crowd) > _CONNECTIONS:
                crowd.pop(0).close()
                time.sleep(0.05)
            yield

    return run


def _pour(lines: bytes, *, reads: bool) -> Attack:
    """Whole lines, as fast as they are taken."""

    def run(address: Address, hello: bytes) -> Iterator[None]:
        while True:
            with suppress(OSError), address.connect(_CONNECT_S) as connection:
                connection.sendall(hello)
                connection.settimeout(0.01)
                while True:
                    with suppress(TimeoutError):
                        connection.sendall(lines)
                    if reads:
                        with suppress(TimeoutError):
                            if not connection.recv(1 << 20):
                                break
                    yield
            yield

    return run


def _busy_crowd(address: Address, hello: bytes) -> Iterator[None]:
    """So many connections, each of which asks over and over and reads nothing."""
    crowd: list[socket] = []
    for number in itertools.count():
        with suppress(OSError):
            if len(crowd) < _CONNECTIONS:
                crowd.append(address.connect(_CONNECT_S))
                crowd[-1].sendall(hello + (_SUBSCRIBE if number % 2 else b""))
                crowd[-1].setblocking(False)
        connection = crowd[number % len(crowd)] if crowd else None
        if connection is not None:
            try:
                connection.send(_STATUS)
            except BlockingIOError:
                pass
            except OSError:
                crowd.remove(connection)
        yield


def _come_and_go(address: Address, hello: bytes) -> Iterator[None]:
    """As many connections as can be opened and closed one after the other."""
    while True:
        with suppress(OSError):
            address.connect(_CONNECT_S).close()
        yield


def _guess(address: Address, hello: bytes) -> Iterator[None]:
    """Wrong tokens, without waiting for the answer."""
    guesses: list[socket] = []
    for number in itertools.count():
        with suppress(OSError):
            guesses.append(address.connect(_CONNECT_S))
            guesses[-1].sendall(_HELLO % b"%032d" % number)
        if len(guesses) > _CONNECTIONS:
            guesses.pop(0).close()
        yield


def _ask_page(line: bytes, headers: bytes) -> Attack:
    """Requests to a page, as fast as they are taken, with another number each; the address is the page's."""

    def run(address: Address, hello: bytes) -> Iterator[None]:
        asked: list[socket] = []
        for number in itertools.count():
            with suppress(OSError):
                asked.append(create_connection((address.host, address.port), _CONNECT_S, source_address=_ELSEWHERE))
                asked[-1].sendall(line % number + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + headers)
            if len(asked) > _CONNECTIONS:
                asked.pop(0).close()
            yield

    return run


ATTACKS: dict[str, Attack] = {
    "silent": _crowd(b""),
    "half a line": _crowd(b'{"v":2,"type":'),
    "pipelined goals": _pour(_GOAL * 200, reads=True),
    "goals without reading": _pour(_GOAL * 200, reads=False),
    "rubbish": _pour(_RUBBISH, reads=True),
    "busy crowd": _busy_crowd,
    "coming and going": _come_and_go,
    "wrong tokens": _guess,
    "wrong codes": _ask_page(b"GET /?code=%08d", b"\r\n"),
    "foreign websockets": _ask_page(b"GET /%d", _FOREIGN_WEBSOCKET),
}
"""By name."""


@contextmanager
def attack(name: str, address: str, *, token: str = "") -> Iterator[None]:
    """Keep one of `ATTACKS` under way while this lasts. Raises `ShoalError` when it does not get under way."""
    process = subprocess.Popen(
        python_module("runtime.diagnostics.chaos.served.attackers", name, address, token), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline() != _AT_WORK:
            raise ShoalError(f"chaos: the attack {name!r} on {address} did not begin.")
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main() -> None:
    """Entry point of the process: name, address and token."""
    name, text, token = sys.argv[1:]
    address = Address(text)
    if address.path is None and not is_loopback(address.host):
        raise SystemExit(f"{address} is not on this machine.")
    steps = ATTACKS[name](address, _HELLO % token.encode() if token else b"")
    for number in itertools.count():
        if number == 2 * _CONNECTIONS:
            sys.stdout.buffer.write(_AT_WORK)
            sys.stdout.flush()
        next(steps)


if __name__ == "__main__":
    main()
