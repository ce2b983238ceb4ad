"""MuJoCo in JAX (MJX), many robots on a GPU: the backend for teachers.

A rollout is one jitted program: policy, physics, resets and goal resampling, with nothing on the host. The
implementation is always named (`impl="jax"`), because MJX chooses by device otherwise.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from sim2real.backends import xla
from sim2real.backends.base import ApplyPolicy, OfTask, Rollout, Settings
from sim2real.backends.mjx_disturbances import MjxDisturbances
from sim2real.backends.mjx_library import mjx, step
from sim2real.backends.mjx_support import mjx_refusals
from sim2real.backends.stages import needed_stage
from sim2real.contract.interface import achieved, command, goal_vector, observe, request_size
from sim2real.errors import ShoalError, raise_all
from sim2real.randomised_robots.sampling import Draws
from sim2real.tasks.task import Task
from sim2real.terms import Simulated

_KEPT = ("qpos", "qvel", "qacc_warmstart", "time")
"""Fields of mjx.Data that the next step depends on; the rest is recomputed."""


class _State(NamedTuple):
    data: Any
    target: jax.Array
    goal: jax.Array
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


class MjxEnvironment(OfTask):
    """N robots in MJX. See `sim2real.backends.base.Environment`."""

    def __init__(
        self, task: Task, *, num_envs: int, seed: int, draws: Draws | None = None, **settings: Unpack[Settings]
    ) -> None:
        super().__init__(task, num_envs=num_envs, seed=seed, draws=draws, **settings)
        self._goals, starts = jnp.asarray(self.pool.goal), self._start_pool
        self._starts = tuple(jnp.asarray(x, jnp.float32) for x in (starts.start, starts.start_velocity))
        self._model = put_model(self._described)
        # Kinematics alone is far cheaper, and enough for what most terms ask for.
        self._sense = mjx.kinematics if needed_stage(self.teacher_contract) == "position" else mjx.forward
        self._disturbances = MjxDisturbances(self._model, self._addresses, self.robots) if self.robots else None
        template = mjx.make_data(self._described, impl="jax")
        template = template.replace(ctrl=jnp.asarray(self._addresses.rest_ctrl, jnp.float32))
        self._data = jax.tree.map(lambda x: jnp.repeat(x[None], num_envs, axis=0), template)
        self._fractions = jnp.arange(1, self.contract.timing.substeps + 1) / self.contract.timing.substeps
        self._compiled: dict[tuple[int, int], Any] = {}
        self._options: Any = {"compiler_options": xla.mjx_compiler_options()}
        self._jit_restart, self._jit_begin = (jax.jit(f, **self._options) for f in (self._restart, self._begin))
        blank = self._blank(jax.random.key(seed), None)
        if self._disturbances:
            blank = blank._replace(disturbed=self._disturbances.blank(self._true_readings(blank)))
        self._state = self._anew(blank)

    def reset(self) -> None:
        """Start a new episode in every environment."""
        self._state = self._anew(self._blank(self._state.key, self._state.disturbed))

    def _blank(self, key: jax.Array, disturbed: Any) -> _State:
        """Before the first start."""
        return _State(
            self._data,
            jnp.zeros((self.num_envs, len(self.contract.robot.joints))),
            jnp.zeros((self.num_envs, request_size(self.contract))),
            jnp.zeros(self.num_envs, jnp.int32),
            key,
            disturbed,
        )

    def _anew(self, state: _State) -> _State:
        everywhere = jnp.ones(self.num_envs, bool)
        fresh: _State = self._jit_restart(state, everywhere, everywhere)
        return fresh

    def place(self, start: np.ndarray, goal: np.ndarray) -> None:
        """Begin an episode in every environment from given starts `[N, nq]`, at rest, to given requests `[N, K]`."""
        everywhere = jnp.ones(self.num_envs, bool)
        values = [jnp.asarray(x, jnp.float32) for x in (start, np.zeros((self.num_envs, self._model.nv)), goal)]
        self._state = self._jit_begin(self._state, everywhere, everywhere, *values)

    def _draw_fresh(self, state: _State) -> jax.Array:
        """Which arms would start anew rather than continue where they are, `[N]` bool."""
        return jax.random.uniform(jax.random.fold_in(state.key, 1), (self.num_envs,)) >= self._continue_share

    def _restart(self, state: _State, done: jax.Array, fresh: jax.Array) -> _State:
        """New goals where `done`, `[N]` bool, and new starts where `fresh` as well."""
        key, start_key, goal_key, wild_key = jax.random.split(state.key, 4)
        count, shape = len(self._goals), (self.num_envs,)
        index = jnp.arange(self.num_envs)
        begin, goal_row = index % count, (index + self.num_envs) % count
        if self._resample:
            begin, goal_row = (jax.random.randint(key, shape, 0, count) for key in (start_key, goal_key))
        start, velocity = (values[begin] for values in self._starts)
        goal = self._goals[goal_row]
        if self._out_of_distribution_goal_share > 0:
            choice_key, uniform_key, normal_key = jax.random.split(wild_key, 3)
            draws = jax.random.uniform(uniform_key, goal.shape), jax.random.normal(normal_key, goal.shape)
            wild = (jax.random.uniform(choice_key, shape) < self._out_of_distribution_goal_share)[:, None]
            goal = jnp.where(wild, self.contract.goal.between(jnp, self.contract, *draws, grown=1.4), goal)
        return self._begin(state._replace(key=key), done, done & fresh, start, velocity, goal)

    def _begin(
        self, state: _State, done: jax.Array, moved: jax.Array, start: jax.Array, velocity: jax.Array, goal: jax.Array
    ) -> _State:
        joints = self._addresses.joint_position(start)
        at_start = self._data.replace(qpos=start, qvel=velocity)

        def choose(where: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(where.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        fields = {name: choose(moved, getattr(at_start, name), getattr(state.data, name)) for name in _KEPT}
        data = jax.vmap(self._sense, in_axes=(None, 0))(self._model, state.data.replace(**fields))
        disturbed, target = state.disturbed, self.contract.robot.at_rest(jnp, joints)
        if self._disturbances is not None:
            truth = self._true_readings(state._replace(data=data, target=choose(moved, target, state.target)))
            disturbed, target = self._disturbances.begin(state.disturbed, moved, joints, truth)
        return _State(
            data,
            choose(moved, target, state.target),
            choose(done, goal, state.goal),
            choose(done, jnp.zeros_like(state.step), state.step),
            state.key,
            disturbed,
        )

    def _readings(self, state: _State) -> dict[str, jax.Array]:
        """What the policies see, by name."""
        truth = self._true_readings(state)
        return truth if self._disturbances is None else truth | self._disturbances.sense(state.disturbed)

    def _true_readings(self, state: _State) -> dict[str, jax.Array]:
        return Simulated(self._scene, state.data, state.target).values(jnp, self.teacher_contract.readings)

    def _over(self, state: _State) -> jax.Array:
        """Which episodes a termination ends, `[N]` bool."""
        sim = Simulated(self._scene, state.data, state.target)
        over = jnp.zeros(self.num_envs, bool)
        for term in self.contract.terminations:
            over = over | term.over(jnp, sim)
        return over

    def readings(self) -> dict[str, np.ndarray]:
        """The present readings of every arm as its policy gets them, float32, by name."""
        return {name: np.asarray(value) for name, value in self._readings(self._state).items()}

    def true_readings(self) -> dict[str, np.ndarray]:
        """Readings without noise, bias and delay."""
        return {name: np.asarray(value) for name, value in self._true_readings(self._state).items()}

    def goals(self) -> np.ndarray:
        """The requests in force, `[N, K]`."""
        return np.asarray(self._state.goal)

    def set_goals(self, ids: np.ndarray, goal: np.ndarray) -> None:
        """Give environments `ids` `[n]` other requests `[n, K]` in the middle of their episodes."""
        self._state = self._state._replace(goal=self._state.goal.at[ids].set(goal))

    def _advance(self, state: _State, target: jax.Array) -> _State:
        """One control step: the servo targets move linearly, one increment per physics step."""
        if self._disturbances is not None:
            return self._advance_disturbed(state, target, self._disturbances)

        def substep(data: Any, fraction: jax.Array) -> tuple[Any, None]:
            moved = self._addresses.control(state.target + (target - state.target) * fraction)
            ctrl = data.ctrl.at[:, self._addresses.actuator].set(moved)
            return jax.vmap(step, in_axes=(None, 0))(self._model, data.replace(ctrl=ctrl)), None

        data, _ = jax.lax.scan(substep, state.data, self._fractions)
        data = jax.vmap(self._sense, in_axes=(None, 0))(self._model, data)
        return state._replace(data=data, target=target, step=state.step + 1)

    def _advance_disturbed(self, state: _State, target: jax.Array, disturbances: MjxDisturbances) -> _State:
        """Advance robots that differ, whose commands and readings are disturbed on their way."""
        targets = state.target[:, None] + (target - state.target)[:, None] * self._fractions[None, :, None]
        servo, disturbed, force = disturbances.before(state.disturbed, targets)
        models, axes = disturbances.models(disturbed)

        def substep(data: Any, moved: jax.Array) -> tuple[Any, tuple[jax.Array, jax.Array]]:
            ctrl = data.ctrl.at[:, self._addresses.actuator].set(self._addresses.control(moved))
            data = jax.vmap(step, in_axes=(axes, 0))(models, data.replace(ctrl=ctrl))
            return data, (self._addresses.joint_position(data.qpos), self._addresses.joint_velocity(data.qvel))

        data = state.data if force is None else state.data.replace(xfrc_applied=force)
        data, past = jax.lax.scan(substep, data, jnp.moveaxis(servo, 1, 0))
        data = jax.vmap(self._sense, in_axes=(None, 0))(self._model, data)
        state = state._replace(data=data, target=target, step=state.step + 1)
        position, velocity = (jnp.moveaxis(values, 0, 1) for values in past)
        return state._replace(disturbed=disturbances.after(disturbed, position, velocity, self._true_readings(state)))

    def _rollout(self, state: _State, params: Any, key: jax.Array, apply: ApplyPolicy, steps: int) -> Any:
        def one(state: _State, index: jax.Array) -> tuple[_State, Rollout]:
            truth, readings = self._true_readings(state), self._readings(state)
            observation = observe(jnp, self._seen, readings)
            done = achieved(jnp, self.contract, truth)
            goal = goal_vector(jnp, self.contract, state.goal)
            action = apply(params, observation, goal, jax.random.fold_in(key, index))
            state = self._advance(state, command(jnp, self.contract, action, readings))
            over = self._over(state)
            last = (state.step >= self.contract.timing.episode_steps) | over
            # Kinematics of restarted arms costs as much as keeping it for all; lax.cond skips the common case.
            state = jax.lax.cond(
                last.any(), lambda s: self._restart(s, last, self._draw_fresh(s) | over), lambda s: s, state
            )
            return state, Rollout(observation, done, goal, action, last, over)

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
        fields |= {"target": state.target, "goal": state.goal, "step": state.step}
        fields |= {"key": jax.random.key_data(state.key)}
        if self._disturbances is not None:
            fields |= self._disturbances.state_dict(state.disturbed)
        return {name: np.asarray(value) for name, value in fields.items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continue from `state_dict()`."""
        device = {name: jnp.asarray(value) for name, value in state.items()}
        data = self._data.replace(**{name: device[name] for name in _KEPT})
        sense = jax.jit(jax.vmap(self._sense, in_axes=(None, 0)), **self._options)
        self._state = _State(
            sense(self._model, data),
            device["target"],
            device["goal"],
            device["step"],
            jax.random.wrap_key_data(device["key"]),
            self._disturbances.from_state_dict(device) if self._disturbances else None,
        )
