"""Readings out, command back, over loopback: the policy server beside other stacks' servers and other transports.

    python -m benchmarks.transport.remote_policy [models/franka_pose.onnx] [--quick] [--json PATH]

One client process, one server process per row, the same policy behind each. The client and all servers but
*unix served* and *unix warmed up* have the default scheduler. *hot* is back to back; *paced* is 100 times a second at
absolute deadlines, where caches have cooled down and the core has slept. Between two requests the client of *unix
warmed_up* waits by RemotePolicy.sleep_until, the others by time.sleep. Rows take turns, in an order that changes from
round to round; the median over the rounds counts.
"""

from __future__ import annotations

import random
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from benchmarks.machine import machine
from benchmarks.transport.remote_clients import CLIENTS, Connection
from runtime.inference.policy import Policy
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.files import write_json

_RATE_HZ = 100.0
_WARM_UP = 30
_ENCODER_NOISE_RAD = 1e-6
"""Readings that never change would be taken for those of a broken encoder, and the policy would not be run."""


ROWS = {
    "in process": "no transport: the policy server's session called directly",
    "unix": "runtime policy-server, Unix socket, engine and scheduling like the peers'",
    "unix served": "the same as it starts by default: compiled kernel, real-time measures",
    "unix warmed up": "the same with a client that waits by RemotePolicy.sleep_until instead of time.sleep",
    "websocket": "runtime policy-server, websocket",
    "openpi": "websocket and MessagePack on asyncio, as openpi has it",
    "lerobot": "gRPC and pickle, two calls, as LeRobot has it",
    "grpc": "gRPC and pickle, one call",
    "zmq ipc": "our packets over ZeroMQ, Unix socket",
    "zmq tcp": "our packets over ZeroMQ, TCP",
    "zenoh": "our packets over zenoh, TCP",
}


@dataclass(frozen=True)
class Arguments:
    """Measure round trips to policy servers."""

    policy: tyro.conf.Positional[Path] = Path("models/franka_pose.onnx")
    samples: int = 1000
    """Of each kind, row and round."""
    rounds: int = 5
    only: tuple[str, ...] = ()
    """Rows to measure; all if none are given."""
    quick: bool = False
    """40 samples, one round."""
    json: JsonFile | None = None
    """Write the rows here too."""


class Clock:
    """One control period further with every request, so that each is answered with a new command."""

    def __init__(self, period_s: float) -> None:
        self._period_s, self._now_s = period_s, 0.0

    def __call__(self) -> float:
        """Simulated time."""
        self._now_s += self._period_s
        return self._now_s


def measure(connection: Connection, clock: Clock, count: int, *, paced: bool) -> np.ndarray:
    """Round trips, µs."""
    times, deadline, position = np.zeros(count), time.monotonic(), connection.joint_position
    for index in range(count):
        if paced:
            deadline = max(deadline + 1 / _RATE_HZ, time.monotonic())
            connection.sleep_until(deadline)
        now_s = clock()
        position[0] += _ENCODER_NOISE_RAD * (1 if index % 2 else -1)
        started = time.perf_counter_ns()
        connection.ask(now_s)
        times[index] = (time.perf_counter_ns() - started) / 1e3
    return times


def main() -> None:
    """Print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    names = list(arguments.only or ROWS)
    unknown = sorted(set(names) - set(ROWS))
    if unknown:
        raise ShoalError(f"--only: no rows {unknown}; there are {list(ROWS)}.")
    count, rounds = (40, 1) if arguments.quick else (arguments.samples, arguments.rounds)
    contract = Policy(arguments.policy).contract
    times: dict[str, dict[str, list[np.ndarray]]] = {name: {"hot": [], "paced": []} for name in names}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        connections = {name: stack.enter_context(CLIENTS[name](arguments.policy, folder)) for name in names}
        clocks = {name: Clock(contract.timing.control_dt_s) for name in names}
        for name, connection in connections.items():
            _require_command(name, connection, clocks[name], contract)
        order = [name for _ in range(rounds) for name in random.Random(0).sample(names, len(names))]
        for name in track(order, "measuring"):
            times[name]["hot"].append(measure(connections[name], clocks[name], count, paced=False))
            times[name]["paced"].append(measure(connections[name], clocks[name], count, paced=True))
    rows = [{"row": name, "what": ROWS[name]} | _percentiles(times[name]) for name in names]
    _print(rows, arguments.policy)
    ratios = comparisons(rows)
    for name, value in ratios.items():
        print(f"{value:6.1f}  {name}")
    if arguments.json:
        report = {"machine": machine(), "policy": arguments.policy.name, "rate_hz": _RATE_HZ, "samples": count}
        report |= {"rounds": rounds, "rows": rows, "comparisons": ratios}
        write_json(arguments.json, report, indent=1)


def comparisons(rows: list[dict[str, Any]]) -> dict[str, float]:
    """How many times as long the other stacks' servers take as ours."""
    found = {row["row"]: row for row in rows}
    return {
        f"{peer} / {own}, {kind} p50": found[peer][f"{kind}_p50_us"] / found[own][f"{kind}_p50_us"]
        for own in ("unix", "unix served", "unix warmed up")
        for peer in ("openpi", "lerobot")
        for kind in ("paced", "hot")
        if own in found and peer in found
    }


def _percentiles(times: dict[str, list[np.ndarray]]) -> dict[str, float]:
    return {
        f"{kind}_p{percent}_us": float(np.median([np.percentile(block, percent) for block in blocks]))
        for kind, blocks in times.items()
        for percent in (50, 99)
    }


def _print(rows: list[dict[str, Any]], policy: Path) -> None:
    columns = ("paced_p50_us", "paced_p99_us", "hot_p50_us", "hot_p99_us")
    heads: list[Any] = [Column("", no_wrap=True)]
    heads += [column.replace("_us", ", us").replace("_", " ") for column in columns]
    table = Table(*heads, "paced p50 / unix", title=f"readings to command, {policy.name}")
    reference = next((row["paced_p50_us"] for row in rows if row["row"] == "unix"), float("nan"))
    for row in rows:
        ratio = f"{row['paced_p50_us'] / reference:.1f}"
        table.add_row(row["row"], *(f"{row[column]:.0f}" for column in columns), ratio)
    console = Console()
    console.print(table)
    for row in rows:
        console.print(f"{row['row']:<15}{row['what']}", highlight=False)


def _require_command(name: str, connection: Connection, clock: Clock, contract: Contract) -> None:
    measure(connection, clock, _WARM_UP, paced=False)
    command = connection.ask(clock())
    if command.shape != (len(contract.joint_names),) or not np.isfinite(command).all():
        raise ShoalError(f"{name}: answered {command!r} instead of a command.")


if __name__ == "__main__":
    with command_line():
        main()
