"""C MuJoCo, many robots on threads through `mujoco.batch`: the CPU default, and the independent engine that
judges policies trained elsewhere.

Within a control step the servo targets move linearly from the old target to the new one, one increment per
physics step, as a robot's own interpolator does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import mujoco
import mujoco.batch
import numpy as np

from sim2real.actuators.models import Drive
from sim2real.backends.base import ApplyPolicy, OfTask, Rollout, Settings
from sim2real.backends.native_disturbances import NativeDisturbances
from sim2real.backends.native_drive import NativeDrive, require_joints, require_own_servos, without_servos
from sim2real.backends.stages import needed_stage
from sim2real.contract import Contract
from sim2real.contract.interface import achieved, command, goal_vector, observe, request_size
from sim2real.randomised_robots.sampling import Draws
from sim2real.tasks.task import Task
from sim2real.terms import Simulated

Act = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""`act(observation [N, D], goal [N, G]) -> action [N, J]`."""

_STAGES = {
    "position": int(mujoco.mjtStage.mjSTAGE_POS),
    "velocity": int(mujoco.mjtStage.mjSTAGE_VEL),
    "acceleration": int(mujoco.mjtStage.mjSTAGE_ACC),
}


_IDLE = (
    mujoco.mjtDisableBit.mjDSBL_CONSTRAINT | mujoco.mjtDisableBit.mjDSBL_CONTACT | mujoco.mjtDisableBit.mjDSBL_SENSOR
)
"""What nobody has to compute to know where bodies are."""


class _Bound:
    """Fields of a batch by attribute, `[N, ...]`."""

    def __init__(self, batch: mujoco.batch.Batch) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> np.ndarray:
        bound: np.ndarray = self._batch.bind(name)
        setattr(self, name, bound)
        return bound


class NativeEnvironment(OfTask):
    """N robots in C MuJoCo. See `sim2real.backends.base.Environment`."""

    def __init__(
        self,
        task: Task,
        *,
        num_envs: int,
        seed: int,
        draws: Draws | None = None,
        drive: Drive | None = None,
        threads: int = 0,
        **settings: Unpack[Settings],
    ) -> None:
        """`drive` replaces the MJCF's position servos by a torque model; physics then goes through Python each step."""
        super().__init__(task, num_envs=num_envs, seed=seed, draws=draws, **settings)
        self._make_batch(self._described, drive, draws, threads)
        self._stage = _STAGES[needed_stage(self.teacher_contract)]
        self._rng = np.random.default_rng(seed)
        self._jitted: dict[int, Any] = {}
        joints = len(self.contract.robot.joints)
        self._target = np.zeros((num_envs, joints), np.float32)
        # A drive takes the servos away, by which a scene finds the joints; all else stays where it was.
        self._sim = Simulated(self._scene, self._fields, self._target)
        self._goal = np.zeros((num_envs, request_size(self.contract)), np.float32)
        self._step = np.zeros(num_envs, np.int64)
        self.terminated = np.zeros(num_envs, bool)
        """Which of the episodes that the last `advance` ended were over before their time, `[N]`."""
        self._fractions = (np.arange(self.contract.timing.substeps) + 1.0) / self.contract.timing.substeps
        self._control = np.tile(self._addresses.rest_ctrl, (num_envs, self.contract.timing.substeps, 1))
        self._bind_all_fields()
        self._disturbed: NativeDisturbances | None = None
        if self.robots:
            self._disturbed = NativeDisturbances(self._batch, self._addresses, self.robots, self.true_readings())
        self.reset()

    def _make_batch(self, model: mujoco.MjModel, drive: Drive | None, draws: Draws | None, threads: int) -> None:
        if drive is not None:
            require_own_servos(draws)
            require_joints(self.contract)
            model = without_servos(model, self._addresses)
        self._batch = mujoco.batch.Batch(model, nsim=self.num_envs, nthread=threads)
        self._flags = self._batch.expand("opt.disableflags")
        self._drive = NativeDrive(self._batch, self._addresses, drive) if drive else None
        self._fields = _Bound(self._batch)
        self._qpos, self._qvel = self._fields.qpos, self._fields.qvel

    def _bind_all_fields(self) -> None:
        """Fields are copied out of physics only once they are bound, so that terms have to be asked once before."""
        self.true_readings()
        self._over()

    def _compute(self, ids: np.ndarray | None = None) -> None:
        """What terms ask for, at the present state of environments `ids`, or of all.

        Where bodies are needs neither contacts nor constraints, which physics computes anew in its next step; they
        take more than half of the time.
        """
        if self._stage != _STAGES["position"]:
            self._batch.forward(ids, stage=self._stage)
            return
        flags = int(self._described.opt.disableflags)
        self._flags[:] = flags | int(_IDLE)
        try:
            self._batch.forward(ids, stage=self._stage)
        finally:
            self._flags[:] = flags

    def reset(self) -> None:
        """Start a new episode in every environment."""
        self._reset(np.arange(self.num_envs), continue_share=0.0)

    def _reset(self, ids: np.ndarray, *, continue_share: float) -> None:
        pool = self._start_pool
        starts, goals = ids % len(pool.start), (ids + self.num_envs) % len(self.pool.goal)
        if self._resample:
            starts = self._rng.integers(len(pool.start), size=len(ids))
            goals = self._rng.integers(len(self.pool.goal), size=len(ids))
        goal = self.pool.goal[goals]
        if self._out_of_distribution_goal_share > 0:
            wild = self._rng.random(len(ids)) < self._out_of_distribution_goal_share
            draws = self._rng.random(goal.shape), self._rng.normal(size=goal.shape)
            goal = np.where(wild[:, None], self.contract.goal.between(np, self.contract, *draws, grown=1.4), goal)
        fresh = self._rng.random(len(ids)) >= continue_share if continue_share > 0 else np.ones(len(ids), bool)
        fresh |= self.terminated[ids]
        self._goal[ids], self._step[ids] = goal, 0
        rows = starts[fresh]
        self.place(ids[fresh], pool.start[rows], goal[fresh], velocity=pool.start_velocity[rows])

    def place(
        self, ids: np.ndarray, start: np.ndarray, goal: np.ndarray, *, velocity: np.ndarray | float = 0.0
    ) -> None:
        """Begin episodes in environments `ids` from given starts `[n, nq]`, at rest or with velocities `[n, nv]`, to
        given requests `[n, K]`.
        """
        if not len(ids):
            return
        self._batch.reset(ids, stage=int(mujoco.mjtStage.mjSTAGE_NONE))
        self._qpos[ids], self._qvel[ids] = start, velocity
        joints = self._addresses.joint_position(start)
        self._target[ids] = self.contract.robot.at_rest(np, joints)
        self._goal[ids], self._step[ids], self.terminated[ids] = goal, 0, False
        if self._drive is not None:
            self._drive.begin(ids)
        if self._disturbed is not None:
            self._disturbed.install_next(ids)
        self._compute(ids)
        if self._disturbed is not None:
            self._target[ids] = self._disturbed.begin(ids, joints, self.true_readings())

    def readings(self) -> dict[str, np.ndarray]:
        """The present readings of every robot as its policy gets them, float32, by name."""
        return self._sensed(self.true_readings())

    def _sensed(self, truth: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return truth if self._disturbed is None else truth | self._disturbed.sense()

    def true_readings(self) -> dict[str, np.ndarray]:
        """Readings without noise, bias and delay, and those that only a teacher gets."""
        return self._truth(self.teacher_contract)

    def _truth(self, contract: Contract) -> dict[str, np.ndarray]:
        """A contract's readings without noise, bias and delay."""
        self._sim.target = self._target
        return self._sim.values(np, contract.readings)

    def _over(self) -> np.ndarray:
        """Which episodes a termination ends, `[N]` bool."""
        over = np.zeros(self.num_envs, bool)
        for term in self.contract.terminations:
            over |= term.over(np, self._sim)
        return over

    def goals(self) -> np.ndarray:
        """The requests in force, `[N, K]`."""
        return self._goal

    def set_goals(self, ids: np.ndarray, goal: np.ndarray) -> None:
        """Give environments `ids` `[n]` other requests `[n, K]` in the middle of their episodes."""
        self._goal[ids] = goal

    def advance(self, target: np.ndarray) -> np.ndarray:
        """One control step towards joint targets `[N, J]`; returns which episodes ended, `[N]` bool.

        Ended episodes are not restarted here; `rollout` does that. `terminated` tells which were over early.
        """
        previous = self._target.astype(np.float64)
        moves = previous[:, None] + (target - previous)[:, None] * self._fractions[:, None]
        record: tuple[str, ...] = ()
        if self._disturbed is not None:
            moves, record = self._disturbed.before(moves)
        self._control[:, :, self._addresses.actuator] = self._addresses.control(moves)
        if self._drive is not None:
            past = self._drive.advance(moves)
        else:
            past = self._batch.rollout(
                self._control.shape[1], self._control, control_spec=int(mujoco.mjtState.mjSTATE_CTRL), record=record
            )
        self._compute()
        self._target = np.asarray(target, np.float32).copy()
        if self._disturbed is not None:
            self._disturbed.after(past, self.true_readings())
        self._step += 1
        self.terminated = self._over()
        return (self._step >= self.contract.timing.episode_steps) | self.terminated

    def rollout_with(self, act: Act, steps: int) -> Rollout:
        """Run `rollout` with any callable on NumPy arrays as the policy."""
        columns: tuple[list[np.ndarray], ...] = ([], [], [], [], [], [])
        for _ in range(steps):
            truth = self._truth(self._seen)
            readings = self._sensed(truth)
            observation = observe(np, self._seen, readings).astype(np.float32)
            done = achieved(np, self.contract, truth)
            goal = goal_vector(np, self.contract, self._goal)
            action = np.asarray(act(observation, goal))
            last = self.advance(command(np, self.contract, action, readings))
            row = (observation, done.astype(np.float32), goal.astype(np.float32), action, last, self.terminated)
            for column, value in zip(columns, row, strict=True):
                column.append(value.copy())
            if last.any():
                self._reset(np.flatnonzero(last), continue_share=self._continue_share)
        return Rollout(*(np.stack(column) for column in columns))

    def rollout(self, apply: ApplyPolicy, params: Any, key: Any, steps: int) -> Rollout:
        """Advance all environments by `steps` control steps under a JAX policy."""
        import jax

        if id(apply) not in self._jitted:
            self._jitted[id(apply)] = (jax.jit(lambda p, o, g, k, t: apply(p, o, g, jax.random.fold_in(k, t))), apply)
        jitted = self._jitted[id(apply)][0]
        counter = iter(range(steps))
        return self.rollout_with(lambda o, g: np.asarray(jitted(params, o, g, key, next(counter))), steps)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Physics, targets, goals, step counts and the random generator."""
        disturbed = {} if self._disturbed is None else self._disturbed.state_dict()
        driven = {} if self._drive is None else {"effort": self._drive.effort_nm.copy()}
        return (
            disturbed
            | driven
            | {
                "qpos": self._qpos.copy(),
                "qvel": self._qvel.copy(),
                "qacc_warmstart": self._batch.bind("qacc_warmstart").copy(),
                "time": self._batch.bind("time").copy(),
                "target": self._target.copy(),
                "goal": self._goal.copy(),
                "step": self._step.copy(),
                "rng": _pack_rng(self._rng),
            }
        )

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continue from `state_dict()`."""
        self._qpos[:], self._qvel[:] = state["qpos"], state["qvel"]
        self._batch.bind("qacc_warmstart")[:] = state["qacc_warmstart"]
        self._batch.bind("time")[:] = state["time"]
        self._target = state["target"].copy()
        self._goal = state["goal"].copy()
        self._step = state["step"].copy()
        _unpack_rng(self._rng, state["rng"])
        if self._disturbed is not None:
            self._disturbed.load_state_dict(state)
        if self._drive is not None:
            self._drive.effort_nm = state["effort"].copy()
        self._compute()


def _pack_rng(rng: np.random.Generator) -> np.ndarray:
    """PCG64's two 128-bit integers and its cached half word, as 32-bit words."""
    state = rng.bit_generator.state
    numbers = [state["state"]["state"], state["state"]["inc"]]
    words = [(number >> (32 * i)) & 0xFFFFFFFF for number in numbers for i in range(4)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.uint32)


def _unpack_rng(rng: np.random.Generator, words: np.ndarray) -> None:
    values = [int(word) for word in words]
    state: dict[str, Any] = dict(rng.bit_generator.state)
    state["state"] = {
        name: sum(values[4 * block + i] << (32 * i) for i in range(4)) for block, name in enumerate(("state", "inc"))
    }
    state["has_uint32"], state["uinteger"] = values[8], values[9]
    rng.bit_generator.state = state
