"""Commands run by a user without privileges, name, home and runtime folder, as `docker run -u 12345` does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_USER = 12345
_READ_ONLY = "-all,+dac_read_search"
"""Of root's capabilities, the one to read what lies in folders that are closed to others, as a clone of root's may."""


def command(module: str, *arguments: str) -> list[str]:
    """`python -m module` as that user, or as whoever runs the tests where that is not root."""
    python = [sys.executable, "-m", module, *arguments]
    if os.geteuid() != 0:
        return python
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root needs setpriv (util-linux) to become an ordinary user")
    user = [f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "--no-new-privs"]
    return [
        setpriv,
        *user,
        *(f"--{kind}-caps={_READ_ONLY}" for kind in ("inh", "ambient")),
        f"--bounding-set={_READ_ONLY}",
        *python,
    ]


def environment(folder: Path) -> dict[str, str]:
    """Nothing that says who the user is; `folder` is for temporary files."""
    without = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return kept | {"TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def run(module: str, *arguments: str, folder: Path, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """To its end."""
    return subprocess.run(
        command(module, *arguments),
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
