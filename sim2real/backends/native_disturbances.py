"""Different robots and disturbed signals in `NativeEnvironment`: fields through `Batch.expand`, the rest in NumPy."""

from __future__ import annotations

import mujoco.batch
import numpy as np

from sim2real.randomised_robots.disturbances import Signals
from sim2real.randomised_robots.robots import Robots
from sim2real.robots.kinematics import Addresses


class NativeDisturbances:
    """What the environment calls before and after physics. `N` environments, `J` joints, `S` physics steps."""

    def __init__(
        self, batch: mujoco.batch.Batch, addresses: Addresses, robots: Robots, truth: dict[str, np.ndarray]
    ) -> None:
        self._robots, self._addresses = robots, addresses
        self._disturbances, self._dynamics = robots.disturbances, robots.dynamics
        self._fields = {name: batch.expand(name) for name in self._dynamics.fields}
        self._qpos, self._qvel, self._force = batch.bind("qpos"), batch.bind("qvel"), batch.bind("xfrc_applied")
        self._forced = self._dynamics.gravity_error_m_s2 is not None or self._disturbances.pushes
        self._starts = np.full(robots.num_envs, -1, np.int64)
        self._tick = 0
        blank = np.zeros((robots.num_envs, len(addresses.dof)), np.float32)
        self._now = robots.signal_draws.rows(np.zeros(robots.num_envs, np.int64))
        self._weight = np.zeros((robots.num_envs, self._dynamics.model.nbody, 6))
        self._signals = self._disturbances.begin(np, self._now, blank, truth)

    @property
    def index(self) -> np.ndarray:
        """The robot that each environment simulates, `[N]`."""
        return np.asarray(self._robots.index(np, np.maximum(self._starts, 0)))

    def install_next(self, ids: np.ndarray) -> None:
        """Give environments `ids` their next robots."""
        self._starts[ids] += 1
        self._install(ids)

    def begin(self, ids: np.ndarray, start: np.ndarray, truth: dict[str, np.ndarray]) -> np.ndarray:
        """Begin with those robots at rest at `start` `[n, J]`, where the readings of all are `truth`; their targets,
        `[n, J]`.
        """
        there = {name: value[ids] for name, value in truth.items()}
        begun = self._disturbances.begin(np, self._now.rows(ids), start, there)
        signals = Signals(*(value.copy() for value in self._signals))
        for old, new in zip(signals, begun, strict=True):
            old[ids] = new
        self._signals = signals
        return np.asarray(begun.servo)

    def _install(self, ids: np.ndarray) -> None:
        rows = self.index[ids]
        for name, values in self._dynamics.fields.items():
            self._fields[name][ids] = values[rows]
        self._weight[ids] = self._dynamics.external_force(rows)
        self._now = self._robots.signal_draws.rows(self.index)

    def sense(self) -> dict[str, np.ndarray]:
        """What the policies see, by name; empty where that is the truth."""
        if not self._disturbances.senses:
            return {}
        return self._disturbances.sense(np, self._now, self._signals, np.uint32(self._tick))

    def before(self, targets: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """What the servos get `[N, S, J]` while `targets` are sent, and the fields to record meanwhile."""
        tick = np.uint32(self._tick)
        if self._disturbances.senses:
            self._signals = self._disturbances.seen(np, self._signals, self.sense())
        if self._forced:
            self._force[:] = self._weight
            if self._disturbances.pushes:
                self._force[:, self._addresses.body, :3] += self._disturbances.push(np, self._now, tick)
        servo, self._signals = self._disturbances.actuate(np, self._now, self._signals, targets, tick)
        return servo, ("qpos", "qvel") if self._disturbances.observation_steps else ()

    def after(self, past: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> None:
        """Take in the joints' motion, recorded or as it ended, and all readings after it; count the control step."""
        position = past["qpos"] if "qpos" in past else self._qpos[:, None]
        velocity = past["qvel"] if "qvel" in past else self._qvel[:, None]
        moved = (self._addresses.joint_position(position), self._addresses.joint_velocity(velocity))
        self._signals = self._disturbances.measured(np, self._signals, *moved, truth)
        self._tick += 1

    def state_dict(self) -> dict[str, np.ndarray]:
        """Which robots, what their wires hold, and the time that noise depends on."""
        signals = {f"signals_{name}": value.copy() for name, value in self._signals._asdict().items()}
        return signals | {"robot_starts": self._starts.copy(), "tick": np.array(self._tick)}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continue from `state_dict()`."""
        self._starts, self._tick = state["robot_starts"].copy(), int(state["tick"])
        self._signals = Signals(*(np.array(state[f"signals_{name}"]) for name in Signals._fields))
        self._install(np.arange(self._robots.num_envs))
