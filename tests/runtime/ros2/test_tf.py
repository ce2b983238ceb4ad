"""Frames: a tree against homogeneous matrices, what can be wrong with one, and goals in frames of another process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.goals.messages import GoalRefused
from runtime.goals.resolve import validate_goal
from runtime.ros2 import messages as ros
from runtime.ros2.clock import SystemClock
from runtime.ros2.convert import goal_of
from runtime.ros2.domain import LOOPBACK_CONFIG, Participant
from runtime.ros2.tf import tree as tree_module
from runtime.ros2.tf.listener import Frames
from runtime.ros2.tf.tree import FrameTree, NoTransform
from sim2real.contract import Contract
from sim2real.tasks.task import load_task
from tests.runtime.every_goal import contract_with
from tests.runtime.ros2.test_driver import config, data_at_home, driving, read_until, robot
from tests.runtime.ros2.test_ros2 import Bridged, pose
from tests.runtime.server.test_server import PATIENCE_S

MAX_AGE_S = 1.0
QUARTER_LEFT = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))
"""About z, xyzw."""
STRAIGHT = (0.0, 0.0, 0.0, 1.0)


def transform(
    parent: str,
    child: str,
    xyz: tuple[float, ...] = (0.0, 0.0, 0.0),
    xyzw: tuple[float, ...] = STRAIGHT,
    stamp_s: float = 0.0,
) -> ros.TransformStamped:
    stamp = ros.Time(int(stamp_s), round(stamp_s % 1 * 1e9))
    moved = ros.Transform(ros.Vector3(*xyz), ros.Quaternion(*xyzw))
    return ros.TransformStamped(ros.Header(stamp, parent), child, moved)


def tree(*pairs: tuple[str, str], static: bool = False, now_s: float = 0.0) -> FrameTree:
    made = FrameTree(MAX_AGE_S)
    for parent, child in pairs:
        assert made.take(transform(parent, child), static=static, now_s=now_s) == ""
    return made


def carried(made: FrameTree, source: str, target: str, now_s: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    return made.carry(source, target, np.array([1.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0, 0.0]), now_s=now_s)


numbers = st.floats(-3, 3, allow_nan=False)
turns = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)
steps = st.tuples(st.integers(0, 10**6), st.tuples(numbers, numbers, numbers), turns)


def matrix(xyz: tuple[float, ...], xyzw: np.ndarray) -> np.ndarray:
    turned, whole = np.zeros(9), np.eye(4)
    mujoco.mju_quat2Mat(turned, xyzw[[3, 0, 1, 2]])
    whole[:3, :3], whole[:3, 3] = turned.reshape(3, 3), xyz
    return whole


@given(st.lists(steps, min_size=1, max_size=8), st.data())
@settings(max_examples=100, deadline=None)
def test_poses_are_carried_as_products_of_matrices_carry_them(rows: list[Any], data: st.DataObject) -> None:
    made, in_root = FrameTree(MAX_AGE_S), [np.eye(4)]
    for child, (place, xyz, turn) in enumerate(rows, 1):
        parent, xyzw = place % child, np.array(turn) / np.linalg.norm(turn)
        made.take(transform(str(parent), str(child), xyz, tuple(xyzw.tolist())), static=bool(child % 2), now_s=0.0)
        in_root.append(in_root[parent] @ matrix(xyz, xyzw))
    source, target = (data.draw(st.integers(0, len(rows))) for _ in range(2))
    position, wxyz = carried(made, str(source), str(target))
    between = np.linalg.inv(in_root[target]) @ in_root[source]
    assert position == pytest.approx((between @ [1, 0, 0, 1])[:3], abs=1e-9)
    assert matrix((0, 0, 0), wxyz[[1, 2, 3, 0]])[:3, :3] == pytest.approx(between[:3, :3], abs=1e-9)


@pytest.mark.parametrize(
    ("pairs", "source", "sentence"),
    [
        ((), "camera", "no transform tells of frame 'camera'; known frames: none"),
        ((("world", "base"),), "camera", "no transform tells of frame 'camera'; known frames: 'base', 'world'"),
        ((("base", "camera"),), "camera", "no transform tells of frame 'world'; known frames: 'base', 'camera'"),
        (
            (("world", "base"), ("rig", "camera")),
            "camera",
            "no transforms lead from frame 'camera' to 'world': they are in two trees, below 'rig' and 'world'",
        ),
        (
            (("a", "camera"), ("b", "a"), ("a", "b"), ("world", "base")),
            "camera",
            "frames 'a' -> 'b' -> 'a' form a loop",
        ),
        ((("world", "camera"), ("camera", "world")), "camera", "frames 'camera' -> 'world' -> 'camera' form a loop"),
        (
            (("world", "camera"), ("base", "camera"), ("world", "base")),
            "camera",
            "frame 'camera' has two parents, 'base' and 'world'; let only one publisher tell where it is",
        ),
    ],
)
def test_a_tree_that_leads_nowhere_is_one_sentence(
    pairs: tuple[tuple[str, str], ...], source: str, sentence: str
) -> None:
    with pytest.raises(NoTransform) as refused:
        carried(tree(*pairs), source, "world")
    assert str(refused.value) == sentence


def test_what_is_wrong_above_the_common_ancestor_does_not_matter() -> None:
    made = tree(("world", "camera"), ("world", "base"), ("map", "world"), ("odom", "world"), ("map", "odom"))
    made.take(transform("odom", "map"), static=False, now_s=0.0)
    assert carried(made, "camera", "base")[0].tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(NoTransform, match="two parents"):
        carried(made, "camera", "map")


def test_dynamic_transforms_grow_old_and_static_ones_do_not() -> None:
    made = tree(("world", "base"), static=True)
    made.take(transform("base", "camera", stamp_s=5.0), static=False, now_s=10.0)
    carried(made, "base", "world", now_s=1e6)
    carried(made, "camera", "world", now_s=10.0 + MAX_AGE_S)
    with pytest.raises(NoTransform, match=r"'camera' to 'base' came 1\.5 s ago, and counts for 1 s"):
        carried(made, "camera", "world", now_s=11.5)
    made.take(transform("base", "camera", (9, 9, 9), stamp_s=5.0), static=False, now_s=11.5)  # the same once more
    with pytest.raises(NoTransform, match=r"came 1\.6 s ago"):
        carried(made, "camera", "world", now_s=11.6)
    made.take(transform("base", "camera", (0, 1, 0), stamp_s=5.1), static=False, now_s=12.0)
    assert carried(made, "camera", "world", now_s=12.0)[0].tolist() == [1.0, 1.0, 0.0]
    made.take(transform("base", "camera", (0, 2, 0), stamp_s=1.0), static=False, now_s=13.0)  # a clock set back
    assert carried(made, "camera", "world", now_s=13.0)[0].tolist() == [1.0, 2.0, 0.0]


def test_a_frame_may_be_handed_to_another_parent() -> None:
    made = tree(("world", "gripper"), static=True)
    made.take(transform("world", "part", (0, 0, 1)), static=False, now_s=0.0)
    made.take(transform("gripper", "part", (0, 0, 2)), static=False, now_s=5.0)
    assert carried(made, "part", "world", now_s=5.0)[0].tolist() == [1.0, 0.0, 2.0]
    # Of two that are both old, the newer one is blamed.
    with pytest.raises(NoTransform, match="'part' to 'gripper' came 5 s ago"):
        carried(made, "part", "world", now_s=10.0)


@pytest.mark.parametrize(
    "wrong",
    [
        transform("", "camera"),
        transform("world", ""),
        transform("camera", "/camera"),
        transform("world", "camera", (float("nan"), 0, 0)),
        transform("world", "camera", xyzw=(0, 0, 0, 0)),
        transform("world", "camera", xyzw=(0, 0, 0, 1.1)),
        transform("world", "camera", xyzw=(float("nan"), 0, 0, 1)),
    ],
)
def test_a_transform_that_is_none_is_said_and_left(wrong: ros.TransformStamped) -> None:
    made = tree(("world", "base"))
    said = made.take(wrong, static=True, now_s=0.0)
    assert said.startswith("the transform of frame ")
    assert "is not taken" in said
    with pytest.raises(NoTransform, match="known frames: 'base', 'world'"):
        carried(made, "camera", "world")


def test_leading_slashes_mean_nothing_and_rotations_are_made_exact() -> None:
    made = FrameTree(MAX_AGE_S)
    made.take(transform("/world", "camera", xyzw=(0, 0, 0, 1.005)), static=True, now_s=0.0)
    assert carried(made, "/camera", "world")[1].tolist() == [1.0, 0.0, 0.0, 0.0]


def test_a_publisher_cannot_fill_the_memory() -> None:
    made = FrameTree(MAX_AGE_S)
    said = [made.take(transform("world", str(i)), static=True, now_s=0.0) for i in range(tree_module._MOST_TRANSFORMS)]
    assert {*said} == {""}
    assert "1000 are held already" in made.take(transform("world", "one more"), static=True, now_s=0.0)
    assert made.take(transform("world", "5", (0, 1, 0)), static=True, now_s=0.0) == ""
    with pytest.raises(NoTransform) as refused:
        carried(made, "one more", "world")
    assert len(str(refused.value)) < 500


def goal(message: ros.PoseStamped, contract: Contract, made: FrameTree) -> Any:
    def carry(source: str, target: str, position: Any, wxyz: Any) -> Any:
        at, turned = made.carry(source, target, np.array(position), np.array(wxyz), now_s=0.0)
        return tuple(at.tolist()), tuple(turned.tolist())

    return goal_of(message, contract, frame="world", now=0.0, max_age_s=1.0, timeout_s=None, carry=carry)


def test_a_goal_in_another_frame_is_carried_or_refused(contract: Contract) -> None:
    made = FrameTree(MAX_AGE_S)
    made.take(transform("world", "table", (0.5, 0.0, 0.2), QUARTER_LEFT), static=True, now_s=0.0)
    asked = goal(pose("table", x=0.1, y=0.05, z=0.2), contract, made)
    assert asked.position == pytest.approx((0.45, 0.1, 0.4))
    assert np.abs(asked.orientation_wxyz) == pytest.approx([0, np.sqrt(0.5), np.sqrt(0.5), 0], abs=1e-12)
    with pytest.raises(GoalRefused, match=r"frame_id is 'map', but goals are taken in 'world', and no transform tells"):
        goal(pose("map"), contract, made)
    position_only = load_task("franka_reach").contract
    assert goal(pose("table", x=0.1, y=0.05, z=0.2, qx=0.0), position_only, made).position == asked.position


def test_a_goal_on_the_ground_stays_there() -> None:
    contract = contract_with("planar_pose")
    made = FrameTree(MAX_AGE_S)
    made.take(transform("map", "world", (1.0, 0.0, 0.003), QUARTER_LEFT), static=True, now_s=0.0)
    asked = validate_goal(contract, goal(pose("map", x=1.0, y=-0.5, z=0.0, qx=0.0, qw=1.0), contract, made), 0.0)
    assert asked.request == pytest.approx((-0.5, 0.0, -np.pi / 2))
    with pytest.raises(GoalRefused, match="goals are on the ground"):
        validate_goal(contract, goal(pose("map", x=1.0, y=0.0, z=0.1, qx=0.0, qw=1.0), contract, made), 0.0)


@contextmanager
def published(*rows: tuple[Any, ...], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.ros2.transforms", *(str(value) for row in rows for value in row)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment | {"CYCLONEDDS_URI": LOOPBACK_CONFIG},
    )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait(PATIENCE_S)


TABLE = ("rig", "table", "dynamic", 0.0, 0.0, 0.2, *STRAIGHT)
RIG = ("world", "rig", "static", 0.5, 0.0, 0.0, *QUARTER_LEFT)


def test_transforms_of_another_process_are_heard_and_missed_when_it_ends(domain: str) -> None:
    said: list[str] = []
    participant = Participant(network=False)
    frames = Frames(participant, SystemClock(), max_age_s=0.5, say=said.append)
    deadline = time.monotonic() + PATIENCE_S

    def place() -> Any:
        frames.take()
        return frames.carry("table", "world", (0.1, 0.05, 0.2), (1.0, 0.0, 0.0, 0.0))[0]

    with published(RIG, TABLE, environment=dict(os.environ)):
        found = None
        while found is None and time.monotonic() < deadline:
            try:
                found = place()
            except NoTransform:
                time.sleep(0.01)
    assert found == pytest.approx((0.45, 0.1, 0.4))
    time.sleep(0.5)
    with pytest.raises(NoTransform, match=r"'table' to 'rig' came .* s ago, and counts for 0\.5 s"):
        place()
    assert {*said} <= {""}
    participant.close()


def test_a_goal_in_a_frame_of_another_process_is_reached(policy_path: Path, tmp_path: Path) -> None:
    bridged = Bridged(policy_path, tmp_path)
    try:
        sentence = "frame_id is 'table', but goals are taken in 'world', and no transform tells of frame 'table'"
        assert sentence in bridged.peer("table", "", sentence, 0.1, 0.05, 0.25)["status"]["refused"]
        unturned = ("world", "rig", "static", 0.35, 0.05, 0.0, *STRAIGHT)
        with published(unturned, TABLE, environment=bridged.environment) as publisher:
            assert publisher.stdout is not None
            assert publisher.stdout.readline() == "ready\n"
            seen = bridged.peer("table", "", "", 0.1, 0.05, 0.25)
        assert seen["status"]["reached"], seen
        assert np.linalg.norm(np.subtract(seen["tool"][1:], (0.45, 0.1, 0.45))) < 0.06
    finally:
        bridged.end()


def test_a_tracker_may_tell_in_another_frame(domain: str, tmp_path: Path) -> None:
    """The tracker's `world` is the policy's `table`, a quarter turn to the left, 0.1 m ahead."""
    task = load_task("franka_push")
    seen_from = {"frame": "table", "tf": True, "max_age_s": PATIENCE_S}
    row = ("table", "world", "static", 0.1, 0.0, 0.0, *QUARTER_LEFT)
    with (
        robot("franka_push"),
        published(row, environment=dict(os.environ)),
        driving(task.contract, config(tmp_path, object_pose=seen_from)) as (driver, readings),
    ):
        read_until(driver, readings, lambda: bool(np.isfinite(readings.object_position).all()))
        sim = task.scene.simulated([data_at_home(task)])
        x, y, z = sim.value(np, task.contract.reading("object_position"))[0]
        assert readings.object_position == pytest.approx([0.1 - y, x, z], abs=0.01)
