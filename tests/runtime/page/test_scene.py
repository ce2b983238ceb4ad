"""What the page draws of every kind of goal, and where it puts robots and objects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.drivers.base import DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.goals.markers import markers
from runtime.goals.messages import parse_any_goal
from runtime.goals.resolve import is_one_pose, middle_goal, validate_goal
from runtime.page.goal_fields import ValueFields
from runtime.page.scene import RobotScene, about_vertical, ring
from runtime.protocol.snapshot import Latency, Snapshot
from runtime.robot.readings import Readings
from runtime.robot.rotations import quaternion_of_rpy
from runtime.status import GoalStatus
from sim2real.child_process import free_port
from sim2real.contract import Contract
from tests.runtime.every_goal import contract_with
from tests.runtime.page.browsers import Browser, wait_until
from tests.runtime.page.conftest import ServedPage

NOTHING = Latency(count=0, p50_us=0.0, p99_us=0.0, p999_us=0.0, max_us=0.0)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    viser = pytest.importorskip("viser")
    port = free_port()
    server = viser.ViserServer(host="127.0.0.1", port=port, verbose=False)
    yield server
    server.stop()


def snapshot_of(contract: Contract, readings: Readings, request: tuple[float, ...]) -> Snapshot:
    status = GoalStatus(state="active", reason="", goal_id="a", goal_number=1, ticks=1, holds=0, clamped=0)
    layout = contract.goal.layout(contract)
    return Snapshot(
        status=status,
        frame="world",
        joint_names=contract.joint_names,
        readings={name: tuple(value.tolist()) for name, value in readings.named.items()},
        goal={name: request[part] for name, part in layout.slices.items()},
        lateness=NOTHING,
        step=NOTHING,
        tick_time=NOTHING,
    )


@pytest.mark.parametrize("name", ["tool_pose", "object_position", "planar_pose", "together", "joint_configuration"])
def test_bodies_stand_where_readings_say_and_markers_where_goals_do(server: Any, name: str) -> None:
    contract = contract_with(name)
    scene, driver = RobotScene(server, contract, None), MujocoDriver(contract, DriverOptions(speed=0))
    readings = Readings.of(contract)
    home = driver.data.qpos.copy()
    if contract.robot.base == "floating":
        driver.data.qpos[:3] += (0.4, -0.3, 0.0)
        driver.data.qpos[3:7] = quaternion_of_rpy(0, 0, 0.7)
    driver._robot.read(driver.data, readings)
    driver._robot.read_simulated(driver.data, readings)
    request = middle_goal(contract, "a").request
    scene.update(snapshot_of(contract, readings, request))
    np.testing.assert_allclose(scene._data.qpos, driver.data.qpos, atol=1e-6)
    assert (contract.robot.base == "floating") == (not np.allclose(driver.data.qpos, home))
    places = markers(contract, request)
    assert [handle.visible for handle in scene._goals] == [True] * len(places)
    for handle, place in zip(scene._goals, places, strict=True):
        np.testing.assert_allclose(handle.position, place.position, atol=1e-6)
    now = markers(contract, contract.goal.achieved(np, readings.named).tolist())
    if is_one_pose(contract):
        assert scene.brought is not None
        np.testing.assert_allclose(scene.brought[0], now[0].position, atol=1e-6)
    else:
        assert scene.brought is None
    driver.close()


def test_a_ring_has_an_arrow_where_a_base_is_to_face_somewhere() -> None:
    plain, turned = ring(0.5, arrow=False), ring(0.5, arrow=True)
    assert (len(turned) - len(plain), plain.shape[1:]) == (3, (2, 3))
    np.testing.assert_allclose(np.linalg.norm(plain[..., :2], axis=-1), 0.5, atol=1e-6)
    np.testing.assert_allclose(plain[..., 2], 0.01, atol=1e-6)
    assert turned[..., 0].max() > 0.5


def test_what_is_dragged_on_the_ground_only_turns_about_the_vertical() -> None:
    w, x, y, z = about_vertical(quaternion_of_rpy(0.3, -0.2, 1.1))
    assert (x, y) == (0.0, 0.0)
    assert 2 * math.atan2(z, w) == pytest.approx(1.1, abs=0.1)
    assert about_vertical((0.0, 1.0, 0.0, 0.0)) == (1.0, 0.0, 0.0, 0.0)


def test_fields_say_any_goal_by_name(server: Any) -> None:
    contract = contract_with("together")
    fields = ValueFields(server.gui, contract)
    request = middle_goal(contract, "a").request
    for name, part in contract.goal.layout(contract).slices.items():
        assert fields.values[name] == pytest.approx(request[part], abs=0.02)


@pytest.mark.parametrize("name", ["planar_pose", "joint_configuration"])
def test_the_panel_sends_a_goal_that_the_policy_takes(name: str, tmp_path: Path) -> None:
    contract = contract_with(name)
    served = ServedPage(contract, tmp_path, ask_code=False)
    try:
        with Browser(served.port) as browser:
            browser.press("Take control")
            browser.wait_for("Release control")
            assert browser.shows("Go home") == (name == "joint_configuration")
            browser.press("Send this goal")
            wait_until(lambda: len(served.robot.goals) == 1, "the goal")
        goal = validate_goal(contract, parse_any_goal(served.robot.goals[0]), 0.0)
        wanted = middle_goal(contract, "a").request
        if name == "planar_pose":  # where the base is
            wanted = (0.0, 0.0, 0.0)
        assert goal.request == pytest.approx(wanted, abs=0.05)
    finally:
        served.close()
