"""The page itself: a web server, the robot as its server reports it, and a panel for every browser."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from runtime.page.commands import Commands
from runtime.page.config import PageConfig, listening_socket
from runtime.page.panel import Panel, Robot
from runtime.page.scene import RobotScene
from runtime.page.telemetry import TelemetryPoller
from runtime.page.web.emergency_stop import EmergencyStop
from runtime.page.web.gate import Gate
from runtime.page.web.server import WebServer
from runtime.process.child import ParentEnd

_DRAW_S = 0.05
_PANEL_EVERY = 5
"""Panels are updated every so many drawings."""
_SWITCH_S = 0.0005
"""For how long a thread may keep one waiting that has a stop to pass on; Python's own choice is ten times that."""


class Page:
    """Serves until `close`. Raises `ShoalError` when the port is taken, no server answers or the model is another."""

    def __init__(self, config: PageConfig) -> None:
        doorstep = listening_socket(config)
        telemetry = TelemetryPoller(config.address)
        contract = telemetry.description.contract
        self.gate = Gate(config.host, config.port, guarded=config.guarded)
        stop = EmergencyStop(config.address)
        self._web = WebServer(config, doorstep, self.gate, stop)
        self._panels: dict[int, Panel] = {}
        viser = self._web.viser
        viser.gui.configure_theme(show_logo=False, show_share_button=False, control_width="medium")
        viser.gui.set_panel_label(f"{contract.task} on {contract.robot.name}")
        self._robot = Robot(
            contract,
            RobotScene(viser, contract, config.mjcf),
            telemetry,
            stop,
            Commands(config.address, f"page:{config.port}", self._complain),
        )
        viser.on_client_connect(self._connected)
        viser.on_client_disconnect(self._disconnected)
        telemetry.start()
        self._web.admit()

    def run(self, should_end: Callable[[], bool]) -> None:
        """Draw twenty times a second until `should_end()`."""
        count = 0
        while not should_end():
            self._draw(with_panels=count % _PANEL_EVERY == 0)
            count += 1
            time.sleep(_DRAW_S)

    def close(self) -> None:
        """End server and connections; the robot goes on."""
        self._web.close()
        self._robot.commands.close()
        self._robot.stop.close()
        self._robot.telemetry.close()

    def _draw(self, *, with_panels: bool) -> None:
        snapshot, panels = self._robot.telemetry.latest, dict(self._panels)
        if snapshot is not None:
            self._robot.scene.update(snapshot)
        history = self._robot.telemetry.history() if with_panels and panels else None
        for browser, panel in panels.items():
            try:
                panel.follow()
                if history is not None:
                    panel.update(snapshot, history)
            except Exception as error:  # what one browser sent must not end the page of the others
                self._panels.pop(browser, None)
                panel.complain("This page has failed; reload it. The emergency stop still works.", str(error))

    def _complain(self, browser: int, title: str, sentence: str) -> None:
        if panel := self._panels.get(browser):  # else it has left
            panel.complain(title, sentence)

    def _connected(self, client: Any) -> None:
        self._robot.scene.aim(client.camera)
        with client.atomic():  # nothing is shown before it also works
            self._panels[client.client_id] = Panel(self._robot, client)
        if client.client_id not in self._web.viser.get_clients():  # it left meanwhile
            self._disconnected(client)

    def _disconnected(self, client: Any) -> None:
        self._panels.pop(client.client_id, None)
        self._robot.commands.forget(client.client_id)


def serve_page(config: PageConfig, should_end: Callable[[], bool], on_up: Callable[[], None] = lambda: None) -> None:
    """Serve until `should_end()`; prints where, and calls `on_up`, once browsers can come."""
    sys.setswitchinterval(_SWITCH_S)
    page = Page(config)
    code = page.gate.code
    print(f"page       {config.url}{f'/?code={code}' if code else ''}", flush=True)
    on_up()
    try:
        page.run(should_end)
    finally:
        page.close()


def serve_beside(config: PageConfig, parent: ParentEnd) -> None:
    """Serve until the process that started this one wants the end, or has ended."""
    ended = threading.Event()

    def wait_for_end() -> None:
        parent.wait_for_end()
        ended.set()

    threading.Thread(target=wait_for_end, name="end", daemon=True).start()
    serve_page(config, ended.is_set, parent.say_up)
