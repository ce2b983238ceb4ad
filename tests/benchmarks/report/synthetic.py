"""A report's content without any training: an arm that moves smoothly to each goal, and made-up scores."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from benchmarks.report.page import Content
from benchmarks.report.recording import Geometry, Recording, Visit
from sim2real.evaluation.success import EpisodeErrors
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import load_task


def recording(goals: int, seed: int = 0) -> Recording:
    task = load_task("franka_pose")
    model, data = task.model, mujoco.MjData(task.model)
    addresses, geometry = Addresses.of(model, task.contract.robot), Geometry(model)
    pool = sample_goal_pool(task, size=goals, seed=seed)
    q = np.array([joint.home_position for joint in task.contract.robot.joints])
    columns: dict[str, list[Any]] = {"segments": [], "position": [], "orientation": [], "distance": [], "angle": []}
    visits = []
    for index in range(goals):
        start, first = q, len(columns["segments"])
        # The last goal is missed, as some are in life.
        missed = index == goals - 1
        for s in np.linspace(0, 1, 36):
            q = start + (pool.joint_position[index] - start) * (s * s * (3 - 2 * s)) * (0.8 if missed else 1.0)
            data.qpos[addresses.qpos] = q
            mujoco.mj_kinematics(model, data)
            orientation = np.zeros(4)
            mujoco.mju_mat2Quat(orientation, data.site_xmat[addresses.site])
            columns["segments"].append(geometry.ends(data))
            columns["position"].append(data.site_xpos[addresses.site].copy())
            columns["orientation"].append(orientation)
            columns["distance"].append(np.linalg.norm(columns["position"][-1] - pool.goal[index, :3]))
            cosine = min(1.0, abs(float(orientation @ pool.goal[index, 3:])))
            columns["angle"].append(2 * np.degrees(np.arccos(cosine)))
        visits.append(
            Visit(
                tuple(pool.goal[index, :3].tolist()),
                tuple(pool.goal[index, 3:].tolist()),
                first,
                None if missed else first + 30,
            )
        )
    radius, colour = geometry.looks(model)
    rng = np.random.default_rng(seed)
    return Recording(
        control_dt_s=0.04,
        radius=radius,
        colour=colour,
        segments=np.stack(columns["segments"]),
        tool_position=np.stack(columns["position"]),
        tool_orientation=np.stack(columns["orientation"]),
        distance_m=np.array(columns["distance"]),
        angle_deg=np.array(columns["angle"]),
        reachability=rng.uniform(size=len(columns["angle"])),
        tick_us=rng.gamma(9.0, 6.0, len(columns["angle"])),
        visits=tuple(visits),
        tolerance_m=0.05,
    )


def errors(episodes: int, scale_m: float, seed: int) -> EpisodeErrors:
    rng = np.random.default_rng(seed)
    position, angle = rng.gamma(2.0, scale_m, (100, episodes)), rng.gamma(2.0, 150 * scale_m, (100, episodes))
    coarse = (position[-1] <= 0.05) & (angle[-1] <= 20)
    return EpisodeErrors(
        position, angle, np.ones_like(position, bool), coarse, (position[-1] <= 0.02) & (angle[-1] <= 8)
    )


RUN = {
    "quick": False,
    "seed": 0,
    "rate_hz": 25.0,
    "hold_s": 0.5,
    "tolerance": {
        "coarse": {"position_m": 0.05, "angle_deg": 20.0},
        "fine": {"position_m": 0.02, "angle_deg": 8.0},
    },
    "contract_sha256": "0123456789abcdef" * 4,
    "file": "runs/demo/student.onnx",
    "example_goal_m": [0.5, 0.1, 0.4],
    "wall_s": {"train_teacher": 431.2, "distill": 96.4, "evaluate": 14.1, "serve": 49.9, "total": 591.6},
    "machine": {"processor": "test processor", "cores": "2"},
}
EXPORT = {
    "parameters": 34_567,
    "max_abs_error": 4.8e-07,
    "samples": 10_000,
    "nodes": 58,
    "opset": 21,
    "bytes": 164_000,
    "sha256": "fedcba9876543210" * 4,
    "tick_us_p50": 24.0,
    "tick_us_p99": 70.0,
}
REACHABILITY = {
    "expected_calibration_error": 0.0417,
    "auroc": 0.9731,
    "episodes": 257,
    "reached_share": 0.56,
}
TICK_US = {"p50": 61.0, "p99": 148.0, "p999": 402.0, "max": 980.0}
SERVED = {
    "goals_sent": 25,
    "goals_reached": 23,
    "median_time_s": 1.38,
    "ticks": 1043,
    "missed_periods": 0,
    "tick_us": TICK_US,
    "loop_us": {name: 5 * value for name, value in TICK_US.items()},
}


def scores(found: EpisodeErrors) -> dict[str, Any]:
    return {
        "episodes": len(found.coarse),
        "success_coarse": float(found.coarse.mean()),
        "success_fine": float(found.fine.mean()),
        "time_at_goal": 0.7113,
        "position_error_m": float(np.median(found.position_m[-1])),
        "angle_error_deg": float(np.median(found.angle_deg[-1])),
    }


def content(*, goals: int = 4, episodes: int = 256, task: str = "franka_pose") -> Content:
    by_policy = {
        "teacher": errors(episodes, 0.006, 1),
        "student": errors(episodes, 0.007, 2),
        "onnx": errors(episodes, 0.007, 3),
    }
    scored = {name: scores(found) for name, found in by_policy.items()}
    summary = RUN | {
        "task": task,
        "teacher": {**scored["teacher"], "parameters": 654_321, "actor_parameters": 96_543, "actor_depth": 16},
        "student": {**scored["student"], "parameters": 34_567, "hidden_layers": 2},
        "export": {**scored["onnx"], **EXPORT},
        "reachability": REACHABILITY,
        "runtime": SERVED,
    }
    curve = [
        {"updates": float(u), "success_coarse": 1 - np.exp(-u / 3000), "success_fine": 1 - np.exp(-u / 7000)}
        for u in range(0, 12_001, 1000)
    ]
    targets = np.random.default_rng(4).uniform([0.25, -0.5, 0.05], [0.7, 0.5, 0.7], (episodes, 3))
    return Content(summary, curve, curve, by_policy, targets, recording(goals))
