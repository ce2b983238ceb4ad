"""Saving and loading a distilled student."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from pydantic import AfterValidator, ValidationError

from sim2real.contract import Contract, Frozen
from sim2real.contract.interface import goal_size
from sim2real.errors import ShoalError, problems
from sim2real.evaluation.record import EvaluationRecord
from sim2real.files import read_model, write_text, write_yaml
from sim2real.tasks.task import Task
from student.config import DistillConfig
from student.network import ReachabilityHead, StudentParams, StudentPolicy
from student.policy import make_policy, student_inputs, student_observation_size
from teacher.run.checkpoint import Checkpoints, to_host
from teacher.run.folder import RunFolder
from teacher.trained import Teacher


@dataclass(frozen=True)
class Student:
    """A distilled student, as export reads it."""

    task: Task
    contract: Contract
    config: DistillConfig
    policy: StudentPolicy
    params: StudentParams
    evaluation: EvaluationRecord | None = None
    """On held-out goals when it was distilled; None in runs of earlier versions."""


class Source(Frozen):
    """Which teacher a run is distilled from."""

    teacher: Annotated[Path, AfterValidator(Path.resolve)]
    digest: str
    """Of its weights."""
    compare_with: Annotated[Path, AfterValidator(Path.resolve)] | None = None
    """A run without a teacher, which the report holds beside the student."""

    def write(self, folder: RunFolder) -> None:
        """`source.yaml`, for `--resume`."""
        write_yaml(folder.path / "source.yaml", self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: RunFolder) -> Source:
        """The source of a run."""
        path = folder.path / "source.yaml"
        if not path.is_file():
            raise ShoalError(f"{path}: missing, so it is not known from which teacher this run was distilled.")
        return read_model(cls, path, what="the run's source")

    def require(self, teacher: Teacher) -> None:
        """Refuse a teacher that has changed since the run began."""
        if teacher.digest != self.digest:
            raise ShoalError(
                f"{self.teacher}: the teacher's weights have changed since this distillation began "
                f"({self.digest[:12]} then, {teacher.digest[:12]} now); start again with --overwrite."
            )


class TaskOf(Frozen):
    """`task.yaml`, which only the folder of a finished student has."""

    task: str
    """A name or path."""


def save_student(folder: RunFolder, contract: Contract, task: str, params: StudentParams) -> None:
    """Write weights, and the contract with this student's calibration and lineage."""
    Checkpoints(folder.checkpoints, keep=1).save(0, learner=to_host(params)._asdict(), world={"complete": jnp.ones(1)})
    write_text(folder.path / "contract.json", contract.canonical_json)
    write_yaml(folder.path / "task.yaml", TaskOf(task=task).model_dump())


def load_student(run: Path) -> Student:
    """The student of a finished run, its contract checked against today's task."""
    folder = RunFolder(run)
    config, contract = folder.load(DistillConfig)
    task_file = run / "task.yaml"
    if not task_file.is_file():
        raise ShoalError(f"{run}: the distillation here did not finish (task.yaml is missing); run distill again.")
    task = folder.task(read_model(TaskOf, task_file, what="the run's task").task)
    folder.require_contract(task.contract)
    policy = make_policy(contract, config.student)
    restored, _ = Checkpoints(folder.checkpoints, keep=1).restore(learner=_template(contract, policy)._asdict())
    return Student(task, contract, config, policy, StudentParams(**restored), _evaluation(folder))


def _evaluation(folder: RunFolder) -> EvaluationRecord | None:
    if not folder.summary.is_file():
        return None
    found = folder.read_summary().get("evaluation")
    try:
        return None if found is None else EvaluationRecord.model_validate(found)
    except ValidationError as error:
        raise ShoalError(f"{folder.summary}: evaluation: {problems(error)}.") from error


def _template(contract: Contract, policy: StudentPolicy) -> StudentParams:
    observation = jnp.zeros((1, student_observation_size(contract, policy.config)))
    inputs = student_inputs(contract, policy.config, observation, jnp.zeros((1, goal_size(contract))))
    params = policy.init(jax.random.key(0), inputs)
    features = policy.apply(params, inputs, method=StudentPolicy.action)[1]
    head: Any = ReachabilityHead().init(jax.random.key(0), inputs, features)
    return StudentParams(to_host(params), to_host(head))
