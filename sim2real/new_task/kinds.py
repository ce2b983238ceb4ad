"""Which kinds of task a robot's model fits, and why not the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from sim2real.errors import ShoalError
from sim2real.new_task.inspection import Inspection
from sim2real.new_task.pushing import cannot_push
from sim2real.new_task.tools import cannot_bring
from sim2real.new_task.walking import cannot_walk

Kind = Literal["reach", "pose", "walk", "push"]


def require_kind(inspection: Inspection, kind: Kind, tools: Sequence[str]) -> None:
    """Raise `ShoalError` where a robot cannot do what a kind of task asks for, with the kinds that it can do.

    `tools` are those that the user named.
    """
    if kind == "walk" and tools:
        raise ShoalError(f"--tool: a task of kind walk has no tool, got {', '.join(tools)}; leave it out.")
    if kind == "push" and len(tools) > 1:
        raise ShoalError(f"--tool: one tool pushes, got {', '.join(tools)}; name one of them.")
    if said := cannot(inspection, kind, tools):
        raise ShoalError(f"new-task: {said}; {_fitting(inspection)} this robot.")


def cannot(inspection: Inspection, kind: Kind, tools: Sequence[str]) -> str:
    """What a robot lacks for a kind of task, and how to give it that; empty where it lacks nothing."""
    if kind == "walk":
        return cannot_walk(inspection)
    missing = cannot_bring(inspection, tools or inspection.tools())
    return missing or (cannot_push(inspection) if kind == "push" else "")


def _fitting(inspection: Inspection) -> str:
    """Which kinds fit, in words."""
    fitting = [f"--kind {kind}" for kind in get_args(Kind) if not cannot(inspection, kind, ())]
    if len(fitting) > 1:
        return f"{', '.join(fitting[:-1])} and {fitting[-1]} fit"
    return f"{fitting[0]} fits" if fitting else "no kind of task fits"
