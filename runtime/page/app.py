"""The page itself: a viser server, the link to the robot, and a panel for every browser."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from typing import Any

from runtime.page.config import PageConfig, require_servable, require_viser
from runtime.page.control import Control, same_origin
from runtime.page.link import Link
from runtime.page.panel import Panel
from runtime.page.scene import RobotScene
from sim2real.errors import ShoalError

_DRAW_S = 0.05
_PANEL_EVERY = 5
"""Panels are updated every so many drawings."""
_RENEW_EVERY = 10
"""The lease is renewed every so many drawings."""
_NICENESS = 10


class Page:
    """Serves until `close`. Raises `ShoalError` when the port is taken, no server answers or the model is another."""

    def __init__(self, config: PageConfig) -> None:
        require_servable(config)
        viser, _ = require_viser()
        self.config = config
        self.link = Link(config.address)
        self.contract = self.link.description.contract
        self.control = Control(guarded=not config.loopback)
        self.lock = threading.RLock()
        """Held while a gizmo appears or goes."""
        self._panels: dict[int, Panel] = {}
        with redirect_stdout(io.StringIO()):  # it prints a box
            self._server = viser.ViserServer(host=config.host, port=config.port, label="Shoal", verbose=False)
        # viser's share button would put the robot on the internet through a tunnel of its makers.
        self._server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="medium")
        self._server.gui.set_panel_label(f"{self.contract.task} on {self.contract.robot.name}")
        self.scene = RobotScene(self._server, self.contract, config.mjcf)
        self._server.on_client_connect(self._connected)
        self._server.on_client_disconnect(self._disconnected)
        self.link.start()

    def run(self, should_end: Callable[[], bool]) -> None:
        """Draw twenty times a second until `should_end()`."""
        count = 0
        while not should_end():
            snapshot = self.link.latest
            panels = list(self._panels.values())
            if snapshot is not None:
                self.scene.update(snapshot)
            self._keep_lease(count)
            for panel in panels:
                panel.follow()
            if count % _PANEL_EVERY == 0 and panels:
                history = self.link.history()
                for panel in panels:
                    panel.update(snapshot, self.link.problem, history)
            count += 1
            time.sleep(_DRAW_S)

    def take_control(self, client_id: int, code: str) -> str:
        """Why not, or an empty string when this browser now may drive: it got control, and this page the lease."""
        if problem := self.control.take(client_id, code):
            return problem
        try:
            self.link.acquire_lease(f"page:{self.config.port}")
        except ShoalError as error:
            self.control.drop(client_id)
            return str(error)
        return ""

    def release_control(self, client_id: int) -> None:
        """Let others drive; the goal in force stays."""
        if self.control.drop(client_id):
            self.link.end_lease()

    def _keep_lease(self, count: int) -> None:
        holder = self.control.holder
        if holder is None or count % _RENEW_EVERY:
            return
        try:
            self.link.renew_lease()
        except ShoalError as error:
            self.control.drop(holder)
            self.link.abandon_lease()
            if panel := self._panels.get(holder):
                panel.complain("Control lost", str(error))

    def close(self) -> None:
        """End server and link; the robot goes on."""
        with redirect_stdout(io.StringIO()):
            self._server.stop()
        self.link.close()

    def _connected(self, client: Any) -> None:
        if not same_origin(_request_headers(self._server, client.client_id), self.config.host):
            client.add_notification("Refused", "This page may only be opened under its own address.", color="red")
            return
        self.scene.aim(client.camera)
        self._panels[client.client_id] = Panel(self, client)
        if client.client_id not in self._server.get_clients():  # it left meanwhile
            self._disconnected(client)

    def _disconnected(self, client: Any) -> None:
        self._panels.pop(client.client_id, None)
        if self.control.drop(client.client_id):
            self.link.abandon_lease()


def serve_page(config: PageConfig, should_end: Callable[[], bool]) -> None:
    """Serve until `should_end()`; prints where."""
    page = Page(config)
    guard = f", code {page.control.code} to take control" if page.control.code else ""
    print(f"page       {config.url}{guard}", flush=True)
    try:
        page.run(should_end)
    finally:
        page.close()


def run_supervised(config: PageConfig) -> None:
    """Until standard input ends, out of the control loop's way."""
    os.nice(_NICENESS)
    ended = threading.Event()

    def wait_for_end() -> None:
        # Not through `sys.stdin`, whose lock a thread that still waits would hold at exit.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        ended.set()

    threading.Thread(target=wait_for_end, name="end", daemon=True).start()
    serve_page(config, ended.is_set)


def _request_headers(server: Any, client_id: int) -> Mapping[str, str]:
    """Of the websocket's opening. viser keeps the connection, but has no public way to it; fails closed."""
    connection = server._websock_server._live_connections.get(client_id)
    return {"Origin": "unknown"} if connection is None else connection.request.headers
