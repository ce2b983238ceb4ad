"""A UR controller as its network interfaces show it, in a process of its own: RTDE, dashboard and script port.

    python -m tests.runtime.drivers.ur.server HOST

RTDE is version 2 of the protocol that Universal Robots publish: packages of a 16-bit size and a type; recipes of
outputs, sent 500 times a second, and of inputs, which are the registers that the running program reads. The program is
that of ur_rtde, as far as its commands are used here: it counts as running once its text came to the script port,
shows in output register 0 whether it takes a command, takes command 11 (`servoJ`) at once, and all others until the
command register is 0 again. Joints follow the servo's target as a lag of its look-ahead time, within a velocity.

Lines on standard input: `protective` stops it, `unlock` ends that, `stop` ends the program as the pendant does,
`freeze` lets it tell nothing more, `thaw` again. Ends when standard input does.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

HOME = [0.0, -1.57, 1.57, -1.57, -1.57, 0.0]
PERIOD_S, VELOCITY_MAX = 0.002, 3.1
READY, DONE = 1, 2
SERVO, WATCHDOG, STOP_SCRIPT = 11, 35, 255
TYPES = {
    "VECTOR6D": "6d", "VECTOR3D": "3d", "VECTOR6INT32": "6i",
    "DOUBLE": "d", "UINT64": "Q", "UINT32": "I", "INT32": "i", "UINT8": "B", "BOOL": "?",
}  # fmt: skip
KINDS = {
    "timestamp": "DOUBLE", "actual_q": "VECTOR6D", "actual_qd": "VECTOR6D", "target_q": "VECTOR6D",
    "robot_mode": "INT32", "safety_mode": "INT32", "safety_status": "INT32", "runtime_state": "UINT32",
    "robot_status_bits": "UINT32", "safety_status_bits": "UINT32", "speed_scaling": "DOUBLE",
    "target_speed_fraction": "DOUBLE",
}  # fmt: skip
DASHBOARD = {
    "polyscopeversion": "URSoftware 5.12.0.1101534 (Apr 05 2022)",
    "is in remote control": "true",
    "get serial number": "20225500001",
    "get robot model": "UR5",
    "robotmode": "Robotmode: RUNNING",
    "stop": "Stopped",
}


def kind(name: str) -> str:
    if "_register_" in name:
        return "DOUBLE" if "double" in name else "INT32" if "int" in name else "BOOL"
    return KINDS.get(name, "NOT_FOUND")


def names_in(text: bytes) -> list[str]:
    return [name for name in text.decode().split(",") if name]


class Arm:
    """Six joints, and the program that moves them."""

    def __init__(self) -> None:
        self.q, self.qd, self.target = list(HOME), [0.0] * 6, list(HOME)
        self.lookahead_s, self.time_s = 0.1, 0.0
        self.inputs: dict[str, Any] = {}
        self.running = self.protective = False
        self.state, self.heard_s, self.watchdog_s = 0, 0.0, float("inf")

    def start(self) -> None:
        if not self.protective:
            self.running, self.state = True, READY
            self.target, self.watchdog_s, self.heard_s = list(self.q), float("inf"), self.time_s

    def end(self) -> None:
        self.running, self.state = False, 0

    def command(self, inputs: dict[str, Any]) -> None:
        self.inputs |= inputs
        self.heard_s = self.time_s
        number = self.inputs.get("input_int_register_0", 0)
        numbers = [self.inputs.get(f"input_double_register_{i}", 0.0) for i in range(11)]
        if not self.running:
            return
        if number == SERVO:
            self.target, self.lookahead_s = numbers[:6], max(numbers[9], 0.03)
        elif number == STOP_SCRIPT:
            self.end()
        elif number:
            self.state = DONE
            print(f"command {number} {numbers[0]:g}", flush=True)
            if number == WATCHDOG:
                self.watchdog_s = 1 / numbers[0]
        else:
            self.state = READY

    def advance(self) -> None:
        self.time_s += PERIOD_S
        if self.running and self.time_s - self.heard_s > self.watchdog_s:
            self.end()
        for i, target in enumerate(self.target):
            wanted = (target - self.q[i]) / self.lookahead_s if self.running else 0.0
            self.qd[i] = max(-VELOCITY_MAX, min(VELOCITY_MAX, wanted))
            self.q[i] += self.qd[i] * PERIOD_S

    def outputs(self) -> dict[str, Any]:
        return {
            "timestamp": self.time_s, "actual_q": self.q, "actual_qd": self.qd, "target_q": self.target,
            "robot_mode": 7, "safety_mode": 3 if self.protective else 1, "safety_status": 3 if self.protective else 1,
            "runtime_state": 2 if self.running else 1,
            "robot_status_bits": 0b01 | self.running << 1,
            "safety_status_bits": 0b100 if self.protective else 0b1,
            "speed_scaling": 1.0, "target_speed_fraction": 1.0,
            "output_int_register_0": self.state,
        }  # fmt: skip


class Client:
    """One connection to the RTDE port."""

    def __init__(self, connection: socket.socket, arm: Arm) -> None:
        self.connection, self.arm = connection, arm
        self.rest, self.started = b"", False
        self.outputs: list[str] = []
        self.recipes: list[list[str]] = []

    def take(self, data: bytes) -> None:
        self.rest += data
        while len(self.rest) >= 3:
            size, code = struct.unpack(">HB", self.rest[:3])
            if len(self.rest) < size:
                return
            payload, self.rest = self.rest[3:size], self.rest[size:]
            self.answer(chr(code), payload)

    def send(self, code: str, payload: bytes) -> None:
        self.connection.sendall(struct.pack(">HB", len(payload) + 3, ord(code)) + payload)

    def answer(self, code: str, payload: bytes) -> None:
        if code == "V":
            self.send("V", bytes([struct.unpack(">H", payload)[0] == 2]))
        elif code == "v":
            self.send("v", struct.pack(">4I", 5, 12, 0, 0))
        elif code == "O":
            self.outputs = names_in(payload[8:])
            self.send("O", b"\1" + ",".join(map(kind, self.outputs)).encode())
        elif code == "I":
            names = names_in(payload)
            self.recipes.append(names)
            self.send("I", bytes([len(self.recipes)]) + ",".join(map(kind, names)).encode())
        elif code in "SP":
            self.started = code == "S"
            self.send(code, b"\1")
        elif code == "U":
            names = self.recipes[payload[0] - 1]
            values = struct.unpack(">" + "".join(TYPES[kind(name)] for name in names), payload[1:])
            self.arm.command(dict(zip(names, values, strict=True)))

    def tell(self) -> None:
        if not self.started:
            return
        told, data = self.arm.outputs(), b"\1"
        for name in self.outputs:
            values = told.get(name, 0)
            data += struct.pack(">" + TYPES[kind(name)], *(values if isinstance(values, list) else [values]))
        self.send("U", data)


class Controller:
    """All ports of one address."""

    def __init__(self, host: str) -> None:
        self.selector, self.arm, self.frozen = selectors.DefaultSelector(), Arm(), False
        self.clients: dict[socket.socket, Client] = {}
        for port, accepted in ((30004, self.rtde), (29999, self.dashboard), (30002, self.script), (30003, self.script)):
            server = socket.create_server((host, port))
            self.selector.register(server, selectors.EVENT_READ, lambda s=server, a=accepted: a(s.accept()[0]))
        os.set_blocking(0, False)
        self.selector.register(0, selectors.EVENT_READ, self.told)
        self.ended = False

    def told(self) -> None:
        data = os.read(0, 4096)
        self.ended = not data
        for word in data.decode().split():
            if word == "protective" or word == "stop":
                self.arm.end()
            self.arm.protective = word == "protective" or (self.arm.protective and word != "unlock")
            self.frozen = word == "freeze" or (self.frozen and word != "thaw")

    def listen(self, connection: socket.socket, took: Callable[[bytes], None]) -> None:
        def ready() -> None:
            try:
                data = connection.recv(65536)
                if data:
                    took(data)
            except OSError:
                data = b""
            if not data:
                self.leave(connection)

        self.selector.register(connection, selectors.EVENT_READ, ready)

    def leave(self, connection: socket.socket) -> None:
        self.clients.pop(connection, None)
        self.selector.unregister(connection)
        connection.close()

    def rtde(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.clients[connection] = client = Client(connection, self.arm)
        self.listen(connection, client.take)

    def dashboard(self, connection: socket.socket) -> None:
        connection.sendall(b"Connected: Universal Robots Dashboard Server\n")

        def took(data: bytes) -> None:
            for line in data.decode().splitlines():
                connection.sendall(DASHBOARD.get(line.strip().lower(), "could not understand").encode() + b"\n")

        self.listen(connection, took)

    def script(self, connection: socket.socket) -> None:
        text = bytearray()

        def took(data: bytes) -> None:
            text.extend(data)
            if b"def rtde_control" in text and text.rstrip().endswith(b"end"):
                text.clear()
                self.arm.start()

        self.listen(connection, took)

    def run(self) -> None:
        due = time.monotonic()
        while not self.ended:
            for key, _ in self.selector.select(max(0.0, due - time.monotonic())):
                key.data()
            if time.monotonic() < due:
                continue
            due = max(due + PERIOD_S, time.monotonic() - 0.1)
            self.arm.advance()
            if not self.frozen:
                for connection, client in [*self.clients.items()]:
                    try:
                        client.tell()
                    except OSError:
                        self.leave(connection)


def main() -> None:
    controller = Controller(sys.argv[1])
    print("ready", flush=True)
    controller.run()


if __name__ == "__main__":
    main()
