"""Different robots and disturbed signals in `MjxEnvironment`: fields through a vmapped model, the rest in JAX."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sim2real.randomised_robots.disturbances import Signals
from sim2real.randomised_robots.robots import Robots
from sim2real.randomised_robots.sampling import Draws
from sim2real.robots.kinematics import Addresses


class Disturbed(NamedTuple):
    """What the next control step depends on. `N` environments."""

    signals: Signals
    starts: jax.Array
    """`[N]` int32, new starts so far, counted from 0; they decide which robot it is."""
    tick: jax.Array
    """`[]` uint32, control steps since the environments were made; noise depends on it."""


class MjxDisturbances:
    """What the environment calls before and after physics. `N` environments, `J` joints, `S` physics steps."""

    def __init__(self, model: Any, addresses: Addresses, robots: Robots) -> None:
        self._model, self._addresses, self._robots = model, addresses, robots
        self._disturbances, self._dynamics = robots.disturbances, robots.dynamics
        self._draws: Draws = jax.tree.map(jnp.asarray, robots.signal_draws)
        self._fields = {name: jnp.asarray(values, jnp.float32) for name, values in self._dynamics.fields.items()}
        self._axes = jax.tree.map(lambda _: None, model).tree_replace(dict.fromkeys(self._fields, 0))
        error = self._dynamics.gravity_error_m_s2
        self._gravity_error = None if error is None else jnp.asarray(error, jnp.float32)

    def blank(self, truth: dict[str, jax.Array]) -> Disturbed:
        """Before the first start, where all readings are `truth`."""
        count = self._robots.num_envs
        now = jax.tree.map(lambda x: x[jnp.zeros(count, jnp.int32)], self._draws)
        signals = self._disturbances.begin(jnp, now, jnp.zeros((count, len(self._addresses.dof))), truth)
        return Disturbed(signals, jnp.full(count, -1, jnp.int32), jnp.uint32(0))

    def _index(self, disturbed: Disturbed) -> jax.Array:
        index: jax.Array = self._robots.index(jnp, jnp.maximum(disturbed.starts, 0))
        return index

    def _now(self, disturbed: Disturbed) -> Draws:
        index = self._index(disturbed)
        now: Draws = jax.tree.map(lambda x: x[index], self._draws)
        return now

    def models(self, disturbed: Disturbed) -> tuple[Any, Any]:
        """The model with the fields of every environment's robot, and `in_axes` for `jax.vmap` over it."""
        index = self._index(disturbed)
        return self._model.tree_replace({name: values[index] for name, values in self._fields.items()}), self._axes

    def begin(
        self, disturbed: Disturbed, moved: jax.Array, start: jax.Array, truth: dict[str, jax.Array]
    ) -> tuple[Disturbed, jax.Array]:
        """Next robots where `moved` `[N]`, at rest at `start` `[N, J]`, their readings `truth`; their targets."""
        disturbed = disturbed._replace(starts=disturbed.starts + moved)
        begun = self._disturbances.begin(jnp, self._now(disturbed), start, truth)

        def choose(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(moved.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        return disturbed._replace(signals=jax.tree.map(choose, begun, disturbed.signals)), begun.servo

    def sense(self, disturbed: Disturbed) -> dict[str, jax.Array]:
        """What the policies see, by name; empty where that is the truth."""
        if not self._disturbances.senses:
            return {}
        return self._disturbances.sense(jnp, self._now(disturbed), disturbed.signals, disturbed.tick)

    def before(self, disturbed: Disturbed, targets: jax.Array) -> tuple[jax.Array, Disturbed, jax.Array | None]:
        """What the servos get `[N, S, J]` rad while `targets` are sent, and external forces `[N, nbody, 6]`, if any."""
        now, signals = self._now(disturbed), disturbed.signals
        if self._disturbances.senses:
            signals = self._disturbances.seen(jnp, signals, self.sense(disturbed))
        force = self._force(disturbed, now)
        servo, signals = self._disturbances.actuate(jnp, now, signals, targets, disturbed.tick)
        return servo, disturbed._replace(signals=signals), force

    def _force(self, disturbed: Disturbed, now: Draws) -> jax.Array | None:
        if self._gravity_error is None and not self._disturbances.pushes:
            return None
        index, model = self._index(disturbed), self._dynamics.model
        force = jnp.zeros((self._robots.num_envs, model.nbody, 6))
        if self._gravity_error is not None:
            mass = self._fields["body_mass"][index] if "body_mass" in self._fields else jnp.asarray(model.body_mass)
            force = force.at[..., :3].set(mass[..., None] * self._gravity_error[index][:, None])
        if self._disturbances.pushes:
            force = force.at[:, self._addresses.body, :3].add(self._disturbances.push(jnp, now, disturbed.tick))
        return force

    def after(
        self, disturbed: Disturbed, position: jax.Array, velocity: jax.Array, truth: dict[str, jax.Array]
    ) -> Disturbed:
        """Take in the joints' motion, `[N, S, J]`, and all readings after it; count the control step."""
        signals = self._disturbances.measured(jnp, disturbed.signals, position, velocity, truth)
        return disturbed._replace(signals=signals, tick=disturbed.tick + jnp.uint32(1))

    def state_dict(self, disturbed: Disturbed) -> dict[str, jax.Array]:
        """Which robots, what their wires hold, and the time that noise depends on."""
        signals = {f"signals_{name}": value for name, value in disturbed.signals._asdict().items()}
        return signals | {"robot_starts": disturbed.starts, "tick": disturbed.tick}

    def from_state_dict(self, state: dict[str, jax.Array]) -> Disturbed:
        """Restore them from `state_dict()`."""
        signals = Signals(*(state[f"signals_{name}"] for name in Signals._fields))
        return Disturbed(signals, state["robot_starts"], state["tick"])
