"""Faults of what reaches a served robot through its page."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from runtime.diagnostics.chaos.scenario import Scenario, Subject
from runtime.diagnostics.chaos.served.server import STATES, Served, Server, goal_within
from runtime.page.web.stop_page import PATH, PRESS_HEADER, PRESS_PATH
from runtime.status import State
from sim2real.child_process import free_port, python_module
from sim2real.errors import ShoalError

_PATIENCE_S = 60.0
_ELSEWHERE = "127.0.0.2"
"""Also this machine, but another peer."""
_TIMES = 20
"""That every stranger tries it."""
_REFUSED = (
    0,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.MISDIRECTED_REQUEST,
    HTTPStatus.TOO_MANY_REQUESTS,
)
_WEBSOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "c29tZSBjbGllbnQncyBrZQ==",
}


class Stranger(NamedTuple):
    """A request of somebody who has no business here."""

    what: str
    path: str
    headers: dict[str, str]


STRANGERS = (
    Stranger("a wrong code", "/?code=aaaa-aaaa", {}),
    Stranger("a program's wrong code", "/", _WEBSOCKET | {"Authorization": "Bearer aaaa-aaaa"}),
    Stranger("another site's websocket", "/", _WEBSOCKET | {"Origin": "https://evil.example"}),
    Stranger("a foreign name", "/", {"Host": "evil.example"}),
    Stranger("another site's press of the stop", "/stop/press", {"X-Shoal": "stop", "Origin": "https://evil.example"}),
)
"""All of these are refused."""


def page_scenarios() -> Iterator[Scenario]:
    """Scenarios with a served robot and its page in processes of their own."""
    yield Scenario(
        "page under attack",
        "wrong codes, other web sites and foreign names at the page, while somebody presses its stop",
        "every stranger is refused; estop",
        frozenset({State.ESTOP}),
        run_served=_page_attacked,
        needs_page=True,
    )
    yield Scenario(
        "page without a gateway",
        "the gateway is suspended, and somebody presses the stop of the page that the server keeps",
        "estop, from the same page; the gateway is replaced",
        frozenset({State.ESTOP}),
        run_served=_page_without_gateway,
        needs_page=True,
    )


def answer(url: str, path: str, headers: dict[str, str], *, source: str = "127.0.0.1") -> int:
    """Status of a page's answer to one request from this address; 0 if the page closes the connection instead."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(
        str(address.hostname), address.port, timeout=_PATIENCE_S, source_address=(source, 0)
    )
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    except ConnectionError:
        return 0
    finally:
        connection.close()


@contextmanager
def served_page(server: str, mjcf: Path | None) -> Iterator[str]:
    """A page that asks for a code, before the server at this address; yields where it is, without the code. `mjcf` is
    the robot's, where it does not ship with Shoal.
    """
    port, more = free_port(), () if mjcf is None else ("--mjcf", str(mjcf.absolute()))
    command = python_module("runtime.cli", "page", "--address", server, "--port", str(port), "--code", *more)
    page = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert page.stdout is not None
    try:
        where = page.stdout.readline().split()
        if len(where) != 2:
            raise ShoalError("chaos: runtime page did not start.")
        yield where[1].partition("/?")[0]
    finally:
        page.send_signal(signal.SIGTERM)
        try:
            page.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            page.kill()
            page.wait()
        page.stdout.close()


def _page_without_gateway(robot: Subject, folder: Path) -> Served:
    problems, port = [], free_port()
    url = f"http://127.0.0.1:{port}"
    with Server(robot, folder, "--page", str(port)) as server, server.client() as client:
        client.send_goal(goal_within(robot, 0.8))
        # Waits for the page, which starts after the gateway.
        if answer(url, PATH, {}) != HTTPStatus.OK:
            problems.append("the server has no page")
        gateway = server.gateway()
        os.kill(gateway, signal.SIGSTOP)
        if answer(url, PRESS_PATH, dict([PRESS_HEADER])) != HTTPStatus.OK:
            problems.append("the page has not confirmed the stop")
        state = STATES[client.status().state]
        if server.gateway() == gateway:
            problems.append("the gateway is still the old one")
        return state, problems


def _page_attacked(robot: Subject, folder: Path) -> Served:
    problems: list[str] = []
    with Server(robot, folder) as server, server.client() as client, ThreadPoolExecutor(_TIMES) as pool:
        client.send_goal(goal_within(robot, 0.8))
        with served_page(str(server.socket), robot.mjcf) as url:
            asked = [
                (stranger.what, pool.submit(answer, url, stranger.path, stranger.headers, source=_ELSEWHERE))
                for stranger in STRANGERS * _TIMES
            ]
            if client.status().state == "estop":
                problems.append("a stranger's request stopped the robot")
            if answer(url, "/stop/press", {"X-Shoal": "stop"}) != HTTPStatus.OK:
                problems.append("the stop was not confirmed")
            got_in = {what for what, status in asked if status.result() not in _REFUSED}
            problems += [f"{what} was not refused" for what in sorted(got_in)]
        return State[client.status().state.upper()], problems
