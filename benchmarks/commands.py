"""Running the package's console scripts, those of the interpreter that runs this one."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from sim2real.errors import ShoalError


def console_script(name: str) -> list[str]:
    """Command of an installed console script."""
    path = shutil.which(name, path=str(Path(sys.executable).parent))
    if path is None:
        raise ShoalError(
            f"{name}: no such command beside {Path(sys.executable).name}; install the package with [train]."
        )
    return [path]


def run_script(name: str, *flags: str) -> None:
    """Run to the end with output on this terminal; raises `ShoalError` when it fails.

    The child ends with this process: an exception here, a signal's included, stops it first.
    """
    process = subprocess.Popen([*console_script(name), *flags])
    try:
        status = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if status < 0:
        raise ShoalError(f"{name} was ended by {signal.Signals(-status).name}.")
    if status != 0:
        raise ShoalError(f"{name} failed with exit status {status}; its own message is above.")
