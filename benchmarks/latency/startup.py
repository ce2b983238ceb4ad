"""How long `runtime serve` takes from the start of its process to the first command.

    python -m benchmarks.latency.startup [models/franka_pose.onnx] [--quick] [--json PATH]

With the compiled kernel from the cache (every start but the first), with the kernel compiled anew (the first start of a
policy of a new shape), and with ONNX Runtime. The last table says which imports the time goes into.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.commands import console_script
from benchmarks.machine import machine
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.errors import ShoalError
from sim2real.files import write_json

_READY = re.compile(r"first command ([0-9.]+) s after the start")
_SHOWN = 8


@dataclass(frozen=True)
class Arguments:
    """Measure starts."""

    policy: tyro.conf.Positional[Path] = Path("models/franka_pose.onnx")
    rounds: int = 7
    quick: bool = False
    """Two rounds."""
    json: JsonFile | None = None
    """Write the rows here too."""


def first_command_s(policy: Path, engine: str, cache: Path) -> float:
    """Seconds from the start of the process to the first command. Raises `ShoalError` when there was none."""
    with tempfile.TemporaryDirectory(prefix="shoal-") as folder:
        command = [*console_script("runtime"), "serve", "--model", str(policy), "--engine", engine]
        command += ["--socket", f"{folder}/socket", "--duration", "0.05", "--quiet"]
        environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    found = _READY.search(done.stdout)
    if found is None:
        raise ShoalError(f"startup: `runtime serve` sent no command: {(done.stderr or done.stdout).strip()}")
    return float(found[1])


def import_ms() -> dict[str, float]:
    """Milliseconds by top-level package of what `runtime serve` imports, everything that only it needs included."""
    code = "import runtime.cli, runtime.server.control_process, runtime.drivers.mujoco, runtime.inference.kernel"
    command = [sys.executable, "-X", "importtime", "-c", code]
    environment = os.environ | {"MUJOCO_GL": "disable"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    totals: dict[str, float] = defaultdict(float)
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            totals[parts[2].strip().split(".")[0].lstrip("_")] += int(parts[0]) / 1e3
    return dict(sorted(totals.items(), key=lambda item: -item[1])[:_SHOWN])


def main() -> None:
    """Print the tables, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    rounds = 2 if arguments.quick else arguments.rounds
    rows: dict[str, list[float]] = {"kernel from the cache": [], "kernel compiled": [], "onnxruntime": []}
    with tempfile.TemporaryDirectory() as cached:
        first_command_s(arguments.policy, "kernel", Path(cached))
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as empty:
                rows["kernel compiled"].append(first_command_s(arguments.policy, "kernel", Path(empty)))
            rows["kernel from the cache"].append(first_command_s(arguments.policy, "kernel", Path(cached)))
            rows["onnxruntime"].append(first_command_s(arguments.policy, "onnxruntime", Path(cached)))
    table = Table("", "least", "median", "most", title="start to first command, s")
    for name, times in rows.items():
        table.add_row(name, *(f"{value:.2f}" for value in (min(times), float(np.median(times)), max(times))))
    imports = import_ms()
    packages = Table("package", "ms", title="imports of one start")
    for name, value in imports.items():
        packages.add_row(name, f"{value:.0f}")
    console = Console()
    console.print(table)
    console.print(packages)
    if arguments.json:
        report = {"machine": machine(), "policy": arguments.policy.name, "first_command_s": rows, "import_ms": imports}
        write_json(arguments.json, report, indent=1)


if __name__ == "__main__":
    with command_line():
        main()
