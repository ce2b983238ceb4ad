"""`runtime check` finds and names joints that are swapped, reversed, scaled, late, dead, or measured elsewhere."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import pytest

from runtime.cli import main
from runtime.diagnostics.robot_check import check_robot
from runtime.drivers.base import DriverOptions
from runtime.drivers.direct import Direct
from runtime.drivers.mujoco import MujocoDriver
from runtime.inference.policy import Policy
from runtime.robot.readings import Readings
from sim2real.errors import ShoalError
from sim2real.tasks.task import Task

AXES = np.arange(7)


class Wrong(MujocoDriver):
    """A driver whose commands or readings are not the model's."""

    order = AXES
    sign_and_scale = np.ones(7)
    late_periods = 0
    dead = -1
    tool_off_m = 0.0
    degrees = False

    def write(self, command: np.ndarray) -> None:
        if not hasattr(self, "pending"):
            self.pending = deque([command.copy()] * self.late_periods)
            self.home = command.copy()
        moved = self.home + self.sign_and_scale * (command - self.home)
        moved[self.dead] = self.home[self.dead] if self.dead >= 0 else moved[self.dead]
        self.pending.append(self.home + (moved - self.home)[self.order])
        super().write(self.pending.popleft())

    def read(self, out: Readings) -> None:
        super().read(out)
        out.end_effector_position[2] += self.tool_off_m
        if self.degrees:
            out.joint_position[:] = np.degrees(out.joint_position)


def found(kind: type[MujocoDriver], policy: Policy, task: Task, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    driver = kind(policy.contract, DriverOptions(speed=0))
    robot = Direct(driver, policy.contract)
    status = check_robot(robot, policy.contract, task.model, amplitude_rad=0.03, latency_max_s=0.1)
    return status, " ".join(capsys.readouterr().out.split())


def test_right_robot_passes(policy: Policy, task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = found(MujocoDriver, policy, task, capsys)
    assert status == 0
    assert "every joint answers as the model does" in said
    assert all(f"moving {name} by 0.03 rad" in said for name in policy.contract.joint_names)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"order": np.array([0, 2, 1, 3, 4, 5, 6])}, "fr3_joint2: fr3_joint3 moves instead; the order"),
        ({"sign_and_scale": np.array([1, 1, -1, 1, 1, 1, 1])}, "fr3_joint3: fr3_joint3 moves against the command"),
        ({"sign_and_scale": np.array([1, 1, 1, 0.5, 1, 1, 1])}, "fr3_joint4 moves 0.5 times as far as the model"),
        ({"sign_and_scale": np.array([2, 1, 1, 1, 1, 1, 1])}, "fr3_joint1 moves 2 times as far as the model"),
        ({"sign_and_scale": np.array([50, 1, 1, 1, 1, 1, 1])}, "farther than commanded, so the check let go"),
        ({"late_periods": 4}, "fr3_joint1 answers 160 ms later than the model"),
        ({"dead": 5}, "fr3_joint6: nothing moves when it is commanded"),
        ({"tool_off_m": 0.05}, "tool: read 0.050 m from where the model has it"),
    ],
    ids=["swapped", "reversed", "halved", "doubled", "fifty", "late", "dead", "tool"],
)
def test_fault_is_found_and_named(
    fault: dict[str, object], message: str, policy: Policy, task: Task, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = found(type("Fault", (Wrong,), fault), policy, task, capsys)
    assert status == 1
    assert message in said


def test_degrees_are_refused_before_anything_moves(policy: Policy, task: Task) -> None:
    driver = type("Degrees", (Wrong,), {"degrees": True})(policy.contract, DriverOptions(speed=0))
    with pytest.raises(ShoalError, match=r"degrees instead of radians.*Nothing was moved"):
        check_robot(Direct(driver, policy.contract), policy.contract, task.model, amplitude_rad=0.03, latency_max_s=0.1)
    assert not hasattr(driver, "pending")


def test_command_line(policy_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["check", "--model", str(policy_path), "--speed", "0", "--joints", "fr3_joint7"])
    assert stop.value.code == 0
    assert "fr3_joint7" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["check", "--model", str(policy_path), "--joints", "elbow"])
    assert stop.value.code == 2
    assert "--joints: no joint elbow" in capsys.readouterr().err
