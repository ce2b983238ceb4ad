"""The honest baseline: the same goals, arm, servos and velocity limits, for a policy file and for inverse kinematics.

    python -m benchmarks.policies.ik_baseline models/franka_pose.onnx [--episodes 100] [--quick] [--json PATH]

Differential inverse kinematics is mink's (a quadratic program per control step, solved by daqp): the tool's pose, home
as a weak preference, the joints' ranges, and the policy's own largest step as velocity limit; once more with a lower
gain, and once more with the distances between links and to the floor kept. All of them send joint targets at the
contract's control rate to native MuJoCo, from the same starts to the same goals, which no training has seen.

Time is until a goal is within the fine tolerance and stays there for the contract's hold time. Jerk is that of the
joints, from their velocities at the control rate; the table has the median episode's. Clearance is the smallest
distance of an episode between links that can collide, or to the floor, up to 10 cm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_numbers
from benchmarks.policies.onnx_evaluation import HELD_OUT_SEED, Targets, held_out_environment, policy_targets
from runtime.safety.geometry import self_pairs
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract import Contract
from sim2real.contract.interface import achieved, goal_errors, goal_vector
from sim2real.errors import ShoalError
from sim2real.evaluation.record import Reached
from sim2real.tasks.task import Task

FAR_M = 0.1
"""Distances beyond this are not measured."""
KEPT_M = 0.05
"""What the second inverse kinematics keeps."""
GENTLE = 0.3
"""Gain of the gentler inverse kinematics: the share of the remaining way that a step wants to go."""
_ORIENTATION_COST, _HOME_COST, _DAMPING = 0.3, 1e-3, 1e-4


@dataclass(frozen=True)
class Flown:
    """One episode of every arm, at the control rate."""

    position: np.ndarray
    """`[T, N, J]` rad."""
    velocity: np.ndarray
    """`[T, N, J]` rad/s."""
    error_m: np.ndarray
    """`[T, N]`."""
    error_deg: np.ndarray


def fly(task: Task, targets: Targets, *, episodes: int, seed: int) -> Flown:
    """One episode of every arm, from the same starts to the same goals for equal seeds."""
    env, contract = held_out_environment(task, episodes, seed), task.contract
    request = env.goals().copy()
    goal = goal_vector(np, contract, request)
    columns: tuple[list[np.ndarray], ...] = ([], [], [], [])
    for _ in range(contract.timing.episode_steps):
        env.advance(targets({name: value.copy() for name, value in env.readings().items()}, request))
        truth = env.true_readings()
        errors = goal_errors(contract, achieved(np, contract, truth), goal)
        for column, value in zip(columns, (truth["joint_position"], truth["joint_velocity"], *errors), strict=True):
            column.append(np.broadcast_to(value, (episodes, *np.shape(value)[1:])).copy())
    return Flown(*(np.stack(column) for column in columns))


class InverseKinematics:
    """mink on every arm, each from its own last targets, as it is used on robots with position servos."""

    def __init__(self, task: Task, *, episodes: int, gain: float = 1.0, keep_distance: bool = False) -> None:
        try:
            import mink
        except ImportError as error:
            raise ShoalError("ik_baseline: needs mink and daqp: pip install mink daqp.") from error
        self._mink, self._contract, model = mink, task.contract, task.model
        self._dt_s, self._addresses = task.contract.timing.control_dt_s, task.scene.addresses
        contract = task.contract
        joints, steps = contract.robot.joints, contract.action.step_max
        limits: list[Any] = [
            mink.ConfigurationLimit(model),
            mink.VelocityLimit(model, {j.name: step / self._dt_s for j, step in zip(joints, steps, strict=True)}),
        ]
        if keep_distance:
            pairs = [([first], [second]) for first, second in watched_pairs(task)]
            limits.append(
                mink.CollisionAvoidanceLimit(
                    model, pairs, minimum_distance_from_collisions=KEPT_M, collision_detection_distance=FAR_M
                )
            )
        self._limits = limits
        cost = _ORIENTATION_COST if contract.turns else 0.0
        self._tool = mink.FrameTask(
            str(contract.robot.end_effector_frame), "site", 1.0, cost, gain, lm_damping=_DAMPING
        )
        home = mink.PostureTask(model, _HOME_COST)
        home.set_target(task.scene.home)
        self._tasks = [self._tool, home]
        self._arms = [mink.Configuration(model, q=task.scene.home.copy()) for _ in range(episodes)]
        self._begun = False
        self.unsolved = 0
        """Steps for which no solution was found; the arm then stood still."""

    def __call__(self, readings: dict[str, np.ndarray], request: np.ndarray) -> np.ndarray:
        """See `Targets`."""
        contract, targets = self._contract, []
        split = contract.goal.layout(contract).split(request)
        for index, arm in enumerate(self._arms):
            if not self._begun:
                q = arm.q.copy()
                self._addresses.place(q, readings["joint_position"][index].astype(float))
                arm.update(q)
            turn = split["goal_orientation"][index] if contract.turns else np.array(contract.default_orientation_wxyz)
            self._tool.set_target(
                self._mink.SE3.from_rotation_and_translation(
                    self._mink.SO3(np.asarray(turn, float)), split["goal_position"][index].astype(float)
                )
            )
            try:
                velocity = self._mink.solve_ik(arm, self._tasks, self._dt_s, "daqp", limits=self._limits)
                arm.integrate_inplace(velocity, self._dt_s)
            except self._mink.NoSolutionFound:
                self.unsolved += 1
            targets.append(self._addresses.joint_position(arm.q))
        self._begun = True
        return np.array(targets, np.float32)


def watched_pairs(task: Task) -> list[tuple[int, int]]:
    """Geoms whose distance counts: links that can collide with each other, and those that can reach the floor."""
    model, contract = task.model, task.contract
    first, second = self_pairs(model, contract)
    floors = np.flatnonzero((model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE) & (model.geom_bodyid == 0))
    carried = [g for g in range(model.ngeom) if task.scene.joints_above(int(model.geom_bodyid[g]))[1:]]
    low = [
        (int(floor), geom)
        for floor in floors
        for geom in carried
        if model.geom_contype[floor] & model.geom_conaffinity[geom]
        or model.geom_contype[geom] & model.geom_conaffinity[floor]
    ]
    return [*zip(first.tolist(), second.tolist(), strict=True), *low]


def clearance_m(task: Task, position: np.ndarray) -> np.ndarray:
    """Smallest watched distance of every episode `[N]` m, negative inside each other, from `[T, N, J]` rad."""
    model, pairs = task.model, watched_pairs(task)
    data, from_to = task.scene.addresses.home_data(model), np.zeros(6)
    smallest = np.full(position.shape[1], FAR_M)
    for step, arm in np.ndindex(*position.shape[:2]):
        task.scene.addresses.place(data.qpos, position[step, arm])
        mujoco.mj_kinematics(model, data)
        for first, second in pairs:
            smallest[arm] = min(smallest[arm], mujoco.mj_geomDistance(model, data, first, second, FAR_M, from_to))
    return smallest


def summary(task: Task, flown: Flown) -> dict[str, Any]:
    """The row of the table."""
    contract = task.contract
    goal, dt_s = contract.goal, contract.timing.control_dt_s
    fine = _held(contract, flown, goal.fine_position_m, goal.fine_angle_deg)
    coarse = _held(contract, flown, goal.coarse_position_m, goal.coarse_angle_deg)
    reached = fine[-1]
    first = np.argmax(fine, axis=0) - _hold_steps(contract) + 2
    jerk = np.diff(flown.velocity, n=2, axis=0) / dt_s**2
    clear = clearance_m(task, flown.position)
    record = {
        name: Reached.of(int(held[-1].sum()), held.shape[1]) for name, held in (("fine", fine), ("coarse", coarse))
    }
    return {
        **{name: found.model_dump() | {"text": found.text} for name, found in record.items()},
        "time_s": float(np.median(first[reached]) * dt_s) if reached.any() else None,
        "time_p95_s": float(np.percentile(first[reached], 95) * dt_s) if reached.any() else None,
        "final_error_mm": float(1e3 * np.median(flown.error_m[-1])),
        "final_error_deg": float(np.median(flown.error_deg[-1])),
        "jerk_rms_rad_s3": float(np.median(np.sqrt((jerk**2).mean(axis=(0, 2))))),
        "jerk_peak_rad_s3": float(np.median(np.abs(jerk).max(axis=(0, 2)))),
        "clearance_median_mm": float(1e3 * np.median(clear)),
        "clearance_least_mm": float(1e3 * clear.min()),
        "episodes_that_touch": int((clear <= 0).sum()),
    }


def _hold_steps(contract: Contract) -> int:
    return int(max(1, round(contract.goal.hold_s / contract.timing.control_dt_s)))


def _held(contract: Contract, flown: Flown, most_m: float, most_deg: float) -> np.ndarray:
    """`[T, N]` bool, whether a tolerance has held for the hold time."""
    within = (flown.error_m <= most_m) & (flown.error_deg <= most_deg)
    run = np.zeros(within.shape[1], int)
    held = np.zeros_like(within)
    for step, now in enumerate(within):
        run = np.where(now, run + 1, 0)
        held[step] = run >= _hold_steps(contract)
    return held


@dataclass(frozen=True)
class Arguments:
    """Compare policy files that bring a tool somewhere with inverse kinematics."""

    files: tyro.conf.Positional[tuple[Path, ...]] = (Path("models/franka_pose.onnx"), Path("models/franka_reach.onnx"))
    episodes: int = 100
    seed: int = 0
    quick: bool = False
    """8 episodes."""
    json: JsonFile | None = None
    """Write the rows here too."""


def measure(path: Path, *, episodes: int, seed: int) -> list[dict[str, Any]]:
    """Four rows: the file, inverse kinematics, the same with a lower gain, and the same keeping its distance."""
    task, policy = policy_targets(path, rows=episodes)
    if {part.reading for part in task.contract.goal.parts()} - {"end_effector_position", "end_effector_orientation"}:
        raise ShoalError(f"ik_baseline: {path} does not bring a tool to its goals, which is all that IK can do.")
    kept = f"IK, {1e3 * KEPT_M:.0f} mm kept"
    ways: dict[str, Targets] = {
        "policy": policy,
        "IK": InverseKinematics(task, episodes=episodes),
        f"IK, gain {GENTLE:g}": InverseKinematics(task, episodes=episodes, gain=GENTLE),
        kept: InverseKinematics(task, episodes=episodes, keep_distance=True),
    }
    rows = []
    for name, targets in ways.items():
        found = summary(task, fly(task, targets, episodes=episodes, seed=HELD_OUT_SEED + seed))
        rows.append({"file": str(path), "way": name, "unsolved": getattr(targets, "unsolved", 0)} | found)
    return rows


def main(argv: list[str] | None = None) -> None:
    """Entry point of `python -m benchmarks.policies.ik_baseline`."""
    arguments = tyro.cli(Arguments, args=argv, description=__doc__)
    episodes = 8 if arguments.quick else arguments.episodes
    rows = [row for path in arguments.files for row in measure(path, episodes=episodes, seed=arguments.seed)]
    table = Table(
        *("file", "way", "fine", "time, s", "error, mm", "jerk, rms", "jerk, peak", "clearance, mm", "touch"),
        title=f"{episodes} held-out goals; jerk in rad/s³",
    )
    for row in rows:
        table.add_row(
            Path(row["file"]).name,
            row["way"],
            row["fine"]["text"],
            "-" if row["time_s"] is None else f"{row['time_s']:.2f}",
            f"{row['final_error_mm']:.2f}",
            f"{row['jerk_rms_rad_s3']:.0f}",
            f"{row['jerk_peak_rad_s3']:.0f}",
            f"{row['clearance_median_mm']:.0f}, least {row['clearance_least_mm']:.0f}",
            str(row["episodes_that_touch"]),
        )
    Console(width=150).print(table)
    write_numbers(arguments.json, {"episodes": episodes, "seed": arguments.seed, "rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
