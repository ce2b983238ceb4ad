"""Keeps OpenGL out of processes that draw nothing with it.

MuJoCo loads OpenGL when it is imported, by the means that MUJOCO_GL names, and cannot be imported where that is
misspelt or its library is missing. Nothing but the processes of a film or a window draws; whoever starts them asks
`asked_backend` and gives them a MUJOCO_GL of their own.
"""

from __future__ import annotations

import os

_VARIABLE, _NONE = "MUJOCO_GL", "disable"
_asked: list[str] = []


def draw_nothing() -> None:
    """Call before MuJoCo is imported, in a process that is the package's own."""
    asked = os.environ.get(_VARIABLE, "")
    if not _asked and asked != _NONE:
        _asked.append(asked)
    os.environ[_VARIABLE] = _NONE


def asked_backend() -> str:
    """MUJOCO_GL as the user has set it; empty for no wish."""
    asked = _asked[0] if _asked else os.environ.get(_VARIABLE, "")
    return "" if asked == _NONE else asked
