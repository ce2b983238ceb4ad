"""Command lines for Python processes of our own, which find the modules that this process finds.

    subprocess.Popen(python_module("runtime.page", "--flag"))

`python -m` and `python -c` look into the current folder first, where a user's own `runtime/` or `queue.py` would take
the place of this package's and of the standard library's. A child started here gets this process's `sys.path` instead,
whatever folder it starts in.
"""

from __future__ import annotations

import sys
from pathlib import Path
from socket import create_server

_ROOT = str(Path(__file__).resolve().parents[1])


def python_module(module: str, *arguments: str) -> list[str]:
    """Runs `module` as `python -m` does."""
    program = f"import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    return python_program(program, *arguments)


def python_program(program: str, *arguments: str) -> list[str]:
    """Runs `program` as `python -c` does."""
    # Without -P, the first import of the program itself would look into the current folder.
    return [sys.executable, "-P", "-c", f"import sys; sys.path[:] = {_path()!a}\n{program}", *arguments]


def bare_python(program: str) -> list[str]:
    """Runs a program that needs the standard library only, which takes a quarter of the time to start."""
    return [sys.executable, "-I", "-S", "-c", program]


def free_port() -> int:
    """A TCP port of this machine for a child to listen at; free now, and given to nobody else soon."""
    with create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def is_suspended(pid: int) -> bool:
    """Whether a process was stopped by a signal, and does not just wait for a processor; False where nothing tells."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def _path() -> list[str]:
    """What of `sys.path` means the same in every folder."""
    absolute = [entry for entry in sys.path if Path(entry).is_absolute()]
    return absolute if _ROOT in absolute else [*absolute, _ROOT]
