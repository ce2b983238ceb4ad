"""What happens to signals on their way: readings age, are noisy, biased or lost; commands arrive late at drives that
lag and saturate; somebody pushes. Written once for NumPy and JAX, so that both simulation backends do the same.

One control step, of S physics steps:

    readings = disturbances.sense(...)        # what the policy sees: the robot some physics steps ago, noise, bias
    command  = policy(readings)               # a new target
    servo    = disturbances.actuate(...)      # what the servos get in each of the S physics steps
    robot moves S physics steps under `servo` and `disturbances.push(...)`
    signals  = disturbances.measured(...)     # the robot's new past

Encoders age by physics steps, and what the robot computes from them, a tool's pose say, is computed from what they
tell. All other sensors age by whole control steps.

Shapes: `N` environments, `J` joints, `S` physics steps of a control step, `H` and `K` physics steps of the past, `C`
control steps of the past, `M` numbers of all that is measured (`Contract.measured`), `R` of those that are neither
encoders nor computed from them.
`xp` is the array namespace, `numpy` or `jax.numpy`. Signals are float32.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from sim2real.randomised_robots import delay
from sim2real.randomised_robots.noise import normal, uniform
from sim2real.randomised_robots.sampling import Draws
from sim2real.rotations import quaternion_product, rotation_vector_quaternion
from sim2real.tasks.task import Task
from sim2real.terms import Layout, Reading
from sim2real.terms.joints import JointPosition, JointVelocity
from sim2real.terms.poses import Orientation, Position

Array = Any
"""A NumPy or JAX array; which one follows `xp`."""

_STREAMS = (
    "position",
    "velocity",
    "tool_position",
    "tool_orientation",
    "observation_delay",
    "dropped",
    "action_delay",
    "push",
    "push_direction",
    "others",
)
_SENSED = (
    "joint_offset_rad",
    "joint_position_noise_std_rad",
    "joint_velocity_noise_std_rad_s",
    "joint_velocity_bias_rad_s",
    "tool_position_noise_std_m",
    "tool_position_bias_m",
    "tool_orientation_noise_std_rad",
    "tool_orientation_bias_rad",
    "observation_delay_s",
    "observation_jitter_s",
    "dropped_reading_probability",
)
"""Terms that make readings differ from the truth."""


class Signals(NamedTuple):
    """What wires, filters and clocks hold at the beginning of a control step."""

    position: Array
    """`[N, H, J]` rad, true joint positions at the last H physics steps, oldest first."""
    velocity: Array
    """`[N, H, J]` rad/s, likewise."""
    target: Array
    """`[N, K, J]` rad, targets sent at the last K physics steps, oldest first."""
    servo: Array
    """`[N, J]` rad, the target that each drive follows by now."""
    others: Array
    """`[N, C, R]`, other sensors at the last C control steps, oldest first."""
    seen: Array
    """`[N, M]`, what the policy saw last."""


class Disturbances:
    """Functions of one task, for robots that differ as `draws` do. `robots` are always the rows now in simulation."""

    def __init__(self, task: Task, draws: Draws, *, seed: int, num_envs: int) -> None:
        self.contract, self._seed, self._envs = task.contract, seed, num_envs
        self._readings = {r.name: r for r in task.contract.readings if r.name in task.contract.measured.sizes}
        chains = {name: reading.from_joints(task.scene) for name, reading in self._readings.items()}
        self._chains = {name: chain for name, chain in chains.items() if chain is not None}
        encoders = {name for name, r in self._readings.items() if isinstance(r, JointPosition | JointVelocity)}
        self._measured = task.contract.measured
        self._others = Layout.of(
            {name: r.size for name, r in self._readings.items() if name not in encoders and name not in self._chains}
        )
        self._active = set(draws.active)
        timing = task.contract.timing
        self._physics_dt, self._control_dt = timing.physics_dt_s, timing.control_dt_s
        self._positions = np.array([joint.mode == "position" for joint in task.contract.robot.joints], np.float32)
        """1 for drives that are told positions."""
        self._speed_max = np.array([joint.velocity_max for joint in task.contract.robot.joints], np.float32)
        self.observation_steps, self.action_steps = (
            int(delay.steps_of(np, (value + jitter).max(), self._physics_dt))
            for value, jitter in (
                (draws.observation_delay_s, draws.observation_jitter_s),
                (draws.action_delay_s, draws.action_jitter_s),
            )
        )
        """Physics steps of the longest delays, H - 1 and K - 1."""
        self._late_steps = int(
            delay.steps_of(np, np.float64(self.observation_steps * self._physics_dt), self._control_dt)
        )

    @property
    def senses(self) -> bool:
        """Whether readings differ from the truth at all."""
        noisy = any(self._readings[name].noise_std > 0 for name in self._others.sizes)
        return noisy or bool(self._active & set(_SENSED))

    @property
    def pushes(self) -> bool:
        """Whether anything pushes."""
        return "push_force_n" in self._active

    def begin(self, xp: ModuleType, robots: Draws, start: Array, truth: dict[str, Array]) -> Signals:
        """Signals of robots that have rested at `start` `[N, J]` for long, where all readings are `truth`."""
        start = xp.asarray(start, dtype=xp.float32)
        biased = start + robots.joint_offset_rad
        told = self.contract.robot.at_rest(xp, biased)
        length, rest = self.observation_steps + 1, xp.zeros_like(start)
        others = self._joined(xp, self._others, truth, len(start))
        signals = Signals(
            delay.full_of(xp, start, length),
            delay.full_of(xp, rest, length),
            delay.full_of(xp, told, self.action_steps + 1),
            told,
            delay.full_of(xp, others, self._late_steps + 1),
            xp.zeros((len(start), self._measured.size), dtype=xp.float32),
        )
        return self.seen(xp, signals, truth | self._of_encoders(xp, biased, rest))

    @staticmethod
    def _joined(xp: ModuleType, layout: Layout, values: dict[str, Array], count: int) -> Array:
        parts = [values[name] for name in layout.sizes]
        # One column of zeros where there is nothing: checkpoints take no empty arrays.
        return xp.concatenate(parts, axis=-1) if parts else xp.zeros((count, 1), dtype=xp.float32)

    def _of_encoders(self, xp: ModuleType, position: Array, velocity: Array) -> dict[str, Array]:
        """What the robot knows from its joints' positions and velocities, by name."""
        found = {}
        for name, reading in self._readings.items():
            if isinstance(reading, JointPosition):
                found[name] = position
            elif isinstance(reading, JointVelocity):
                found[name] = velocity
            elif name in self._chains:
                found[name] = self._chains[name](xp, position)
        return found

    def sense(self, xp: ModuleType, robots: Draws, signals: Signals, tick: Array) -> dict[str, Array]:
        """What the policy sees in control step `tick`, by name, of all that is measured."""
        steps = self._steps(xp, robots.observation_delay_s, robots.observation_jitter_s, "observation", tick)
        position = delay.read(xp, signals.position, steps) + robots.joint_offset_rad
        velocity = delay.read(xp, signals.velocity, steps) + robots.joint_velocity_bias_rad_s
        joints = position.shape[1]
        position = position + self._noise(xp, "position", robots.joint_position_noise_std_rad, tick, joints)
        velocity = velocity + self._noise(xp, "velocity", robots.joint_velocity_noise_std_rad_s, tick, joints)
        readings = self._of_encoders(xp, position, velocity) | self._late(xp, signals, steps, tick)
        readings = {name: self._miscalibrated(xp, name, value, robots, tick) for name, value in readings.items()}
        if "dropped_reading_probability" not in self._active:
            return readings
        lost = self._uniform(xp, "dropped", tick, 1) < robots.dropped_reading_probability[:, None]
        last = self._measured.split(signals.seen)
        return {name: xp.where(lost, last[name], value) for name, value in readings.items()}

    def _late(self, xp: ModuleType, signals: Signals, steps: Array, tick: Array) -> dict[str, Array]:
        """Other sensors, some control steps late and with the noise that their readings state."""
        if not self._others.size:
            return {}
        late = delay.steps_of(xp, steps * np.float32(self._physics_dt), self._control_dt)
        values = delay.read(xp, signals.others, xp.minimum(late, self._late_steps))
        spread = np.concatenate(
            [np.full(size, self._readings[name].noise_std, np.float32) for name, size in self._others.sizes.items()]
        )
        if spread.any():
            stream = _STREAMS.index("others")
            values = values + spread * normal(xp, self._seed, stream, tick, self._envs, self._others.size)
        return self._others.split(values)

    def _miscalibrated(self, xp: ModuleType, name: str, value: Array, robots: Draws, tick: Array) -> Array:
        """The errors of a pose that the robot computes from its joints, on top of theirs."""
        reading: Reading = self._readings[name]
        if name not in self._chains or reading.frame != "world":
            return value
        if isinstance(reading, Position):
            noise = self._noise(xp, "tool_position", robots.tool_position_noise_std_m, tick, 3)
            return value + robots.tool_position_bias_m + noise
        turned = self._active & {"tool_orientation_bias_rad", "tool_orientation_noise_std_rad"}
        if isinstance(reading, Orientation) and turned:
            noise = self._noise(xp, "tool_orientation", robots.tool_orientation_noise_std_rad, tick, 3)
            error = rotation_vector_quaternion(xp, robots.tool_orientation_bias_rad + noise)
            return quaternion_product(xp, error, value)
        return value

    def seen(self, xp: ModuleType, signals: Signals, readings: dict[str, Array]) -> Signals:
        """Remember what the policy saw, in case the next reading is lost."""
        return signals._replace(seen=self._joined(xp, self._measured, readings, len(signals.seen)))

    def actuate(
        self, xp: ModuleType, robots: Draws, signals: Signals, targets: Array, tick: Array
    ) -> tuple[Array, Signals]:
        """What the servos get while targets `[N, S, J]` rad are sent: `[N, S, J]` rad in true joint positions."""
        targets = targets.astype(xp.float32)
        steps = self._steps(xp, robots.action_delay_s, robots.action_jitter_s, "action", tick)
        arrived = delay.delayed(xp, signals.target, targets, steps) if self.action_steps else targets
        servo = self._follow(xp, robots, signals.servo, arrived)
        sent = signals._replace(target=delay.shifted(xp, signals.target, targets), servo=servo[:, -1])
        # A servo reads the same encoder as the policy, so it goes where that encoder says.
        return servo - self._positions * robots.joint_offset_rad[:, None], sent

    def _follow(self, xp: ModuleType, robots: Draws, servo: Array, targets: Array) -> Array:
        """Drives that follow targets `[N, S, J]` with a lag and no faster than they can."""
        if not self._active & {"actuator_lag_s", "target_speed_scale"}:
            return targets
        share = 1 - xp.exp(-np.float32(self._physics_dt) / xp.maximum(robots.actuator_lag_s, np.float32(1e-9)))
        limit = robots.target_speed_scale * self._speed_max * np.float32(self._physics_dt)
        limit = xp.where(self._positions > 0, limit, np.float32(np.inf))
        path = []
        for index in range(targets.shape[1]):
            move = share * (targets[:, index] - servo)
            if "target_speed_scale" in self._active:
                move = xp.minimum(xp.maximum(move, -limit), limit)
            servo = servo + move
            path.append(servo)
        return xp.stack(path, axis=1)

    def measured(
        self, xp: ModuleType, signals: Signals, position: Array, velocity: Array, truth: dict[str, Array]
    ) -> Signals:
        """Take in the joints' true motion in the S physics steps, `[N, S, J]`, and all readings after them."""
        new = (position.astype(xp.float32), velocity.astype(xp.float32))
        moved = [delay.shifted(xp, old, x) for old, x in zip((signals.position, signals.velocity), new, strict=True)]
        others = self._joined(xp, self._others, truth, len(position))
        return signals._replace(
            position=moved[0], velocity=moved[1], others=delay.shifted(xp, signals.others, others[:, None])
        )

    def push(self, xp: ModuleType, robots: Draws, tick: Array) -> Array:
        """Force on the body that carries the tool during control step `tick`, `[N, 3]` N in the world."""
        length = xp.maximum(delay.steps_of(xp, robots.push_duration_s, self._control_dt), 1)
        window = xp.asarray(tick).astype(xp.int32) // length
        chance = robots.push_duration_s / robots.push_interval_s
        active = self._uniform(xp, "push", window, 1)[:, 0] < chance
        direction = normal(xp, self._seed, _STREAMS.index("push_direction"), window, self._envs, 3)
        direction = direction / xp.sqrt((direction * direction).sum(axis=-1, keepdims=True))
        return xp.where(active, robots.push_force_n, xp.float32(0))[:, None] * direction

    def _steps(self, xp: ModuleType, shortest: Array, jitter: Array, kind: str, tick: Array) -> Array:
        """The present delay in physics steps, `[N]` int32."""
        if f"{kind}_jitter_s" in self._active:
            shortest = shortest + jitter * self._uniform(xp, f"{kind}_delay", tick, 1)[:, 0]
        steps = delay.steps_of(xp, shortest, self._physics_dt)
        # The longest delay was found in double precision, and rounding may differ by a step.
        return xp.minimum(steps, self.observation_steps if kind == "observation" else self.action_steps)

    def _noise(self, xp: ModuleType, stream: str, std: Array, tick: Array, width: int) -> Array:
        terms = {
            "position": "joint_position_noise_std_rad",
            "velocity": "joint_velocity_noise_std_rad_s",
            "tool_position": "tool_position_noise_std_m",
            "tool_orientation": "tool_orientation_noise_std_rad",
        }
        if terms[stream] not in self._active:
            return xp.float32(0)
        return std[:, None] * normal(xp, self._seed, _STREAMS.index(stream), tick, self._envs, width)

    def _uniform(self, xp: ModuleType, stream: str, tick: Array, width: int) -> Array:
        # Normals take two streams each, from the same numbering.
        return uniform(xp, self._seed, 2 * _STREAMS.index(stream), tick, self._envs, width)


def as_float32(draws: Draws) -> Draws:
    """A copy in the precision of signals."""
    return Draws(*(value.astype(np.float32) for value in draws))
