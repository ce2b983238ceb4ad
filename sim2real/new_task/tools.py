"""The tools of a task, and the joints that move them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import mujoco

from sim2real.errors import ShoalError, raise_all
from sim2real.new_task.inspection import Inspection, Mover
from sim2real.new_task.postures import Reach

_STILL_M = 1e-3
"""What gets less far than this has no places to be brought to."""


def choose_tools(inspection: Inspection, tools: list[str], guesses: list[str], *, several: bool) -> list[str]:
    """Those that were named, else the likely ones; raises `ShoalError` for what the model has not."""
    for tool in tools:
        inspection.body_of(tool)
    alike = {tool for tool in tools if sum(reading_name(other) == reading_name(tool) for other in tools) > 1}
    if alike:
        names = ", ".join(repr(tool) for tool in tools if tool in alike)
        raise ShoalError(
            f"--tool: {names} would share the reading {reading_name(min(alike))!r}, and each tool has a goal of its "
            "own; name each tool once."
        )
    if tools:
        return tools
    found = inspection.tools()[: None if several else 1]
    model = inspection.model
    others = [model.site(i).name for i in range(model.nsite)][:8] + [model.body(i).name for i in range(1, model.nbody)][
        :8
    ]
    guesses.append(
        f"tool: {' and '.join(map(repr, found))} (--tool for another; among the sites and bodies are "
        f"{', '.join(filter(None, others))})"
    )
    return found


def cannot_bring(inspection: Inspection, tools: Sequence[str]) -> str:
    """Why a policy cannot bring each of the tools to places of the world; empty where it can."""
    if not tools:
        return "no site or body of this model hangs on a joint that could move it"
    model, problems = inspection.model, list[str]()
    commanded = {joint for mover in inspection.movers for joint in mover.joints}
    for tool in tools:
        chain = inspection.chain(inspection.body_of(tool))
        for joint in chain:
            body = int(model.jnt_bodyid[joint])
            if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE and body not in inspection.objects:
                problems.append(
                    f"the base {model.body(body).name!r} floats, so no policy can bring the tool {tool!r} to a place "
                    "in the world; weld the base"
                )
            elif joint in inspection.followers:
                problems.append(
                    f"joint {model.joint(joint).name!r} lies between the world and the tool {tool!r}, and an "
                    "<equality> makes it follow another joint, which no contract states; name another tool with "
                    "--tool, or weld the joint"
                )
            elif joint not in commanded:
                shape = mujoco.mjtJoint(int(model.jnt_type[joint])).name.split("_")[1].lower()
                problems.append(
                    f"joint {model.joint(joint).name!r} ({shape}) lies between the world and the tool {tool!r}, and "
                    "no policy can command it; weld it"
                )
        if not set(chain) & commanded:
            problems.append(f"no joint moves the tool {tool!r}; name another one with --tool")
    return "; ".join(problems)


def joints_between(inspection: Inspection, tools: Sequence[str], guesses: list[str]) -> list[Mover]:
    """What the policy commands: the joints between the world and the tools."""
    needed = {joint for tool in tools for joint in inspection.chain(inspection.body_of(tool))}
    chosen = [mover for mover in inspection.movers if needed & set(mover.joints)]
    guesses.append(f"joints: the {len(chosen)} between the base and {' and '.join(tools)}")
    return chosen


def require_moved(found: Reach, tools: Sequence[str]) -> None:
    """Raise `ShoalError` for tools that random postures leave where they are."""
    still = [tool for tool, moved in zip(tools, found.moved_m, strict=True) if moved < _STILL_M]
    raise_all(
        [
            f"the joints turn the tool {tool!r} but do not move it; name another one with --tool, or put a <site> "
            "at the link's end"
            for tool in still
        ],
        what="new-task",
    )


def reading_name(tool: str) -> str:
    """What a tool's readings are called after, in a task of several."""
    return re.sub(r"\W+", "_", tool.lower()).strip("_")
