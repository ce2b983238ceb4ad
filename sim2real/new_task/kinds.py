"""Which kinds of task a robot's model fits, and why not the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from sim2real.errors import ShoalError
from sim2real.new_task.inspection import Inspection, Mover
from sim2real.new_task.pushing import cannot_push
from sim2real.new_task.tools import cannot_bring
from sim2real.new_task.walking import cannot_walk
from sim2real.world.ties import Ties, tie_name

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
        return cannot_walk(inspection) or _closed(inspection, inspection.movers)
    used = tools or inspection.tools()
    if missing := cannot_bring(inspection, used):
        return missing
    needed = {joint for tool in used for joint in inspection.chain(inspection.body_of(tool))}
    closed = _closed(inspection, [mover for mover in inspection.movers if needed & set(mover.joints)])
    return closed or (cannot_push(inspection) if kind == "push" else "")


def _closed(inspection: Inspection, movers: Sequence[Mover]) -> str:
    """Why these cannot be commanded one by one, where an equality closes a chain that they belong to."""
    model, qpos = inspection.model, inspection.model.qpos0
    ties, found = Ties.of(model), dict[int, list[str]]()
    for mover in movers:
        for tie in ties.moved_by(model, qpos, model.jnt_dofadr[list(mover.joints)]):
            found.setdefault(tie, []).append(repr(mover.name))
    return "; ".join(
        f"{tie_name(model, tie)} closes a chain that {', '.join(names)} belong to, so they cannot be commanded one by "
        "one; remove the equality, or model the linkage by the joints that it leaves free"
        for tie, names in found.items()
    )


def _fitting(inspection: Inspection) -> str:
    """Which kinds fit, in words."""
    fitting = [f"--kind {kind}" for kind in get_args(Kind) if not cannot(inspection, kind, ())]
    if len(fitting) > 1:
        return f"{', '.join(fitting[:-1])} and {fitting[-1]} fit"
    return f"{fitting[0]} fits" if fitting else "no kind of task fits"
