"""The controls and readouts of one connected browser."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.goals.messages import GoalJoints, GoalPose
from runtime.page.charts import Charts
from runtime.page.scene import Gizmo, Pose
from runtime.protocol.client import Client
from runtime.protocol.snapshot import Snapshot
from runtime.robot.rotations import quaternion_of_rpy
from runtime.status import GoalStatus
from sim2real.contract import Vector3
from sim2real.errors import ShoalError

if TYPE_CHECKING:  # it makes the panels
    from runtime.page.app import Page

_COLOURS = {"active": "#15803d", "ramp-in": "#15803d", "hold": "#b45309", "damp": "#b45309", "estop": "#b91c1c"}
_GREY = "#64748b"
_RED, _AMBER = (200, 16, 32), (217, 119, 6)
_ESTOP = "EMERGENCY STOP"
_RELEASE = "Release the emergency stop"
_MOVED_M, _MOVED = 1e-4, 1e-4
"""A gizmo that moved by less is where it was, in m and in entries of its quaternion."""


class Panel:
    """Built when a browser connects; `update` and `follow` are called a few times a second."""

    def __init__(self, page: Page, client: Any) -> None:
        self._page, self.client = page, client
        self._gizmo: Gizmo | None = None
        self._sent: Pose | None = None
        gui, turns = client.gui, page.contract.goal.space == "pose"
        self._stop = gui.add_button(_ESTOP, color=_RED, icon="alert-octagon")
        self._state = gui.add_html("")
        self._code = gui.add_text("Code", "", visible=bool(page.control.code))
        self._take = gui.add_button("Take control", color="blue", icon="hand-grab")
        self._goal = gui.add_folder("Goal", visible=False)
        with self._goal:
            self._follow = gui.add_checkbox("Send while I drag", False)
            self._send = gui.add_button("Send this goal", color="green", icon="send")
            self._hold = gui.add_button("Hold: forget the goal", icon="hand-stop")
            self._home = gui.add_button("Go home", icon="home", visible=turns)
            brought = "tool" if page.contract.goal.object_body is None else "object"
            self._fetch = gui.add_button(f"Bring the gizmo to the {brought}", icon="focus-centered")
            low, high = page.contract.goal.position_min_m, page.contract.goal.position_max_m
            self._position = gui.add_vector3("Position, m", page.scene.brought[0], min=low, max=high, step=0.005)
            self._rpy = gui.add_vector3("Roll pitch yaw, deg", (0.0, 0.0, 0.0), step=0.5, visible=turns)
        with gui.add_folder("Last half minute"):
            self._charts = Charts(gui, turns=turns)
        gui.add_html(_facts(page))
        self._stop.on_click(lambda event: self._press_stop())
        self._take.on_click(lambda event: self._press_take())
        self._send.on_click(lambda event: self.send())
        self._hold.on_click(lambda event: self._ask_with_control("Hold", lambda client: client.cancel_goal()))
        self._home.on_click(lambda event: self._go_home())
        self._fetch.on_click(lambda event: self._place(page.scene.brought))
        self._position.on_update(lambda event: self._typed(event))
        self._rpy.on_update(lambda event: self._typed(event))

    @property
    def in_control(self) -> bool:
        """Whether this browser may drive."""
        return bool(self._page.control.holder == self.client.client_id)

    def update(self, snapshot: Snapshot | None, problem: str, history: np.ndarray) -> None:
        """Show where everything stands."""
        holder = self._page.control.holder
        self._state.content = _no_server(problem) if snapshot is None else _status(snapshot)
        stopped = snapshot is not None and snapshot.status.state == "estop"
        self._stop.label = _RELEASE if stopped else _ESTOP
        self._stop.color = _AMBER if stopped else _RED
        self._send.disabled = self._hold.disabled = self._home.disabled = snapshot is None or stopped
        if holder is None:
            other = self._page.link.lease_holder
            self._take.label, self._take.disabled = f"{other} has control" if other else "Take control", bool(other)
        elif self.in_control:
            self._take.label, self._take.disabled = "Release control", False
        else:
            self._take.label, self._take.disabled = f"Browser {holder} has control", True
        self._code.visible = bool(self._page.control.code) and holder is None
        self._show_gizmo(self.in_control)
        self._charts.update(history)

    def follow(self) -> None:
        """Send the gizmo's pose if it moved and the browser asked for that."""
        gizmo = self._gizmo
        if gizmo is None or not self._follow.value or not self.in_control:
            return
        if self._sent is None or _differ(self._sent, gizmo.pose):
            self.send()

    def send(self) -> None:
        """Send the gizmo's pose as a goal."""
        gizmo = self._gizmo
        if gizmo is None:
            self.complain("Goal", "Take control first.")
            return
        self._sent = gizmo.pose
        position, orientation = self._sent
        goal = GoalPose(position=position, orientation_wxyz=orientation if gizmo.turns else None)
        self._ask_with_control("Goal", lambda client: client.send_goal(goal))

    def _go_home(self) -> None:
        home = GoalJoints(joints={joint.name: joint.home_position for joint in self._page.contract.robot.joints})
        self._ask_with_control("Home", lambda client: client.send_goal(home))

    def _press_stop(self) -> None:
        if self._stop.label == _RELEASE:
            self._ask_with_control("Release", lambda client: client.release())
        else:
            self._ask("Emergency stop", lambda client: client.estop())

    def _press_take(self) -> None:
        if self.in_control:
            self._page.release_control(self.client.client_id)
        elif problem := self._page.take_control(self.client.client_id, self._code.value):
            self.complain("Control", problem)
        self._show_gizmo(self.in_control)

    def _show_gizmo(self, wanted: bool) -> None:
        with self._page.lock:
            self._goal.visible = wanted
            if wanted and self._gizmo is None:
                self._gizmo = Gizmo(self.client, self._page.contract, self._page.scene.brought)
                self._gizmo.handle.on_update(lambda event: self._show_pose())
                self._show_pose()
            elif not wanted and self._gizmo is not None:
                self._gizmo.handle.remove()
                self._gizmo, self._sent, self._follow.value = None, None, False

    def _place(self, pose: Pose) -> None:
        if self._gizmo is not None:
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

    def _ask_with_control(self, what: str, ask: Callable[[Client], GoalStatus]) -> None:
        if self.in_control:
            self._ask(what, ask)
        else:
            self.complain(what, "Take control first.")

    def _ask(self, what: str, ask: Callable[[Client], GoalStatus]) -> None:
        try:
            self._page.link.request(ask)
        except ShoalError as error:
            self.complain(what, str(error))

    def complain(self, title: str, sentence: str) -> None:
        """A notification in this browser."""
        self.client.add_notification(title, sentence, color="red", auto_close_seconds=8.0)


def rpy_deg(quaternion: tuple[float, float, float, float]) -> Vector3:
    """Roll, pitch and yaw in degrees of a unit quaternion wxyz; `quaternion_of_rpy` undone."""
    w, x, y, z = quaternion
    roll = math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x))))
    yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return math.degrees(roll), math.degrees(pitch), math.degrees(yaw)


def _differ(first: Pose, second: Pose) -> bool:
    moved = np.abs(np.subtract(first[0], second[0])).max()
    turned = np.abs(np.subtract(first[1], second[1])).max()
    return bool(moved > _MOVED_M or turned > _MOVED)


def _status(snapshot: Snapshot) -> str:
    status = snapshot.status
    colour = _COLOURS.get(status.state, _GREY)
    rows = [("Goal", f"{status.goal_id}{' reached' if status.reached else ''}" if status.goal_id else "none")]
    if status.distance_m is not None:
        angle = "" if status.angle_deg is None else f", {status.angle_deg:.1f} deg"
        rows.append(("Distance", f"{1e3 * status.distance_m:.1f} mm{angle}"))
    if status.reachability is not None:
        rows.append(("Reachability", f"{status.reachability:.2f}{'' if status.reachable else ', doubtful'}"))
    tick = snapshot.tick_time
    rows.append(("Tick", f"p50 {tick.p50_us:.0f}, p99 {tick.p99_us:.0f} &micro;s; missed {status.missed_periods}"))
    if status.age_s > 1:
        rows.append(("Silent for", f"{status.age_s:.0f} s"))
    cells = "".join(
        f"<tr><td style='color:#64748b;padding-right:0.8em'>{name}</td>"
        f"<td style='font-variant-numeric:tabular-nums'>{value if '&micro;' in value else escape(value)}</td></tr>"
        for name, value in rows
    )
    reached = status.state == "active" and status.reached
    label = "at the goal" if reached else status.state
    return _badge(colour, label, status.reason) + f"<table style='font-size:0.85em;margin:0 0.6em'>{cells}</table>"


def _no_server(problem: str) -> str:
    return _badge("#7f1d1d", "no server", problem or "waiting for the first tick")


def _badge(colour: str, label: str, sentence: str) -> str:
    return (
        "<div style='margin:0.4em 0.6em;font-size:0.85em'>"
        f"<span data-state='{escape(label)}' style='background:{colour};color:white;border-radius:0.5em;"
        f"padding:0.15em 0.7em;font-weight:600'>{escape(label)}</span> <span>{escape(sentence)}</span></div>"
    )


def _facts(page: Page) -> str:
    facts = page.link.description.facts
    text = f"{facts.get('policy', 'policy')} on {facts.get('driver', page.contract.robot.name)}"
    return f"<div style='font-size:0.75em;color:#64748b;margin:0.6em'>{escape(text)}</div>"
