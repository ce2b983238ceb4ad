"""A task: the YAML file that a user writes, and the contract that follows from it.

task = load_task("franka_pose")            # one that ships with Shoal
task = load_task("my_robot/pick.yaml")     # your own, see docs/bring_your_own_robot.md
task.contract, task.model                  # what policies are held to; the compiled MJCF
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import mujoco
import numpy as np
from pydantic import Field, ValidationError, model_validator

from sim2real.contract import Action, Contract, Frozen, Goal, Positive, Reading, Timing, Vector3
from sim2real.errors import ShoalError, problems, raise_all
from sim2real.files import read_yaml
from sim2real.randomisation.config import Randomisation
from sim2real.robots.config import RobotConfig
from sim2real.robots.description import describe_robot, only_positions
from sim2real.robots.home import Home, home_of
from sim2real.robots.model import compiled
from sim2real.robots.objects import ObjectAddresses
from sim2real.robots.servos import robot_spec
from sim2real.tasks.measurability import require_measurable, require_tool_from_joints

ReadingName = Literal[
    "joint_position",
    "joint_velocity",
    "joint_position_target",
    "end_effector_position",
    "end_effector_orientation",
    "object_position",
]


class ActionConfig(Frozen):
    """How fast the policy may move the joint targets."""

    kind: Literal["joint_position_increment"] = "joint_position_increment"
    velocity_fraction: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Largest target speed as a fraction of each joint's velocity limit."""
    window: Positive = 0.3


class GoalConfig(Frozen):
    """What may be asked for; see `sim2real.contract.Goal`."""

    space: Literal["position", "pose"]
    position_min_m: Vector3
    position_max_m: Vector3
    orientation_weight_m: Annotated[float, Field(ge=0)] = 0.0
    object_body: str | None = None

    @model_validator(mode="after")
    def _pose_weighs_rotation(self) -> Self:
        if self.space == "pose" and self.orientation_weight_m == 0:
            raise ValueError("a pose goal needs orientation_weight_m above 0; with 0 it is a position goal")
        return self


class ObjectReset(Frozen):
    """Starts of tasks with an object."""

    tool_min_m: Vector3
    tool_max_m: Vector3
    """The box in which the tool starts; the goal box is the object's."""
    near_tool_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the starts in which the object lies no farther than `near_tool_m` from the tool, so that an untrained
    arm touches it now and then; otherwise anywhere in the goal box."""
    near_tool_m: Positive = 0.15


class ResetConfig(Frozen):
    """Starts and goals: uniform joint positions around home."""

    half_range: list[Positive]
    object: ObjectReset | None = None


class TaskConfig(Frozen):
    """The whole YAML file. `sim2real schema` prints its JSON schema for editors."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    robot: RobotConfig
    readings: list[ReadingName]
    estimators: dict[str, str] = Field(default_factory=dict)
    """Readings that no sensor measures, and what estimates them on the robot, in words."""
    action: ActionConfig = ActionConfig()
    goal: GoalConfig
    timing: Timing
    reset: ResetConfig
    randomisation: Randomisation = Randomisation()
    """How simulated robots differ from the model, unless a run says otherwise: a preset's name, or terms of its own.
    No part of the contract: a policy may be served whatever it was trained to bear."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """One limit and one range per joint, and exactly the readings that `interface.observe` is made of."""
        joints, limits, ranges = len(self.robot.joints), self.robot.velocity_max, self.reset.half_range
        for field, values in (("robot.velocity_max", limits), ("reset.half_range", ranges)):
            if len(values) != joints:
                raise ValueError(f"{field} has {len(values)} entries for {joints} joints")
        if (self.goal.object_body is None) != (self.reset.object is None):
            raise ValueError(
                "goal.object_body and reset.object go together: give both, or neither for goals of the tool"
            )
        needed = [name for name in get_args(ReadingName) if name != "object_position" or self.goal.object_body]
        missing = [name for name in needed if name not in self.readings]
        if missing:
            raise ValueError(f"readings: the observation also needs {', '.join(missing)}")
        for name in self.estimators:
            if name not in self.readings or name == "joint_position_target":
                raise ValueError(f"estimators: {name!r} is not a reading that could be estimated")
        return self


@dataclass(frozen=True)
class Task:
    """A validated task and the folder that its paths are relative to."""

    config: TaskConfig
    folder: Path

    @property
    def mjcf_path(self) -> Path:
        """Absolute path of the robot's MJCF."""
        return (self.folder / self.config.robot.mjcf).resolve()

    @cached_property
    def model(self) -> mujoco.MjModel:
        """The compiled MJCF with the task's physics step."""
        model = compiled(self.spec(), self.mjcf_path)
        model.opt.timestep = self.config.timing.physics_dt_s
        return model

    def spec(self) -> mujoco.MjSpec:
        """What `model` is compiled from: the MJCF with the servos that the task declares. New at every call."""
        robot = self.config.robot
        return robot_spec(self.mjcf_path, robot.servos(), tool=robot.end_effector_site)

    @cached_property
    def home(self) -> Home:
        """Where the whole model stands at home."""
        return home_of(self.config.robot, self.model)[0]

    @cached_property
    def contract(self) -> Contract:
        """The contract that every policy for this task is held to."""
        return build_contract(self.config, self.model)


def task_names() -> list[str]:
    """Names of the tasks that ship with Shoal."""
    return sorted(path.stem for path in _tasks_folder().glob("*.yaml"))


def _tasks_folder() -> Path:
    return Path(str(resources.files("sim2real"))) / "tasks"


def load_task(name_or_path: str | Path) -> Task:
    """Load a shipped task by name, or a YAML file by path. Raises `ShoalError` on anything invalid."""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = _tasks_folder() / f"{name_or_path}.yaml"
        if not path.is_file():
            raise ShoalError(
                f"task: unknown task {str(name_or_path)!r}; shipped tasks are {', '.join(task_names())}, "
                "or give the path of a .yaml file."
            )
    if not path.is_file():
        raise ShoalError(f"task: no file at {path}.")
    return Task(_validate(read_yaml(path, what="task"), path), path.parent.resolve())


def _validate(data: Any, path: Path) -> TaskConfig:
    if isinstance(data, dict):
        require_measurable(data.get("readings"), data.get("estimators"))
    try:
        return TaskConfig.model_validate(data)
    except ValidationError as error:
        raise ShoalError(f"task {path.name}: {problems(error)}.") from error


def build_contract(config: TaskConfig, model: mujoco.MjModel) -> Contract:
    """Read limits, gains and home from the compiled model; everything else comes from the task.

    Raises `ShoalError` where the model lacks a name that the task uses, or where the two contradict each other.
    """
    try:
        return _contract(config, model)
    except ValidationError as error:
        raise ShoalError(f"task {config.name}: {problems(error)}.") from error


def _contract(config: TaskConfig, model: mujoco.MjModel) -> Contract:
    thing = None if config.goal.object_body is None else ObjectAddresses.of(model, config.goal.object_body)
    robot, home, said = describe_robot(config.robot, model, placed=() if thing is None else (thing.body,))
    if robot is not None:
        said += [f"robot.joints: {only_positions(joint)}" for joint in robot.joints if joint.mode != "position"]
    raise_all(said, what=f"task {config.name}")
    assert robot is not None
    site = model.site(robot.end_effector_frame).id
    require_tool_from_joints(config.robot.joints, config.estimators, model, site)
    timing = config.timing
    return Contract(
        task=config.name,
        robot=robot,
        readings=tuple(_reading(name, len(robot.joints), config) for name in config.readings),
        action=Action(
            step_max=tuple(
                config.action.velocity_fraction * joint.velocity_max * timing.control_dt_s for joint in robot.joints
            ),
            window=config.action.window,
        ),
        goal=Goal(
            **config.goal.model_dump(), default_orientation_wxyz=_home_orientation(config.robot, model, home.qpos)
        ),
        timing=timing,
    )


def _home_orientation(robot: RobotConfig, model: mujoco.MjModel, home: np.ndarray) -> tuple[float, float, float, float]:
    data = mujoco.MjData(model)
    data.qpos[:] = home
    mujoco.mj_kinematics(model, data)
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, data.site(robot.end_effector_site).xmat)
    w, x, y, z = (round(float(value), 9) + 0.0 for value in quaternion)
    return w, x, y, z


def _reading(name: ReadingName, joints: int, config: TaskConfig) -> Reading:
    tool = f"world->{config.robot.end_effector_site}"
    reading = {
        "joint_position": Reading(name=name, size=joints, unit="rad", frame="joint", source="encoder"),
        "joint_velocity": Reading(name=name, size=joints, unit="rad/s", frame="joint", source="encoder"),
        "joint_position_target": Reading(name=name, size=joints, unit="rad", frame="joint", source="last_command"),
        "end_effector_position": Reading(name=name, size=3, unit="m", frame=tool, source="forward_kinematics"),
        "end_effector_orientation": Reading(name=name, size=4, unit="wxyz", frame=tool, source="forward_kinematics"),
        "object_position": Reading(
            name=name, size=3, unit="m", frame=f"world->{config.goal.object_body}", source="tracker"
        ),
    }[name]
    return reading.model_copy(update={"source": "estimator"}) if name in config.estimators else reading
