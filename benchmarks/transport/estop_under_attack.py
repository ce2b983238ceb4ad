"""How long an emergency stop takes while other clients do their worst, and after processes of the server have died.

    python -m benchmarks.transport.estop_under_attack [models/franka_pose.onnx] [--quick] [--json PATH]

The server is `runtime serve` with its simulated robot in real time, as it starts by default in a terminal, with a token
on TCP and a page that asks for a code. A time runs from the call, or from the signal that kills, to the answer that the
stop is in force in the control loop; half a control period of it, on average, is the wait for the next tick. Four ways:
*direct* is `Client.estop()` on this machine, *unix* the same request over a new connection to the socket for requests,
*tcp* `Client.estop()` with the token over TCP, *page* a press of the page's button. Whoever stops goes before ordinary
processes, as on a machine of its own. Every stop is released again over the gateway before the
next.
"""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.commands import console_script
from benchmarks.machine import write_numbers
from runtime.diagnostics.chaos.served.attackers import attack
from runtime.diagnostics.chaos.served.page import answer
from runtime.diagnostics.chaos.served.server import in_reserve, listener_and_gateway
from runtime.page.web.stop_page import PRESS_HEADER, PRESS_PATH
from runtime.protocol.address import Address
from runtime.protocol.client import Client
from sim2real.child_process import free_port
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.errors import ShoalError

_TOKEN = "estop-under-attack"
_PATIENCE_S = 60.0
_REST_S = 0.5
"""Between two kills, after a listener process is in reserve again."""

_LEAST_START_TICKS = 20
"""Of processor time; every start takes more."""

_BEFORE_ALL = -20
_STALLED = "stalled terminal"

CROWDS: dict[str, tuple[tuple[str, str], ...]] = {
    "nobody else": (),
    "200 silent clients": (("silent", "unix"), ("silent", "tcp")),
    "200 half lines": (("half a line", "unix"), ("half a line", "tcp")),
    "pipelined goals": (("pipelined goals", "unix"),),
    "goals without reading": (("goals without reading", "unix"),),
    "rubbish": (("rubbish", "unix"),),
    "100 that ask and never read": (("busy crowd", "unix"),),
    "coming and going": (("coming and going", "unix"),),
    "wrong tokens": (("wrong tokens", "tcp"),),
    "wrong codes": (("wrong codes", "page"),),
    "foreign websockets": (("foreign websockets", "page"),),
    "stalled terminal": ((_STALLED, ""),),
    "silent, pipelining, guessing, stalled terminal": (
        ("silent", "unix"),
        ("silent", "tcp"),
        ("pipelined goals", "unix"),
        ("wrong tokens", "tcp"),
        ("wrong codes", "page"),
        (_STALLED, ""),
    ),
}
"""Who is at work, and where; a terminal is the server's own."""


class Terminal:
    """The server's standard output and error: somebody reads it, and can stop it as Ctrl-S does."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        threading.Thread(target=self._read, daemon=True).start()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Ctrl-S at the beginning, Ctrl-Q at the end."""
        termios.tcflow(self.theirs, termios.TCOOFF)
        try:
            yield
        finally:
            termios.tcflow(self.theirs, termios.TCOON)

    def _read(self) -> None:
        with suppress(OSError):
            while os.read(self._ours, 4096):
                pass


class Server:
    """`runtime serve` on a Unix socket and on TCP, with a page."""

    def __init__(self, policy: Path, folder: Path) -> None:
        port, page = free_port(), free_port()
        token = folder / "token"
        token.write_text(_TOKEN)
        token.chmod(0o600)
        self.unix, self.tcp = f"unix://{folder / 's'}", f"tcp://127.0.0.1:{port}"
        command = [*console_script("runtime"), "serve", "--model", str(policy), "--socket", str(folder / "s")]
        command += ["--listen", f"127.0.0.1:{port}", "--token-file", str(token)]
        command += ["--page", str(page), "--page-code"]
        self.terminal = Terminal()
        out = self.terminal.theirs
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.page = f"http://127.0.0.1:{page}"
        self._steward = Client(self.unix, timeout_s=_PATIENCE_S)
        """Has its place before anybody else, and releases the stops."""

    def address(self, where: str) -> str:
        """Address of `unix`, `tcp` or `page`."""
        return {"unix": self.unix, "tcp": self.tcp, "page": self.page.replace("http:", "tcp:")}[where]

    def close(self) -> None:
        """End the server."""
        self._steward.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def children(self) -> tuple[int, int]:
        """Process ids of listener and gateway."""
        return listener_and_gateway(self.process.pid)

    def ready(self) -> None:
        """Wait until all processes answer, and the stop is released."""
        if self._steward.status().state == "estop" and self._steward.release().state == "estop":
            raise ShoalError("estop_under_attack: the stop could not be released.")


def stop_directly(server: Server) -> None:
    """`Client.estop()` on this machine."""
    with Client(server.unix, timeout_s=_PATIENCE_S) as client:
        _require_stop(client.estop().state)


def stop_over_unix(server: Server) -> None:
    """The protocol, over a new connection to the socket for requests, again until there is an answer."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        with suppress(OSError), Address(server.unix).connect(_PATIENCE_S) as connection:
            connection.sendall(b'{"v":2,"type":"estop"}\n{"v":2,"type":"status"}\n')
            with connection.makefile("rb") as stream:
                replies = [stream.readline(), stream.readline()]
            if all(replies):
                _require_stop(json.loads(replies[1])["status"]["state"])
                return
    raise ShoalError(f"estop_under_attack: no stop within {_PATIENCE_S:g} s.")


def stop_over_tcp(server: Server) -> None:
    """`Client.estop()` from another machine, as far as the server can tell."""
    with Client(server.tcp, token=_TOKEN, timeout_s=_PATIENCE_S) as client:
        _require_stop(client.estop().state)


def stop_over_page(server: Server) -> None:
    """The button of a page that asks for a code, pressed on another machine, as far as the page can tell."""
    elsewhere = f"127.0.1.{random.randrange(1, 255)}"
    if answer(server.page, PRESS_PATH, dict([PRESS_HEADER]), source=elsewhere) != HTTPStatus.OK:
        raise ShoalError("estop_under_attack: the page has not confirmed the stop.")


WAYS: dict[str, Callable[[Server], None]] = {
    "direct": stop_directly,
    "unix": stop_over_unix,
    "tcp": stop_over_tcp,
    "page": stop_over_page,
}


Kill = Callable[[tuple[int, int]], None]
"""Sends a signal to processes of a server, with the ids of its listener and its gateway."""


def kill(*, listener: bool, gateway: bool, number: signal.Signals) -> Kill:
    """What sends this signal to these."""

    def run(pids: tuple[int, int]) -> None:
        for pid, wanted in zip(pids, (listener, gateway), strict=True):
            if wanted:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    return run


KILLS: dict[str, Kill] = {
    "gateway killed": kill(listener=False, gateway=True, number=signal.SIGKILL),
    "gateway suspended": kill(listener=False, gateway=True, number=signal.SIGSTOP),
    "listener killed": kill(listener=True, gateway=False, number=signal.SIGKILL),
    "listener suspended": kill(listener=True, gateway=False, number=signal.SIGSTOP),
    "both killed": kill(listener=True, gateway=True, number=signal.SIGKILL),
}


_QUICK_KILLS = ("gateway killed", "listener suspended")


@dataclass(frozen=True)
class Arguments:
    """Time emergency stops under attack."""

    model: tyro.conf.Positional[Path] = Path("models/franka_pose.onnx")
    stops: int = 100
    """In each way under each attack."""
    kills: int = 15
    """In each way after each kind of death."""
    quick: bool = False
    """8 stops and 2 kills, and only everything at once, a killed gateway and a suspended listener."""
    json: JsonFile | None = None
    """Write the rows here too."""


def measure(arguments: Arguments) -> list[dict[str, Any]]:
    """One row for each attack or death and way."""
    stops, kills = (8, 2) if arguments.quick else (arguments.stops, arguments.kills)
    crowds = {name: CROWDS[name] for name in [*CROWDS][:: len(CROWDS) - 1]} if arguments.quick else CROWDS
    deaths = {name: KILLS[name] for name in _QUICK_KILLS} if arguments.quick else KILLS
    rows: list[dict[str, Any]] = []
    with _served(arguments.model) as server:
        for name, crowd in track(crowds.items(), "attacks", transient=True):
            with ExitStack() as stack:
                for attacker, where in crowd:
                    if attacker == _STALLED:
                        stack.enter_context(server.terminal.stalled())
                        continue
                    token = _TOKEN if where == "tcp" else ""
                    stack.enter_context(attack(attacker, server.address(where), token=token))
                rows += [_row(name, way, [_timed(server, way) for _ in range(stops)]) for way in WAYS]
        for name, kill_them in track(deaths.items(), "deaths", transient=True):
            rows += [_row(name, way, [_timed(server, way, kill_them) for _ in range(kills)]) for way in WAYS]
    return rows


def _timed(server: Server, way: str, before: Kill | None = None) -> float:
    """Seconds until the stop was in force; `before` belongs to the time, finding the processes does not."""
    server.ready()
    if before:
        _wait_for_reserve(server)
    # No beat with the control loop's ticks, and with the processes' starts where they die.
    time.sleep(random.uniform(0, 0.04) + (_REST_S if before else 0.0))
    pids = server.children() if before else (0, 0)
    with _on_a_machine_of_its_own():
        started = time.perf_counter()
        if before is not None:
            before(pids)
        WAYS[way](server)
        return time.perf_counter() - started


@contextmanager
def _on_a_machine_of_its_own() -> Iterator[None]:
    """Who stops the robot here does not wait for the processors that attackers and server share, where permitted."""
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _BEFORE_ALL)
    try:
        yield
    finally:
        # Whatever is started later, attackers say, is as slow as everybody.
        os.setpriority(os.PRIO_PROCESS, 0, usual)


def _row(case: str, way: str, times_s: list[float]) -> dict[str, Any]:
    p50, p99 = np.percentile(np.multiply(times_s, 1e3), (50, 99))
    return {
        "case": case,
        "way": way,
        "stops": len(times_s),
        "median_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "max_ms": round(1e3 * max(times_s), 2),
    }


@contextmanager
def _served(policy: Path) -> Iterator[Server]:
    # A socket's path may have at most about 100 bytes, so not in the caller's folder.
    with tempfile.TemporaryDirectory(prefix="shoal-") as folder:
        server = Server(policy, Path(folder))
        try:
            server.ready()
            # What comes before there is a page waits for it.
            stop_over_page(server)
            yield server
        finally:
            server.close()


def _wait_for_reserve(server: Server) -> None:
    """Wait until a listener process is in reserve, and has nothing left to do for that."""
    deadline, used = time.monotonic() + _PATIENCE_S, -1
    while time.monotonic() < deadline:
        before, used = used, _cpu_ticks(in_reserve(server.process.pid))
        if used == before > _LEAST_START_TICKS:
            return
        time.sleep(_REST_S)
    raise ShoalError("estop_under_attack: no listener process came into reserve.")


def _cpu_ticks(pid: int) -> int:
    """Processor time of a process, in the system's ticks of 10 ms; -1 where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return int(fields[11]) + int(fields[12]) if pid else -1


def _require_stop(state: str) -> None:
    if state != "estop":
        raise ShoalError(f"estop_under_attack: the robot is in state {state!r} after an emergency stop.")


def main() -> None:
    """Print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    rows = measure(arguments)
    table = Table("", "way", "stops", "median", "p99", "max", title="emergency stop in force after, ms")
    for row in rows:
        times = (f"{row[name]:.1f}" for name in ("median_ms", "p99_ms", "max_ms"))
        table.add_row(row["case"], row["way"], str(row["stops"]), *times)
    Console().print(table)
    write_numbers(arguments.json, {"rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
