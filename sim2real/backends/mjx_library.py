"""MJX, imported without what it prints to standard output where Warp is not installed, which nobody here asked for."""

from __future__ import annotations

import contextlib
import io

with contextlib.redirect_stdout(io.StringIO()) as _said:
    from mujoco import mjx

for _line in _said.getvalue().splitlines():
    if not _line.startswith("Failed to import"):
        print(_line)

__all__ = ["mjx"]
