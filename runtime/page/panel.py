"""The controls and readouts of one connected browser."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from runtime.goals.messages import AnyGoal, GoalJoints, GoalPose, GoalValues
from runtime.goals.resolve import about_the_tool, has_angles, takes_joints
from runtime.page.commands import Commands
from runtime.page.goal_fields import ValueFields
from runtime.page.readouts import Charts, facts_html, no_server_html, problem_html, status_html
from runtime.page.scene import Gizmo, Pose, RobotScene
from runtime.page.telemetry import TelemetryPoller
from runtime.page.web.emergency_stop import EmergencyStop
from runtime.protocol.client import PRESSED_AGAIN
from runtime.protocol.snapshot import Snapshot
from runtime.robot.rotations import quaternion_of_rpy
from sim2real.contract import Contract, Vector3
from sim2real.errors import problems

_RED, _AMBER, _SLATE = (200, 16, 32), (217, 119, 6), (51, 65, 85)
_MOVED_M, _MOVED = 1e-4, 1e-4
"""A gizmo that moved by less is where it was, in m and in entries of its quaternion."""


@dataclass(frozen=True)
class Robot:
    """What all panels share."""

    contract: Contract
    scene: RobotScene
    telemetry: TelemetryPoller
    stop: EmergencyStop
    commands: Commands


class Panel:
    """Built when a browser connects; `update` and `follow` are called a few times a second. Its callbacks run in
    threads that all browsers share, so none of them waits.
    """

    def __init__(self, robot: Robot, client: Any) -> None:
        self._robot, self.client = robot, client
        self._gizmo: Gizmo | None = None
        self._gizmo_lock = threading.RLock()
        """Held while it appears or goes."""
        self._sent: Pose | None = None
        gui, turns, posed = client.gui, robot.contract.turns, robot.scene.brought is not None
        stop = gui.add_button("EMERGENCY STOP", color=_RED, icon="alert-octagon")
        self._problem = gui.add_html("")
        self._state = gui.add_html("")
        self._release = ReleaseControls(gui, robot, client.client_id, self.complain)
        self._take = gui.add_button("Take control", color="blue", icon="hand-grab")
        self._goal = gui.add_folder("Goal", visible=False)
        with self._goal:
            self._follow = gui.add_checkbox("Send while I drag", False, visible=posed)
            self._send = gui.add_button("Send this goal", color="green", icon="send")
            self._hold = gui.add_button("Hold: forget the goal", icon="hand-stop")
            self._home = gui.add_button("Go home", icon="home", visible=takes_joints(robot.contract))
            fetch = gui.add_button(
                f"Bring the gizmo to the {_brought(robot.contract)}", icon="focus-centered", visible=posed
            )
            start, corners = robot.scene.brought, robot.contract.goal.box()
            low, high = corners if corners is not None else (None, None)
            self._position = gui.add_vector3(
                "Position, m", start[0] if start else (0.0, 0.0, 0.0), min=low, max=high, step=0.005, visible=posed
            )
            self._rpy = gui.add_vector3("Roll pitch yaw, deg", (0.0, 0.0, 0.0), step=0.5, visible=turns and posed)
            self._fields = None if posed else ValueFields(gui, robot.contract)
        with gui.add_folder("Last half minute"):
            self._charts = Charts(gui, turns=has_angles(robot.contract))
        gui.add_html(facts_html(robot.telemetry.description))
        stop.on_click(self._press_stop)
        self._take.on_click(lambda event: self._press_take())
        self._send.on_click(lambda event: self.send())
        self._hold.on_click(lambda event: robot.commands.ask(client.client_id, "Hold", lambda to: to.cancel_goal()))
        self._home.on_click(lambda event: self._go_home())
        fetch.on_click(lambda event: self._place(robot.scene.brought))
        self._position.on_update(lambda event: self._typed(event))
        self._rpy.on_update(lambda event: self._typed(event))

    @property
    def in_control(self) -> bool:
        """Whether this browser may drive."""
        return bool(self._robot.commands.holder == self.client.client_id)

    def update(self, snapshot: Snapshot | None, history: np.ndarray) -> None:
        """Show where everything stands."""
        holder = self._robot.commands.holder
        self._problem.content = problem_html(self._robot.stop.problem)
        problem = self._robot.telemetry.problem
        self._state.content = no_server_html(problem) if snapshot is None else status_html(snapshot)
        stopped = snapshot is not None and snapshot.status.state == "estop"
        self._release.update(snapshot if stopped else None)
        self._send.disabled = self._hold.disabled = self._home.disabled = snapshot is None or stopped
        if holder is None:
            other = self._robot.telemetry.lease_holder
            self._take.label, self._take.disabled = f"{other} has control" if other else "Take control", bool(other)
        elif self.in_control:
            self._take.label, self._take.disabled = "Release control", False
        else:
            self._take.label, self._take.disabled = f"Browser {holder} has control", True
        self._show_gizmo(self.in_control)
        self._charts.update(history)

    def follow(self) -> None:
        """Send the gizmo's pose if it moved and the browser asked for that, and nothing that it sent still waits."""
        gizmo = self._gizmo
        if gizmo is None or not self._follow.value or not self.in_control:
            return
        if not self._robot.commands.busy(self.client.client_id) and (
            self._sent is None or _differ(self._sent, gizmo.pose)
        ):
            self.send()

    def send(self) -> None:
        """Send the gizmo's pose as a goal."""
        gizmo = self._gizmo
        if self._fields is not None and self.in_control:
            self._send_goal("Goal", GoalValues(values=self._fields.values))
            return
        if gizmo is None:
            self.complain("Goal", "Take control first.")
            return
        self._sent = gizmo.pose
        position, orientation = self._sent
        try:
            goal = GoalPose(position=position, orientation_wxyz=orientation if gizmo.turns else None)
        except ValidationError as error:  # a browser may send any numbers
            self.complain("Goal", f"{problems(error, 'goal')}.")
        else:
            self._send_goal("Goal", goal)

    def complain(self, title: str, sentence: str) -> None:
        """A notification in this browser."""
        self.client.add_notification(title, sentence, color="red", auto_close_seconds=8.0)

    async def _press_stop(self, event: Any) -> None:
        # A coroutine, because viser runs other callbacks in a pool of threads, where this one might wait its turn.
        self._robot.stop.press()

    def _press_take(self) -> None:
        if self.in_control:
            self._robot.commands.release_control(self.client.client_id)
        else:
            self._robot.commands.take_control(self.client.client_id)

    def _go_home(self) -> None:
        joints = {joint.name: joint.home_position for joint in self._robot.contract.robot.joints}
        self._send_goal("Home", GoalJoints(joints=joints))

    def _send_goal(self, what: str, goal: AnyGoal) -> None:
        self._robot.commands.ask(self.client.client_id, what, lambda to: to.send_goal(goal))

    def _show_gizmo(self, wanted: bool) -> None:
        with self._gizmo_lock:
            self._goal.visible = wanted
            start = self._robot.scene.brought
            if wanted and self._gizmo is None and start is not None:
                self._gizmo = Gizmo(self.client, self._robot.contract, start)
                self._gizmo.handle.on_update(lambda event: self._show_pose())
                self._show_pose()
            elif not wanted and self._gizmo is not None:
                self._gizmo.handle.remove()
                self._gizmo, self._sent, self._follow.value = None, None, False

    def _place(self, pose: Pose | None) -> None:
        if self._gizmo is not None and pose is not None:
            self._gizmo.place(pose)
            self._show_pose()

    def _show_pose(self) -> None:
        """Into the number fields."""
        if self._gizmo is not None:
            position, orientation = self._gizmo.pose
            self._position.value = np.round(position, 3)
            self._rpy.value = np.round(rpy_deg(orientation), 1) + 0.0  # no -0

    def _typed(self, event: Any) -> None:
        # Without a browser behind it, the change came from `_show_pose`.
        if event.client is None or self._gizmo is None:
            return
        roll, pitch, yaw = (math.radians(float(value)) for value in self._rpy.value)
        x, y, z = (float(value) for value in self._position.value)
        self._gizmo.place(((x, y, z), quaternion_of_rpy(roll, pitch, yaw)))


def _brought(contract: Contract) -> str:
    return "tool" if about_the_tool(contract) else "robot" if contract.tracked is None else "object"


class ReleaseControls:
    """The way out of an emergency stop: a button that is there only while the robot is stopped, and a question.

    What is released is the stop that was in force when the question was asked. The question goes away when anybody
    presses the stop again, and the answer yes is not where the button was.
    """

    def __init__(self, gui: Any, robot: Robot, browser: int, complain: Callable[[str, str], None]) -> None:
        self._robot, self._browser, self._complain = robot, browser, complain
        self._current: int | None = None
        """`GoalStatus.estops` of the stop in force, as this browser shows it."""
        self._asked: int | None = None
        """That of the stop which the question is about."""
        self._ask = gui.add_button("Release the emergency stop ...", color=_AMBER, icon="lock-open", visible=False)
        self._question = gui.add_folder("Release the emergency stop?", visible=False)
        with self._question:
            gui.add_html(
                "<div style='margin:0.4em 0.6em;font-size:0.85em'>The robot stays where it is, and follows the next "
                "goal. Is everybody clear of it?</div>"
            )
            keep = gui.add_button("No, keep it stopped", color=_SLATE, icon="lock")
            release = gui.add_button("Yes, release it", color=_AMBER, icon="lock-open")
        self._ask.on_click(lambda event: self._open())
        keep.on_click(lambda event: self._close())
        release.on_click(lambda event: self._confirm())

    def update(self, stopped: Snapshot | None) -> None:
        """Show what there is to release; None while the robot is not stopped."""
        self._current = None if stopped is None else stopped.status.estops
        asked = self._asked
        if asked is not None and asked != self._current:
            self._close()
            if self._current is not None:
                self._complain("Release", PRESSED_AGAIN)
        self._ask.visible = self._current is not None and self._asked is None
        self._question.visible = self._asked is not None

    def _open(self) -> None:
        if self._robot.commands.holder != self._browser:
            self._complain("Release", "Take control first.")
            return
        self._asked = self._current
        self._ask.visible, self._question.visible = False, self._asked is not None

    def _close(self) -> None:
        self._asked, self._question.visible = None, False

    def _confirm(self) -> None:
        asked = self._asked
        self._close()
        if asked is not None:
            self._robot.commands.ask(self._browser, "Release", lambda to: to.release(estops=asked))


def rpy_deg(quaternion: tuple[float, float, float, float]) -> Vector3:
    """Roll, pitch and yaw in degrees of a unit quaternion wxyz; the inverse of `quaternion_of_rpy`."""
    w, x, y, z = quaternion
    roll = math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x))))
    yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return math.degrees(roll), math.degrees(pitch), math.degrees(yaw)


def _differ(first: Pose, second: Pose) -> bool:
    moved = np.abs(np.subtract(first[0], second[0])).max()
    turned = np.abs(np.subtract(first[1], second[1])).max()
    return bool(moved > _MOVED_M or turned > _MOVED)
