"""Ask a running server for goals: `runtime goal`, `goals`, `cancel`."""

from __future__ import annotations

import getpass
import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.commands.connection import Connection

if TYPE_CHECKING:
    from runtime.goals.messages import AnyGoal

_LONGEST_WAIT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Goal(Connection):
    """Send a goal to a running server: a tool pose, or joints, a place on the table or an object that stand for one."""

    position: tuple[float, float, float] | None = None
    """m, in the policy's goal frame."""
    orientation: tuple[float, float, float, float] | None = None
    """Quaternion w x y z."""
    rpy: tuple[float, float, float] | None = None
    """Roll, pitch and yaw in rad, instead of --orientation."""
    joints: tuple[str, ...] = ()
    """Joint positions in rad, as NAME VALUE NAME VALUE ..., instead of --position."""
    planar: tuple[float, float, float] | tuple[float, float] | None = None
    """x and y in m, and yaw in rad: on the ground, or over a table from the default orientation."""
    height_m: float | None = None
    """z with --planar; the middle of the goal box if not given."""
    object_position: tuple[float, float, float] | None = None
    """Where an object is, m: the tool goes before it; or where it should be, for policies that move one."""
    standoff_m: float | None = None
    """How far before it; 0.1 if not given."""
    approach: tuple[float, float, float] | None = None
    """Direction in which the tool comes to it; from above if not given."""
    set: tuple[str, ...] = ()
    """Any goal by the names that the policy gives its parts: NAME=VALUE,VALUE,... NAME=... instead of --position."""
    position_tolerance_m: float | None = None
    """When it counts as reached; the contract's coarse tolerance if not given."""
    angle_tolerance_deg: float | None = None
    timeout_s: float | None = None
    """The goal is given up after this time."""
    speed: float = 1.0
    """Share of the largest step that the policy may command, above 0 and up to 1."""
    priority: int = 0
    """0 to 100; goals of lower priority wait or are preempted."""
    queue: bool = False
    """Wait behind the goals of the same priority instead of taking their place."""
    id: str | None = None
    """Name of the goal; a random one if not given."""
    wait: bool = False
    """Hold the lease, return when the goal is reached; exit status 1 when it is not."""
    wait_s: float | None = None
    """Longest wait; 30 if not given."""

    def run(self) -> int:
        """Prints the status after the goal was taken, or the goal's end after the wait."""
        goal, wait_s = self.message(), self._longest_wait_s()
        with self.client() as client:
            if not self.wait:
                print(client.send_goal(goal).line)
                return 0
            with client.lease(f"goal:{_user()}"[:32]):
                client.send_goal(goal)
                ended = client.wait_for_goal(goal.id, wait_s)
                status = client.status()
        print(status.line)
        print(ended.line)
        return 0 if ended.state == "reached" else 1

    def _longest_wait_s(self) -> float:
        """Raises `GoalRefused`."""
        from runtime.goals.messages import GoalRefused

        if self.wait_s is None:
            return _LONGEST_WAIT_S
        if not self.wait:
            raise GoalRefused(f"--wait-s {self.wait_s:g} goes with --wait; add it, or leave --wait-s out.")
        if not 0 < self.wait_s < math.inf:
            raise GoalRefused(f"--wait-s {self.wait_s:g}: must be a positive time in s.")
        return self.wait_s

    def message(self) -> AnyGoal:
        """The goal that is asked for; raises `GoalRefused`."""
        from runtime.goals.messages import parse_any_goal

        given = {
            "position": self.position,
            "orientation_wxyz": self.orientation,
            "rpy": self.rpy,
            "joints": _joints(self.joints) or None,
            "planar": self.planar,
            "height_m": self.height_m,
            "object_position": self.object_position,
            "values": _values(self.set) or None,
            "standoff_m": self.standoff_m,
            "approach": self.approach,
            "position_tolerance_m": self.position_tolerance_m,
            "angle_tolerance_deg": self.angle_tolerance_deg,
            "timeout_s": self.timeout_s,
            "id": self.id,
        }
        options = {"speed": self.speed, "priority": self.priority, "queue": self.queue}
        return parse_any_goal({name: value for name, value in given.items() if value is not None} | options)


def _joints(given: tuple[str, ...]) -> dict[str, float]:
    """Positions by name; raises `GoalRefused`."""
    from runtime.goals.messages import GoalRefused

    if len(given) % 2:
        raise GoalRefused(f"--joints: write NAME VALUE NAME VALUE ...; {given[-1]} has no value.")
    found = {}
    for name, position in zip(given[::2], given[1::2], strict=True):
        if name in found:
            raise GoalRefused(f"--joints: {name} was given twice.")
        try:
            found[name] = float(position)
        except ValueError:
            raise GoalRefused(f"--joints {name} {position}: must be a number of rad.") from None
    return found


def _values(given: tuple[str, ...]) -> dict[str, list[float]]:
    """Numbers by name; raises `GoalRefused`."""
    from runtime.goals.messages import GoalRefused

    found = {}
    for item in given:
        name, _, numbers = item.partition("=")
        try:
            found[name] = [float(number) for number in numbers.split(",")]
        except ValueError:
            raise GoalRefused(f"--set {item}: write NAME=VALUE, or NAME=VALUE,VALUE,... for several numbers.") from None
    return found


def _user() -> str:
    """The name of the user who runs this, in the characters that a lease's name may have; a number where the system
    knows no name.
    """
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid())
    return re.sub(r"[^A-Za-z0-9_.@-]", "-", name)


@dataclass(frozen=True, kw_only=True)
class Goals(Connection):
    """Show the goals of a running server and what became of them."""

    follow: bool = False
    """Print a line at every change, until interrupted or the server ends."""
    json: bool = False
    """As JSON, one goal a line."""

    def run(self) -> int:
        """Prints one line per goal, oldest first."""
        with self.client() as client:
            shown: dict[int, float] = {}
            for goals in client.goal_changes() if self.follow else (client.goals(),):
                for goal in goals:
                    if shown.get(goal.number) != goal.stamp:
                        print(goal.model_dump_json() if self.json else goal.line, flush=True)
                    shown[goal.number] = goal.stamp
        return 0


@dataclass(frozen=True, kw_only=True)
class Cancel(Connection):
    """Cancel one goal or all of them; the robot holds its position if the one in force was among them."""

    id: str | None = None
    """Of the goal; all goals if not given."""

    def run(self) -> int:
        """Prints the status after the control loop has taken it."""
        with self.client() as client:
            print(client.cancel_goal(self.id).line)
        return 0
