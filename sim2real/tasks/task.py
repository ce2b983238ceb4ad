"""A task: the YAML file that a user writes, and the contract that follows from it.

task = load_task("franka_pose")            # one that ships with Shoal
task = load_task("my_robot/pick.yaml")     # your own, see docs/bring_your_own_robot.md
task.contract, task.model                  # what policies are held to; the compiled MJCF

A file may say `extends: franka_pose` (or the path of another file) and then only what differs: whole fields, and
of the robot single ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, cast

import mujoco
from pydantic import Field, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from sim2real.contract import Contract, Timing
from sim2real.errors import ShoalError, problems, raise_all, shown
from sim2real.files import read_yaml
from sim2real.frozen import Frozen
from sim2real.randomisation.config import Randomisation
from sim2real.robots.config import RobotConfig
from sim2real.robots.description import describe_robot
from sim2real.robots.home import Home, home_of
from sim2real.robots.mjcf import compiled
from sim2real.robots.robot import Robot
from sim2real.robots.servos import robot_spec
from sim2real.tasks.measurability import unmeasurable
from sim2real.tasks.shipped import task_file
from sim2real.terms import Action, Feature, Goal, Reading, Reset, Scene, Termination, any_of
from sim2real.terms.actions import JointPositionIncrement
from sim2real.terms.reset import FreeBody
from sim2real.world.map import Map

_T = TypeVar("_T")
TASK_NAME = r"^[a-z][a-z0-9_]*$"
EXTENDS = "extends"
"""Field of a task file that names another task, whose fields hold where the file says nothing else."""


class TaskConfig(Frozen):
    """The whole YAML file: a list of terms. `sim2real schema` prints its JSON schema for editors."""

    name: Annotated[str, Field(pattern=TASK_NAME, max_length=100)]
    robot: RobotConfig
    readings: Annotated[list[any_of(Reading)], Field(min_length=1)]  # type: ignore[valid-type]
    """What the policy is told, in the order of its observation."""
    teacher_readings: list[any_of(Reading)] = Field(default_factory=list)  # type: ignore[valid-type]
    """What critic and teacher are told besides, be it measurable or not."""
    map: Map | None = None
    """A maze around the robot."""
    estimators: dict[str, str] = Field(default_factory=dict)
    """Readings that no sensor measures, and what estimates them on the robot, in words."""
    features: list[any_of(Feature)] = Field(default_factory=list)  # type: ignore[valid-type]
    """What else follows from the readings and is worth seeing."""
    action: any_of(Action) = JointPositionIncrement()  # type: ignore[valid-type]
    goal: any_of(Goal)  # type: ignore[valid-type]
    timing: Timing
    resets: Annotated[list[any_of(Reset)], Field(min_length=1)]  # type: ignore[valid-type]
    """How an episode begins, one step after the other."""
    terminations: list[any_of(Termination)] = Field(default_factory=list)  # type: ignore[valid-type]
    """When it is over before its time."""
    randomisation: Randomisation = Randomisation()
    """How simulated robots differ from the model, unless a run says otherwise: a preset's name, or terms of its own.
    No part of the contract: a policy may be served whatever it was trained to bear."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A file that extends another need not be complete."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        schema["properties"][EXTENDS] = {"type": "string", "description": "Name or path of the task to begin with."}
        schema["anyOf"] = [{"required": [EXTENDS]}, {"required": schema.pop("required")}]
        return schema

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """One limit per joint."""
        joints, limits = len(self.robot.joints), self.robot.velocity_max
        if len(limits) != joints:
            raise ValueError(f"robot.velocity_max has {len(limits)} entries for {joints} joints; give one for each")
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
        return robot_spec(self.mjcf_path, robot.servos(), tool=robot.end_effector_site, map=self.config.map)

    @cached_property
    def home(self) -> Home:
        """Where the whole model stands at home."""
        return home_of(self.config.robot, self.model)[0]

    @cached_property
    def contract(self) -> Contract:
        """The contract that every policy for this task is held to."""
        return build_contract(self.config, self.model)

    @cached_property
    def teacher_contract(self) -> Contract:
        """The contract with the readings of teacher and critic behind the policy's: what their networks are made for.

        The very same where there are none.
        """
        if not self.config.teacher_readings:
            return self.contract
        more = tuple(
            reading.model_copy(update={"source": reading.source or "simulation"})
            for reading in (term.completed(self.scene) for term in self.config.teacher_readings)
        )
        try:
            return Contract.model_validate(
                self.contract.model_dump() | {"readings": [r.model_dump() for r in (*self.contract.readings, *more)]}
            )
        except ValidationError as error:
            raise ShoalError(f"task {self.config.name}: teacher_readings: {problems(error)}.") from error

    @cached_property
    def scene(self) -> Scene:
        """The model and the robot in it, as terms see them."""
        timing = self.contract.timing
        return Scene(self.model, self.contract.robot, self.home.qpos, timing.control_dt_s, self.config.map)

    @property
    def for_evaluation(self) -> Task:
        """The same task with the starts and goals that policies are judged by, where its map says others."""
        if self.config.map is None or self.config.map.evaluation is None:
            return self
        return Task(self.config.model_copy(update={"map": self.config.map.for_evaluation}), self.folder)


def load_task(name_or_path: str | Path) -> Task:
    """Load a task by name, or a YAML file by path. Raises `ShoalError` on anything invalid.

    Names are those of shipped tasks, and of the tasks of other packages (entry points of the group `shoal.tasks`).
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = task_file(str(name_or_path))
    if not path.is_file():
        raise ShoalError(f"task: no file at {path}.")
    return Task(_validate(_read(path, extended_by=[]), path), path.parent.resolve())


def _read(path: Path, *, extended_by: list[Path]) -> Any:
    """The fields of a task file, with those of the task that it extends where it says nothing else."""
    data = read_yaml(path, what="task")
    if not isinstance(data, dict) or EXTENDS not in data:
        return data
    name, own = data[EXTENDS], {key: value for key, value in data.items() if key != EXTENDS}
    if not isinstance(name, str):
        raise ShoalError(
            f"task {path.name}: {EXTENDS}: {shown(name)} is no task; give a name or the path of a .yaml file."
        )
    base = path.parent / name if name.endswith((".yaml", ".yml")) else task_file(name)
    if base.exists() and not base.is_file():
        raise ShoalError(f"task {path.name}: {EXTENDS}: {base} is no ordinary file; name a task or a .yaml file.")
    way = [*extended_by, path.resolve()]
    if base.resolve() in way:
        raise ShoalError(f"task {path.name}: {EXTENDS}: {name} extends this file itself; name another task.")
    fields = _read(base, extended_by=way)
    if not isinstance(fields, dict):
        raise ShoalError(f"task {path.name}: {EXTENDS}: {name} is no task file.")
    robot = fields.get("robot")
    if isinstance(robot, dict) and isinstance(robot.get("mjcf"), str):
        robot["mjcf"] = str((base.parent / robot["mjcf"]).resolve())
        if isinstance(own.get("robot"), dict):
            own["robot"] = robot | own["robot"]
    return fields | own


def _validate(data: Any, path: Path) -> TaskConfig:
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
    placed = [reset.body for reset in config.resets if isinstance(reset, FreeBody)]
    bodies = [mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name) for name in placed]
    robot, home, said = describe_robot(config.robot, model, placed=[body for body in bodies if body >= 0])
    known = cast(Robot, _Undescribed()) if robot is None else robot
    scene = Scene(model, known, home.qpos, config.timing.control_dt_s, config.map)
    readings = _complete_readings(config, scene, said)
    refused = [] if robot is None else [f"robot.joints: {refusal}" for refusal in config.action.refusals(robot)]
    said += refused
    action = None if refused else _tried(said, lambda: config.action.completed(scene))
    goal = None if readings is None else _tried(said, lambda: config.goal.completed(scene, readings))
    raise_all(list(dict.fromkeys(said)), what=f"task {config.name}")
    assert robot is not None
    assert readings is not None
    return Contract(
        task=config.name,
        robot=robot,
        readings=readings,
        features=tuple(config.features),
        action=action,
        goal=goal,
        terminations=tuple(config.terminations),
        map=config.map,
        timing=config.timing,
    )


def _complete_readings(config: TaskConfig, scene: Scene, said: list[str]) -> tuple[Reading, ...] | None:
    """What the policy is told, with all that follows from the model, None where some of it does not; `said` gets the
    complaints of these and all other terms that name something of the model.

    What an estimator is declared for comes from there, whatever else could have told it.
    """
    found = [_tried(said, partial(term.completed, scene)) for term in config.readings]
    for term in (*config.resets, *config.terminations):
        _tried(said, partial(term.require, scene))
    for term in config.teacher_readings:
        _tried(said, partial(term.completed, scene))
    readings = [reading for reading in found if reading is not None]
    if len(readings) < len(found):
        return None
    readings = [r.model_copy(update={"source": "estimator"}) if r.name in config.estimators else r for r in readings]
    said += unmeasurable(readings, config.estimators)
    return tuple(readings)


class _NotDescribed(Exception):
    """A term asked about a robot about which there are complaints."""


class _Undescribed:
    """Stands for a robot that cannot be described: what a term says of the model alone is said all the same."""

    def __getattr__(self, name: str) -> Any:
        raise _NotDescribed(name)


def _tried(said: list[str], make: Callable[[], _T]) -> _T | None:
    """What `make` gives; None where it has a complaint, which is added to `said`."""
    try:
        return make()
    except ShoalError as error:
        said.append(str(error).rstrip("."))
    except _NotDescribed:
        pass
    return None
