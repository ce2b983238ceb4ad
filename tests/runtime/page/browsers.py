"""Browsers without a browser: what viser's client and other programs send to a page."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import msgspec
import viser
import zstandard
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

PATIENCE_S = 60.0
PROTOCOL = f"viser-v{viser.__version__}"
CAMERA = {
    "type": "ViewerCameraMessage",
    "wxyz": (1.0, 0.0, 0.0, 0.0),
    "position": (1.0, 1.0, 1.0),
    "fov": 1.2,
    "near": 0.01,
    "far": 100.0,
    "image_height": 600,
    "image_width": 800,
    "look_at": (0.0, 0.0, 0.0),
    "up_direction": (0.0, 0.0, 1.0),
}


def open_websocket(port: int, *, origin: str | None, host: str | None = None, **headers: str) -> ClientConnection:
    """A websocket of viser's protocol; raises `InvalidStatus` when the handshake is refused."""
    return connect(
        f"ws://{host or '127.0.0.1'}:{port}",
        sock=None if host is None else socket_to(port),
        origin=origin,  # type: ignore[arg-type]
        additional_headers=headers,
        subprotocols=[PROTOCOL],  # type: ignore[list-item]
        compression=None,
        max_size=None,
        open_timeout=PATIENCE_S,
    )


def socket_to(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def get(port: int, path: str = "/", **headers: str) -> tuple[int, str, dict[str, str]]:
    """Status, body and headers of an HTTP request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read().decode(), {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()


def wait_until(holds: Callable[[], bool], what: str = "it") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.005)


class Browser:
    """Has a panel, and presses its buttons."""

    def __init__(self, port: int, **headers: str) -> None:
        self._websocket = open_websocket(port, origin=f"http://127.0.0.1:{port}", **headers)
        self.controls: dict[str, dict[str, Any]] = {}
        """Properties of the controls by label."""
        self.texts: list[str] = []
        """HTML that is shown."""
        self.notes: list[str] = []
        self._by_uuid: dict[str, dict[str, Any]] = {}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.send(CAMERA)
        wait_until(lambda: "EMERGENCY STOP" in self.controls, "the panel")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._websocket.close()
        self._thread.join(PATIENCE_S)

    def cut_off(self) -> None:
        """Without a word."""
        self._websocket.socket.shutdown(socket.SHUT_RDWR)

    def send(self, message: dict[str, Any]) -> None:
        self._websocket.send(msgspec.msgpack.encode(message))

    def press(self, label: str) -> None:
        self.set(label, True)

    def set(self, label: str, value: Any) -> None:
        wait_until(lambda: label in self.controls, label)
        self.send({"type": "GuiUpdateMessage", "uuid": self.controls[label]["uuid"], "updates": {"value": value}})

    def shows(self, label: str) -> bool:
        return bool(self.controls[label].get("visible", True))

    def wait_for(self, label: str) -> None:
        wait_until(lambda: label in self.controls and self.shows(label), label)

    def wait_for_note(self, part: str) -> None:
        wait_until(lambda: any(part in note for note in self.notes), part)

    def _read(self) -> None:
        try:
            for raw in self._websocket:
                assert isinstance(raw, bytes)
                size = int.from_bytes(raw[8:16], "little")
                for message in msgspec.msgpack.decode(zstandard.decompress(raw[16 : 16 + size]))["messages"]:
                    self._take(message)
        except ConnectionClosed:
            return

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "NotificationShowMessage":
            self.notes.append(f"{message['props']['title']}: {message['props']['body']}")
        elif message["type"] == "GuiUpdateMessage":
            self._by_uuid.get(message["uuid"], {}).update(message["updates"])
            self._index()
        elif "uuid" in message and isinstance(message.get("props"), dict):
            self._by_uuid[message["uuid"]] = {"uuid": message["uuid"], "type": message["type"], **message["props"]}
            self._index()

    def _index(self) -> None:
        self.texts = [str(control["content"]) for control in self._by_uuid.values() if control.get("content")]
        named = {control["label"]: control for control in self._by_uuid.values() if control.get("label")}
        self.controls = named
