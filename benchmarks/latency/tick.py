"""How long a control tick takes, from waking to command, beside everything that one could use instead.

    python -m benchmarks.latency.tick [models/franka_pose.onnx] [--teacher 1024x64] [--quick] [--json PATH]

Every row runs in processes of its own, in an order that changes from round to round, with the real-time measures of
`runtime serve`. *hot* is back to back; *paced* once every millisecond at absolute deadlines, as on a robot, where
caches have cooled down and the core has slept; *warmed* the same after a discarded call just before the deadline. The
machine's own noise stands below: no tail can be shorter. The median over the rounds counts, and the largest maximum.

Rows called network get their inputs ready and leave the output unlimited. A policy goes from readings and goal to
limited joint targets. The whole tick besides reads robot and goal, and asks the safety layer.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from benchmarks.machine import machine
from runtime.realtime.histogram import LatencySummary, summarise
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.errors import ShoalError
from sim2real.files import write_json

_MODES = ("hot", "paced", "warmed")
_RATE_HZ = 1000.0
_BARE = "bare session"
_ROWS = {
    "nothing": "an empty call",
    "floor": "network, hand-written C",
    "kernel": "policy, compiled kernel",
    _BARE: "policy, ONNX Runtime, tuned",
    "tick kernel": "whole tick, compiled kernel",
    "tick session": "whole tick, ONNX Runtime",
    "defaults": "policy, ONNX Runtime, defaults",
    "jax policy": "policy, JAX ahead of time",
    "torch policy": "policy, NumPy and TorchScript",
    "numpy": "network, NumPy with out=",
    "jax": "network, JAX ahead of time",
    "torch": "network, TorchScript",
    "teacher": "teacher, ONNX Runtime, tuned",
}


@dataclass(frozen=True)
class Arguments:
    """Measure a tick and its alternatives."""

    policy: tyro.conf.Positional[Path] = Path("models/franka_pose.onnx")
    teacher: str = "1024x64"
    """Depth x width of an actor of random weights to stand beside; none leaves it out."""
    samples: int = 3000
    """Calls in each round."""
    rounds: int = 3
    quick: bool = False
    """One round of 300, no teacher."""
    json: JsonFile | None = None
    """Write the rows here too."""


def measure(name: str, path: Path, samples: int) -> dict[str, Any]:
    """One row in this process: a summary for each mode, or why there is none."""
    from runtime.diagnostics.tick_bench import hot, paced
    from runtime.realtime import measures as realtime
    from runtime.realtime.os_noise import noise_floor

    realtime.apply(realtime.RealtimeOptions())
    if name == "noise":
        return {"noise": asdict(noise_floor(samples / _RATE_HZ))}
    try:
        function, discarded = make_row(name, path)
    except ShoalError as error:
        return {"missing": str(error)}
    if name == "teacher":
        samples = max(samples // 20, 50)
    # A teacher takes longer than a millisecond, so its calls follow one another with the gaps of a slower robot.
    rate_hz = 20.0 if name == "teacher" else _RATE_HZ
    return {
        "hot": summarise(hot(function, samples)),
        "paced": summarise(paced(function, samples, rate_hz)),
        "warmed": summarise(paced(function, samples, rate_hz, warm=discarded)),
    }


def make_row(name: str, path: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """What is timed, and what is called and thrown away before it. Raises `ShoalError` for what this machine lacks."""
    from benchmarks.latency.tick_peers import PEERS, POLICIES, make_peer
    from runtime.diagnostics.tick_bench import WholeTick
    from runtime.inference.policy import Policy

    def nothing() -> None:
        pass

    if name == "nothing":
        return nothing, nothing
    if name in PEERS or name in POLICIES:
        peer = make_peer(name, path)
        return peer, peer
    if name == "teacher":
        session = bound_session(path)
        return session, session
    if name == "defaults":
        session = default_session(path)
        return session, session
    policy = Policy(path, engine="kernel" if "kernel" in name else "onnxruntime")
    if name.startswith("tick"):
        tick = WholeTick(policy)
        return tick, tick.warm_up
    return policy.run, policy.run


def bound_session(path: Path) -> Callable[[], object]:
    """A graph in the runtime's session, arrays of zeros bound to it."""
    from runtime.inference.onnx_session import bound_run, make_session

    session = make_session(path)
    inputs, outputs = (
        {node.name: np.zeros((1, node.shape[1]), np.float32) for node in nodes}
        for nodes in (session.get_inputs(), session.get_outputs())
    )
    return bound_run(session, inputs, outputs)


def default_session(path: Path) -> Callable[[], object]:
    """A session as most code makes one, called with a dictionary."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = {node.name: np.zeros((1, node.shape[1]), np.float32) for node in session.get_inputs()}
    return lambda: session.run(None, inputs)


def write_teacher(size: str, policy: Path, folder: Path) -> Path:
    """The graph of a deep actor for the policy's task."""
    import onnx

    from benchmarks.latency.policy_latency import actor_function
    from export.actor import convert_network
    from runtime.inference.policy import Policy
    from teacher.config import NetworkConfig

    depth, width = (int(part) for part in size.split("x"))
    contract, path = Policy(policy).contract, folder / "teacher.onnx"
    network, _ = actor_function(contract, NetworkConfig(actor_depth=depth, critic_depth=4, width=width))
    onnx.save(convert_network(contract, network), str(path))
    return path


def median_of(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Median of every percentile over the rounds, and the largest maximum."""
    if "missing" in rounds[0]:
        return rounds[0]
    merged: dict[str, Any] = {}
    for mode in _MODES:
        found: list[LatencySummary] = [part[mode] for part in rounds]
        merged[mode] = {key: float(np.median([part[key] for part in found])) for key in ("p50_us", "p99_us", "p999_us")}
        merged[mode]["max_us"] = max(part["max_us"] for part in found)
    return merged


def ratios(rows: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The comparisons that survive a noisy machine: medians of one run, paced unless they say otherwise."""

    def p50(row: str, mode: str = "paced") -> float:
        return float(rows[row][mode]["p50_us"]) if mode in rows.get(row, {}) else float("nan")

    served = p50("tick kernel", "warmed")
    found = {
        "whole tick as served (kernel, warmed up) / bare session": served / p50(_BARE),
        "the same / bare session, warmed": served / p50(_BARE, "warmed"),
        "whole tick (kernel) / bare session": p50("tick kernel") / p50(_BARE),
        "whole tick (ONNX Runtime) / bare session": p50("tick session") / p50(_BARE),
        "kernel / hand-written C, hot": p50("kernel", "hot") / p50("floor", "hot"),
        "bare session / kernel, hot": p50(_BARE, "hot") / p50("kernel", "hot"),
        "whole tick (kernel), warmed / not": p50("tick kernel", "warmed") / p50("tick kernel"),
        "bare session, warmed / not": p50(_BARE, "warmed") / p50(_BARE),
    }
    for peer in ("defaults", "jax policy", "torch policy", "numpy", "jax", "torch", "teacher"):
        found[f"{peer} / whole tick as served"] = p50(peer) / served
        found[f"{peer} / kernel"] = p50(peer) / p50("kernel")
    return {name: value for name, value in found.items() if value == value}


def print_rows(rows: dict[str, dict[str, Any]], console: Console) -> None:
    """A table for each mode."""
    for mode in _MODES:
        table = Table(Column("", no_wrap=True), "p50", "p99", "p99.9", "max", title=f"{mode}, microseconds")
        for name, row in rows.items():
            cells = (
                [f"{row[mode][key]:.1f}" for key in ("p50_us", "p99_us", "p999_us", "max_us")] if mode in row else []
            )
            table.add_row(_ROWS[name], *(cells or [row.get("missing", "")]))
        console.print(table)


def main() -> None:
    """Print the tables, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    # Of the children, before they load NumPy and ONNX Runtime.
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
    samples, count = (300, 1) if arguments.quick else (arguments.samples, arguments.rounds)
    with_teacher = arguments.teacher != "none" and not arguments.quick
    names = [name for name in _ROWS if name != "teacher" or with_teacher]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in [*names, "noise"]}
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool,
    ):
        paths = {"teacher": write_teacher(arguments.teacher, arguments.policy, Path(folder))} if with_teacher else {}
        tasks = [name for _ in range(count) for name in random.sample([*found], len(found))]
        for name in track(tasks, "measuring", console=Console(stderr=True)):
            path = paths.get(name, arguments.policy)
            try:
                found[name].append(pool.submit(measure, name, path, samples).result())
            except BrokenProcessPool:
                raise ShoalError(f"the process that measured {name!r} died.") from None
    noise = [part["noise"] for part in found.pop("noise")]
    rows = {name: median_of(rounds) for name, rounds in found.items()}
    console = Console()
    print_rows(rows, console)
    for part in noise:
        console.print("noise floor, us: " + ", ".join(f"{key} {value:.3g}" for key, value in part.items()))
    for name, value in ratios(rows).items():
        console.print(f"{value:8.2f}  {name}")
    if arguments.json:
        report = {"machine": machine(), "policy": arguments.policy.name, "rate_hz": _RATE_HZ, "rows": rows}
        write_json(arguments.json, report | {"ratios": ratios(rows), "noise": noise}, indent=1)


if __name__ == "__main__":
    with command_line():
        main()
