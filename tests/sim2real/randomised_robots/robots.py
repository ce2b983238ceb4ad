"""One robot for every term: the first is the model's, each other one differs from it in one thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sim2real.randomisation.config import TERMS
from sim2real.randomised_robots.sampling import Draws, neutral_draws
from sim2real.tasks.task import Task, load_task
from tests.sim2real.planar_arm import MJCF, write_task

CHANGES: dict[str, dict[str, Any]] = {
    "link_mass_scale": {"link_mass_scale": 1.5},
    "link_inertia_scale": {"link_inertia_scale": 2.0},
    "link_com_offset_m": {"link_com_offset_m": 0.05},
    "payload_mass_kg": {"payload_mass_kg": 0.8},
    "payload_offset_m": {"payload_mass_kg": 0.8, "payload_offset_m": 0.1},
    "armature_scale": {"armature_scale": 2.0},
    "damping_scale": {"damping_scale": 5.0},
    "friction_loss_scale": {"friction_loss_scale": 5.0},
    "friction_loss_add_nm": {"friction_loss_add_nm": 0.5},
    "servo_stiffness_scale": {"servo_stiffness_scale": 0.5},
    "servo_damping_scale": {"servo_damping_scale": 0.3},
    "effort_limit_scale": {"effort_limit_scale": 0.05},
    "gravity_scale": {"gravity_scale": 2.0},
    "gravity_tilt_rad": {"gravity_tilt_rad": 0.3},
    "joint_offset_rad": {"joint_offset_rad": 0.05},
    "joint_position_noise_std_rad": {"joint_position_noise_std_rad": 0.02},
    "joint_velocity_noise_std_rad_s": {"joint_velocity_noise_std_rad_s": 0.1},
    "joint_velocity_bias_rad_s": {"joint_velocity_bias_rad_s": 0.2},
    "tool_position_noise_std_m": {"tool_position_noise_std_m": 0.01},
    "tool_position_bias_m": {"tool_position_bias_m": 0.02},
    "tool_orientation_noise_std_rad": {"tool_orientation_noise_std_rad": 0.05},
    "tool_orientation_bias_rad": {"tool_orientation_bias_rad": 0.1},
    "observation_delay_s": {"observation_delay_s": 0.03},
    "observation_jitter_s": {"observation_jitter_s": 0.03},
    "dropped_reading_probability": {"dropped_reading_probability": 0.5},
    "action_delay_s": {"action_delay_s": 0.03},
    "action_jitter_s": {"action_jitter_s": 0.03},
    "actuator_lag_s": {"actuator_lag_s": 0.05},
    "target_speed_scale": {"target_speed_scale": 0.2},
    "push_force_n": {"push_force_n": 5.0, "push_interval_s": 0.2},
    "push_duration_s": {"push_force_n": 5.0, "push_interval_s": 0.2, "push_duration_s": 0.2},
    "push_interval_s": {"push_force_n": 5.0, "push_interval_s": 0.1},
}
"""Only `friction_scale` is missing: it acts where something touches, and this arm touches nothing."""
assert set(CHANGES) == set(TERMS) - {"friction_scale"}


def heavy_arm(folder: Path) -> Task:
    """The planar arm standing upright, so that gravity loads its joints, with gravity compensation and friction."""
    mjcf = MJCF.replace('axis="0 0 1"', 'axis="0 1 0" damping="0.3" frictionloss="0.1"')
    for name in ("upper", "lower"):
        mjcf = mjcf.replace(f'<body name="{name}"', f'<body name="{name}" gravcomp="1"')
    return load_task(write_task(folder, mjcf=mjcf))


def one_robot_per_term(task: Task) -> Draws:
    """`[1 + len(CHANGES)]` robots."""
    draws = neutral_draws(task, count=1 + len(CHANGES))
    for row, changes in enumerate(CHANGES.values(), start=1):
        for name, value in changes.items():
            getattr(draws, name)[row] = value
    return draws


def swinging(step: int, robots: int) -> np.ndarray:
    """The same actions for all robots in control step `step`, `[N, 2]`."""
    return np.repeat(np.array([[np.sin(0.4 * step), np.cos(0.7 * step)]], np.float32), robots, axis=0)
