"""Task files: what shipped ones say, and one clear sentence for every mistake in one's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim2real.errors import ShoalError
from sim2real.tasks.shipped import task_names
from sim2real.tasks.task import load_task
from tests.sim2real.planar_arm import MJCF, TASK, task_data, write_task


def sentence(path: str | Path) -> str:
    """The error that loading a task and building its contract gives."""
    with pytest.raises(ShoalError) as caught:
        load_task(path).contract  # noqa: B018 - the contract is built on first use
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


@pytest.mark.parametrize("name", task_names())
def test_shipped_tasks_build_their_contract(name: str) -> None:
    task = load_task(name)
    assert task.contract.task == name
    assert task.contract.timing.physics_dt_s == task.model.opt.timestep
    action = task.config.action
    grouped = {name: group.action for group in getattr(action, "groups", ()) for name in group.joints}
    for joint, scale in zip(task.contract.robot.joints, task.contract.action.step_max, strict=True):
        if joint.mode == "effort":
            assert scale == 2 * joint.effort_max
            continue
        fraction = grouped.get(joint.name, action).velocity_fraction
        assert scale == fraction * joint.velocity_max * task.contract.timing.control_dt_s


def test_contract_reads_limits_gains_and_home_from_the_mjcf(tmp_path: Path) -> None:
    contract = load_task(write_task(tmp_path)).contract
    shoulder, elbow = contract.robot.joints
    assert (shoulder.position_min, shoulder.position_max, shoulder.home_position) == (-2, 2, 0.2)
    assert (elbow.stiffness, elbow.damping, elbow.effort_max) == (50, 4, 10)
    assert contract.action.step_max == (0.5 * 3.0 * 0.02, 0.5 * 4.0 * 0.02)
    assert [reading.size for reading in contract.readings] == [2, 2, 2, 3, 4]


def test_joint_order_is_the_tasks_and_not_the_mjcfs(tmp_path: Path) -> None:
    path = write_task(tmp_path, robot__joints=["elbow", "shoulder"], robot__velocity_max=[4.0, 3.0])
    elbow, shoulder = load_task(path).contract.robot.joints
    assert (elbow.home_position, elbow.stiffness, shoulder.home_position) == (0.5, 50, 0.2)


def test_a_tendon_actuator_does_not_count_as_the_first_joints(tmp_path: Path) -> None:
    tendon = '<tendon><fixed name="both"><joint joint="shoulder" coef="1"/></fixed></tendon><actuator>'
    mjcf = MJCF.replace("<actuator>", tendon + '<general name="pull" tendon="both"/>')
    mjcf = mjcf.replace('ctrl="0.2 0.5"', 'ctrl="0 0.2 0.5"')
    assert load_task(write_task(tmp_path, mjcf=mjcf)).contract.robot.joints[0].stiffness == 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"robot__joints": ["shoulder", "wrist"]},
            "robot.joints: the MJCF has no joint or tendon 'wrist'; it has ['shoulder'",
        ),
        ({"robot__velocity_max": [3.0]}, "robot.velocity_max has 1 entries for 2 joints"),
        ({"resets__0__half_range": [1.0]}, "half_range has 1 entries for 2 joints"),
        ({"readings": ["joint_position"]}, "action joint_position_increment needs joint_position_target"),
        (
            {"readings": ["joint_positions"]},
            "readings.0: unknown kind 'joint_positions' of reading (did you mean 'joint_position'?). Known kinds of",
        ),
        ({"readings": ["joint_positions"]}, "did you mean 'joint_position'?"),
        ({"readings": ["nowhere.terms:Smell"]}, "comes from the package 'nowhere', which cannot be imported here"),
        ({"readings": ["sim2real.errors:ShoalError"]}, "is no reading: it must be a subclass of"),
        ({"readings": 3}, "readings: input should be a valid list, got 3"),
        ({"readings": [["joint_position"]]}, "readings.0: a reading is a mapping with a kind, or a kind alone"),
        ({"robot__gripper": "hand"}, "robot.gripper is not a known key"),
        ({"goal": {"kind": "tool_position"}}, "goal: tool_position: position_min_m is missing"),
        ({"goal__kind": "tool_pose"}, "goal: tool_pose: orientation_weight_m is missing"),
        ({"goal__kind": "object_position"}, "goal object_position needs object_position"),
        ({"goal__position_min_m": [0.6, -0.5, 0.05]}, "position_min_m x=0.6 must be below position_max_m x=0.5"),
        ({"robot__home_keyframe": "rest"}, "robot.home_keyframe: the MJCF has no keyframe 'rest'"),
        ({"robot__end_effector_site": "hand"}, "the MJCF has no site or body 'hand'; it has ['tool']"),
        ({"robot__mjcf": "gone.xml"}, "robot.mjcf: no file at"),
        ({"timing__control_dt_s": 0.003}, "timing: timing.control_dt_s 0.003 must be a whole multiple"),
        ({"name": "Planar Reach"}, "name: string should match pattern"),
    ],
)
def test_mistakes_in_the_yaml(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert message in sentence(write_task(tmp_path, **changes))


def test_an_unmeasurable_reading_needs_an_estimator(tmp_path: Path) -> None:
    one: dict[str, Any] = {"robot__joints": ["elbow"], "robot__velocity_max": [4.0], "resets__0__half_range": [1.0]}
    with pytest.raises(ShoalError) as caught:
        load_task(write_task(tmp_path, **one)).contract  # noqa: B018
    refused = str(caught.value)
    assert "'end_effector_position' cannot be measured on a robot: joints that are no joints of the task" in refused
    assert "'end_effector_orientation' cannot be measured" in refused, "all of them at once"
    assert "say which under `estimators: {end_effector_position: ...}`" in refused
    path = write_task(tmp_path, **one)
    tool = ["end_effector_position", "end_effector_orientation"]
    path.write_text(yaml.safe_dump(task_data(**one) | {"estimators": {tool[0]: "motion capture"}}))
    assert "'end_effector_orientation' cannot be measured" in sentence(path)
    path.write_text(yaml.safe_dump(task_data(**one) | {"estimators": dict.fromkeys(tool, "motion capture")}))
    sources = {reading.name: reading.source for reading in load_task(path).contract.readings}
    assert {sources[name] for name in tool} == {"estimator"}
    assert sources["joint_position"] == "encoder"


def test_an_estimator_of_nothing_is_refused(tmp_path: Path) -> None:
    message = sentence(write_task(tmp_path, estimators={"temperature": "a guess"}))
    assert "estimators: 'temperature' is no reading of the task; it has joint_position, " in message


def test_what_only_a_simulation_knows_is_for_teachers(tmp_path: Path) -> None:
    velocity = {"kind": "height", "of": "tool", "source": "simulation"}
    refused = sentence(write_task(tmp_path, readings=[*TASK["readings"], velocity]))
    assert "'height' cannot be measured on a robot" in refused
    assert "under `teacher_readings`" in refused
    task = load_task(write_task(tmp_path, teacher_readings=[velocity]))
    assert "height" not in [reading.name for reading in task.contract.readings]
    assert [reading.name for reading in task.teacher_contract.readings][-1] == "height"
    assert task.contract == load_task(write_task(tmp_path)).contract, "the student's contract does not know"


def test_randomisation_is_a_preset_or_terms_and_no_part_of_the_contract(tmp_path: Path) -> None:
    plain = load_task(write_task(tmp_path)).contract
    mild = load_task(write_task(tmp_path, randomisation="mild"))
    assert mild.config.randomisation.active
    assert mild.contract == plain
    heavy = load_task(write_task(tmp_path, randomisation={"preset": "off", "payload_mass_kg": {"uniform": [0, 2]}}))
    assert heavy.config.randomisation.active == ("payload_mass_kg",)
    message = sentence(write_task(tmp_path, randomisation={"payload_mass_kg": {"uniform": [-1, 2]}}))
    assert "randomisation: payload_mass_kg reaches from -1 to 2" in message


ELBOW_SERVO = '<position name="elbow" joint="elbow" kp="50" kv="4" forcerange="-10 10"/>'


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            ELBOW_SERVO,
            '<motor name="elbow" joint="elbow" forcerange="-9 9"/>',
            "the actuator of 'elbow' is told forces",
        ),
        (
            ELBOW_SERVO,
            ELBOW_SERVO.replace("position", "velocity").replace('kp="50" ', ""),
            "'elbow' is told velocities",
        ),
        (ELBOW_SERVO, ELBOW_SERVO.replace("-10 10", "0 0"), "nothing limits the force of actuator 'elbow'"),
        (ELBOW_SERVO, ELBOW_SERVO.replace('name="elbow"', 'name="e"') + ELBOW_SERVO, "'elbow' needs exactly one"),
        (' range="-2.5 2.5"', ' type="slide"', "joint 'elbow' has no range"),
        (' range="-2.5 2.5"', ' type="ball"', "joint 'elbow' is a ball joint; only hinges and slides"),
        ('qpos="0.2 0.5"', 'qpos="0.2 2.6"', "'elbow' stands at 2.6, outside its range [-2.5, 2.5]"),
        ("<worldbody>", "<worldbody><bodi/>", "MuJoCo cannot compile"),
    ],
)
def test_mistakes_in_the_mjcf(tmp_path: Path, before: str, after: str, message: str) -> None:
    mjcf = MJCF.replace(before, after)
    if ELBOW_SERVO in after:
        mjcf = mjcf.replace(' ctrl="0.2 0.5"', "")
    mjcf = mjcf.replace('forcerange="0 0"', 'forcelimited="false"')
    assert mjcf != MJCF
    assert message in sentence(write_task(tmp_path, mjcf=mjcf))


def test_unknown_task_lists_the_shipped_ones() -> None:
    message = sentence("franka_pour")
    assert "unknown task 'franka_pour'" in message
    assert all(name in message for name in task_names())


def test_missing_broken_and_empty_files(tmp_path: Path) -> None:
    assert re.search(r"task: no file at .*gone\.yaml\.", sentence(tmp_path / "gone.yaml"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("robot: [unclosed\nname: x")
    assert "broken.yaml is not valid YAML" in sentence(broken)
    broken.write_bytes(b"\xff\xfe\xfa")
    assert "broken.yaml is not valid YAML" in sentence(broken)
    broken.write_text("")
    assert "the file: must hold keys and values, it is empty" in sentence(broken)


def test_known_kinds_are_said_once_for_several_unknown_ones(tmp_path: Path) -> None:
    groups = {"kind": "groups", "groups": [{"joints": [name], "action": "grip"} for name in ("shoulder", "elbow")]}
    wrong = write_task(tmp_path, readings=["joint_positions", "smell", *TASK["readings"]], action=groups)
    with pytest.raises(ShoalError) as caught:
        load_task(wrong)
    said = str(caught.value)
    assert said.count("Known kinds of reading are") == said.count("Known kinds of action are") == 1
    assert said.count("unknown kind 'grip' of action (did you mean 'gripper'?)") == 2
    assert "unknown kind 'smell' of reading" in said
    assert "tool_increment" in said, "the list is whole"
