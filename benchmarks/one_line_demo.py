"""How long the one-line demo takes from nothing installed to a page with the robot, and how large its environment is.

    python -m benchmarks.one_line_demo [--quick] [--json PATH]

Builds the wheel, installs it with `[demo]` into an empty environment by `uv`, whose cache decides how long that takes,
and starts `shoal-demo` there, time after time: the first start also compiles Python's modules.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_numbers
from sim2real.child_process import free_port
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.errors import ShoalError

_ROOT = Path(__file__).parents[1]
_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Arguments:
    """Time the one-line demo in an empty environment."""

    starts: int = 5
    """How often the installed demo is started."""
    quick: bool = False
    """Two starts."""
    json: JsonFile | None = None
    """Write the times here too."""


def measure(starts: int) -> dict[str, Any]:
    """Seconds of installation and of every start until the page is there, and MB of the environment."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise ShoalError("one_line_demo: there is no uv beside this Python or on PATH; pip install uv.")
    with tempfile.TemporaryDirectory(prefix="shoal-") as scratch:
        folder = Path(scratch)
        _run([uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(_ROOT)])
        (wheel,) = folder.glob("*.whl")
        began = time.perf_counter()
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")])
        python = folder / "venv" / "bin" / "python"
        _run([uv, "pip", "install", "--quiet", "--python", str(python), f"{wheel}[demo]"])
        installed_s = time.perf_counter() - began
        times = [_page_after_s(python.with_name("shoal-demo"), folder) for _ in range(starts)]
        size = sum(path.lstat().st_size for path in (folder / "venv").rglob("*") if not path.is_dir())
    return {"install_s": round(installed_s, 2), "environment_mb": round(size / 1e6), "page_s": times}


def _page_after_s(demo: Path, folder: Path) -> float:
    """Seconds from the call of the demo to the first answer of its page."""
    port = free_port()
    command = [str(demo), "--no-browser", "--page", str(port), "--socket", str(folder / "s")]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while time.perf_counter() - began < _PATIENCE_S and process.poll() is None:
            try:
                create_connection(("127.0.0.1", port), timeout=1.0).close()
            except OSError:
                time.sleep(0.02)
            else:
                return round(time.perf_counter() - began, 2)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    raise ShoalError(f"one_line_demo: no page within {_PATIENCE_S:g} s; run {demo.name} by hand to see why.")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ShoalError(f"one_line_demo: {command[0]} {command[1]} failed: {done.stderr.strip()}")


def main() -> None:
    """Print the table and write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    found = measure(2 if arguments.quick else arguments.starts)
    table = Table("installation, s", "environment, MB", "first start to page, s", "later starts, s")
    later = " ".join(f"{time_s:.1f}" for time_s in found["page_s"][1:])
    table.add_row(f"{found['install_s']:.1f}", str(found["environment_mb"]), f"{found['page_s'][0]:.1f}", later)
    Console().print(table)
    write_numbers(arguments.json, found)


if __name__ == "__main__":
    with command_line():
        main()
