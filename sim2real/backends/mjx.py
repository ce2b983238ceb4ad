"""MuJoCo in JAX (MJX), many arms on a GPU: the backend for teachers.

A rollout is one jitted program: policy, physics, resets and goal resampling, with nothing on the host. The
implementation is always named (`impl="jax"`), because MJX chooses by device otherwise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco import mjx

from sim2real.backends import xla
from sim2real.backends.base import ApplyPolicy, Rollout
from sim2real.backends.mjx_disturbances import MjxDisturbances
from sim2real.backends.mjx_support import mjx_refusals
from sim2real.contract.interface import achieved, command, goal_vector, observe
from sim2real.errors import ShoalError, raise_all
from sim2real.randomisation.robots import Robots
from sim2real.randomisation.sampling import Draws
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.goal_pool import GoalPool, mix_in_wide_starts, sample_goal_pool, wild_goals
from sim2real.tasks.task import Task

_POOL_SIZE = 16_384
_KEPT = ("qpos", "qvel", "qacc_warmstart", "time")
"""Fields of mjx.Data that the next step depends on; the rest is recomputed."""


class _State(NamedTuple):
    data: Any
    target: jax.Array
    goal_position: jax.Array
    goal_orientation: jax.Array
    step: jax.Array
    key: jax.Array
    disturbed: Any
    """`mjx_disturbances.Disturbed`, or None where all arms are as the model describes them."""


def put_model(model: mujoco.MjModel) -> Any:
    """The model on the device; refuses what MJX would silently leave out or cannot do."""
    raise_all(mjx_refusals(model), what="backend mjx")
    try:
        return mjx.put_model(model, impl="jax")
    except NotImplementedError as error:
        raise ShoalError(f"backend: MJX cannot simulate this MJCF: {error}. Use --backend native.") from error


class MjxEnvironment:
    """N arms in MJX. See `sim2real.backends.base.Environment`."""

    def __init__(
        self,
        task: Task,
        *,
        num_envs: int,
        seed: int,
        pool: GoalPool | None = None,
        wild_goal_share: float = 0.0,
        continue_share: float = 0.0,
        wide_start_share: float = 0.0,
        resample: bool = True,
        draws: Draws | None = None,
        keep_robots: bool = False,
    ) -> None:
        self.contract = task.contract
        self.num_envs = num_envs
        self.robots = Robots.of(task, draws, num_envs=num_envs, seed=seed, keep=keep_robots)
        self.pool = pool if pool is not None else sample_goal_pool(task, size=_POOL_SIZE, seed=seed)
        self._wild_goal_share, self._continue_share = wild_goal_share, continue_share
        self._pool_goals = jnp.asarray(self.pool.goal_position), jnp.asarray(self.pool.tool_orientation)
        self._resample = resample
        self._starts = jnp.asarray(mix_in_wide_starts(task, self.pool, share=wide_start_share, seed=seed))
        model = self.robots.dynamics.model if self.robots else task.model
        self._addresses = Addresses.of(model, self.contract)
        self._model = put_model(model)
        self._disturbances = MjxDisturbances(self._model, self._addresses, self.robots) if self.robots else None
        template = mjx.make_data(model, impl="jax").replace(ctrl=jnp.asarray(self._addresses.rest_ctrl, jnp.float32))
        self._data = jax.tree.map(lambda x: jnp.repeat(x[None], num_envs, axis=0), template)
        self._fractions = jnp.arange(1, self.contract.timing.substeps + 1) / self.contract.timing.substeps
        self._compiled: dict[tuple[int, int], Any] = {}
        self._options: Any = {"compiler_options": xla.mjx_compiler_options()}
        self._jit_restart, self._jit_begin = (jax.jit(f, **self._options) for f in (self._restart, self._begin))
        self._state = self._fresh(jax.random.key(seed), self._disturbances.blank() if self._disturbances else None)

    def reset(self) -> None:
        """Start a new episode in every environment."""
        self._state = self._fresh(self._state.key, self._state.disturbed)

    def _fresh(self, key: jax.Array, disturbed: Any) -> _State:
        joints = len(self.contract.robot.joints)
        blank = _State(
            self._data,
            jnp.zeros((self.num_envs, joints)),
            jnp.zeros((self.num_envs, 3)),
            jnp.zeros((self.num_envs, 4)),
            jnp.zeros(self.num_envs, jnp.int32),
            key,
            disturbed,
        )
        everywhere = jnp.ones(self.num_envs, bool)
        fresh: _State = self._jit_restart(blank, everywhere, everywhere)
        return fresh

    def place(self, start: np.ndarray, position: np.ndarray, orientation: np.ndarray) -> None:
        """Begin an episode in every environment from given starts `[N, S]`, as of `GoalPool.start`, to goals `[N, 3]`
        and `[N, 4]`.
        """
        everywhere = jnp.ones(self.num_envs, bool)
        self._state = self._jit_begin(
            self._state, everywhere, everywhere, *(jnp.asarray(x, jnp.float32) for x in (start, position, orientation))
        )

    def _draw_fresh(self, state: _State) -> jax.Array:
        """Which arms would start anew rather than continue where they are, `[N]` bool."""
        return jax.random.uniform(jax.random.fold_in(state.key, 1), (self.num_envs,)) >= self._continue_share

    def _restart(self, state: _State, done: jax.Array, fresh: jax.Array) -> _State:
        """New goals where `done`, `[N]` bool, and new starts where `fresh` as well."""
        key, start_key, goal_key, wild_key = jax.random.split(state.key, 4)
        size, shape = len(self._pool_goals[0]), (self.num_envs,)
        index = jnp.arange(self.num_envs)
        begin, goal = index % size, (index + self.num_envs) % size
        if self._resample:
            begin, goal = (jax.random.randint(key, shape, 0, size) for key in (start_key, goal_key))
        start = self._starts[begin]
        position, orientation = (values[goal] for values in self._pool_goals)
        if self._wild_goal_share > 0:
            choice_key, uniform_key, normal_key = jax.random.split(wild_key, 3)
            draws = jax.random.uniform(uniform_key, (*shape, 3)), jax.random.normal(normal_key, (*shape, 4))
            wild = (jax.random.uniform(choice_key, shape) < self._wild_goal_share)[:, None]
            pair = zip(wild_goals(jnp, self.contract, *draws), (position, orientation), strict=True)
            position, orientation = (jnp.where(wild, new, old) for new, old in pair)
        return self._begin(state._replace(key=key), done, done & fresh, start, position, orientation)

    def _begin(
        self,
        state: _State,
        done: jax.Array,
        moved: jax.Array,
        start: jax.Array,
        position: jax.Array,
        orientation: jax.Array,
    ) -> _State:
        joints = start[:, : len(self._addresses.qpos)]
        at_start = self._data.replace(qpos=self._addresses.qpos_of(jnp, start).astype(self._data.qpos.dtype))

        def choose(where: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(where.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        fields = {name: choose(moved, getattr(at_start, name), getattr(state.data, name)) for name in _KEPT}
        data = jax.vmap(mjx.kinematics, in_axes=(None, 0))(self._model, state.data.replace(**fields))
        disturbed, target = state.disturbed, joints
        if self._disturbances is not None:
            disturbed, target = self._disturbances.begin(state.disturbed, moved, joints)
        return _State(
            data,
            choose(moved, target, state.target),
            choose(done, position, state.goal_position),
            choose(done, orientation, state.goal_orientation),
            choose(done, jnp.zeros_like(state.step), state.step),
            state.key,
            disturbed,
        )

    def _readings(self, state: _State) -> dict[str, jax.Array]:
        """What the policies see, by name."""
        truth = self._true_readings(state)
        return truth if self._disturbances is None else truth | self._disturbances.sense(state.disturbed)

    def _true_readings(self, state: _State) -> dict[str, jax.Array]:
        a, data = self._addresses, state.data
        thing = {} if a.object is None else {"object_position": data.xpos[:, a.object.body]}
        return thing | {
            "joint_position": a.joint_position(data.qpos),
            "joint_velocity": a.joint_velocity(data.qvel),
            "joint_position_target": state.target,
            "end_effector_position": data.site_xpos[:, a.site],
            "end_effector_orientation": a.tool_orientation(jnp, data.xquat),
        }

    def readings(self) -> dict[str, np.ndarray]:
        """The present readings of every arm as its policy gets them, float32, by name."""
        return {name: np.asarray(value) for name, value in self._readings(self._state).items()}

    def true_readings(self) -> dict[str, np.ndarray]:
        """The same without noise, bias and delay."""
        return {name: np.asarray(value) for name, value in self._true_readings(self._state).items()}

    def goals(self) -> tuple[np.ndarray, np.ndarray]:
        """The commanded positions `[N, 3]` m and orientations `[N, 4]` wxyz."""
        return np.asarray(self._state.goal_position), np.asarray(self._state.goal_orientation)

    def set_goals(self, ids: np.ndarray, position: np.ndarray, orientation: np.ndarray) -> None:
        """Give environments `ids` `[n]` other goals, `[n, 3]` m and `[n, 4]` wxyz, in the middle of their episodes."""
        state = self._state
        self._state = state._replace(
            goal_position=state.goal_position.at[ids].set(position),
            goal_orientation=state.goal_orientation.at[ids].set(orientation),
        )

    def _advance(self, state: _State, target: jax.Array) -> _State:
        """One control step: the servo targets move linearly, one increment per physics step."""
        if self._disturbances is not None:
            return self._advance_disturbed(state, target, self._disturbances)

        def substep(data: Any, fraction: jax.Array) -> tuple[Any, None]:
            moved = self._addresses.control(state.target + (target - state.target) * fraction)
            ctrl = data.ctrl.at[:, self._addresses.actuator].set(moved)
            return jax.vmap(mjx.step, in_axes=(None, 0))(self._model, data.replace(ctrl=ctrl)), None

        data, _ = jax.lax.scan(substep, state.data, self._fractions)
        data = jax.vmap(mjx.kinematics, in_axes=(None, 0))(self._model, data)
        return state._replace(data=data, target=target, step=state.step + 1)

    def _advance_disturbed(self, state: _State, target: jax.Array, disturbances: MjxDisturbances) -> _State:
        """The same for arms that differ, whose commands and readings are disturbed on their way."""
        targets = state.target[:, None] + (target - state.target)[:, None] * self._fractions[None, :, None]
        servo, disturbed, force = disturbances.before(state.disturbed, targets)
        models, axes = disturbances.models(disturbed)

        def substep(data: Any, moved: jax.Array) -> tuple[Any, tuple[jax.Array, jax.Array]]:
            ctrl = data.ctrl.at[:, self._addresses.actuator].set(self._addresses.control(moved))
            data = jax.vmap(mjx.step, in_axes=(axes, 0))(models, data.replace(ctrl=ctrl))
            return data, (self._addresses.joint_position(data.qpos), self._addresses.joint_velocity(data.qvel))

        data = state.data if force is None else state.data.replace(xfrc_applied=force)
        data, past = jax.lax.scan(substep, data, jnp.moveaxis(servo, 1, 0))
        disturbed = disturbances.after(disturbed, *(jnp.moveaxis(values, 0, 1) for values in past))
        data = jax.vmap(mjx.kinematics, in_axes=(None, 0))(self._model, data)
        return state._replace(data=data, target=target, step=state.step + 1, disturbed=disturbed)

    def _rollout(self, state: _State, params: Any, key: jax.Array, apply: ApplyPolicy, steps: int) -> Any:
        def one(state: _State, index: jax.Array) -> tuple[_State, Rollout]:
            truth, readings = self._true_readings(state), self._readings(state)
            observation = observe(jnp, self.contract, readings)
            done = achieved(jnp, self.contract, truth)
            goal = goal_vector(jnp, self.contract, state.goal_position, state.goal_orientation)
            action = apply(params, observation, goal, jax.random.fold_in(key, index))
            state = self._advance(state, command(jnp, self.contract, action, readings))
            last = state.step >= self.contract.timing.episode_steps
            # Kinematics of restarted arms costs as much as keeping it for all; lax.cond skips the common case.
            state = jax.lax.cond(last.any(), lambda s: self._restart(s, last, self._draw_fresh(s)), lambda s: s, state)
            return state, Rollout(observation, done, goal, action, last)

        return jax.lax.scan(one, state, jnp.arange(steps))

    def rollout(self, apply: ApplyPolicy, params: Any, key: Any, steps: int) -> Rollout:
        """Advance all environments by `steps` control steps under a JAX policy."""
        name = (id(apply), steps)
        if name not in self._compiled:
            jitted = jax.jit(
                lambda state, params, key: self._rollout(state, params, key, apply, steps), **self._options
            )
            self._compiled[name] = (jitted, apply)
        self._state, rollout = self._compiled[name][0](self._state, params, key)
        return Rollout(*rollout)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Physics, targets, goals, step counts and the random key."""
        state = self._state
        fields = {name: getattr(state.data, name) for name in _KEPT}
        fields |= {"target": state.target, "goal_position": state.goal_position, "step": state.step}
        fields |= {"goal_orientation": state.goal_orientation, "key": jax.random.key_data(state.key)}
        if self._disturbances is not None:
            fields |= self._disturbances.state_dict(state.disturbed)
        return {name: np.asarray(value) for name, value in fields.items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continue from `state_dict()`."""
        device = {name: jnp.asarray(value) for name, value in state.items()}
        data = self._data.replace(**{name: device[name] for name in _KEPT})
        kinematics = jax.jit(jax.vmap(mjx.kinematics, in_axes=(None, 0)), **self._options)
        self._state = _State(
            kinematics(self._model, data),
            device["target"],
            device["goal_position"],
            device["goal_orientation"],
            device["step"],
            jax.random.wrap_key_data(device["key"]),
            self._disturbances.from_state_dict(device) if self._disturbances else None,
        )
