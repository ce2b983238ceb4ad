"""What terms ask of a model and of a running simulation.

    scene = Scene(model, robot, home, control_dt_s)   # while a task becomes a contract: names, and what moves what
    sim = Simulated(scene, fields, target)            # in a backend: arrays of N environments

`Simulated` reads fields of MuJoCo's data as `[N, ...]` arrays, NumPy's or JAX's, whichever the backend has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from sim2real.errors import ShoalError, closest
from sim2real.rotations import conjugate, quaternion_product, rotate

if TYPE_CHECKING:
    import mujoco

    from sim2real.contract import Robot
    from sim2real.robots.kinematics import Addresses
    from sim2real.terms.reading import Reading
    from sim2real.world.map import Map

WORLD = "world"


class Place(NamedTuple):
    """A site or a body of a model."""

    name: str
    body: int
    """The body itself, or the one that carries the site; 0 is the world."""
    site: int | None


@dataclass(frozen=True)
class Scene:
    """A compiled model, and the robot in it."""

    model: mujoco.MjModel
    robot: Robot
    home: np.ndarray
    """`[nq]`, where everything is at the home posture."""
    control_dt_s: float
    map: Map | None = None
    """The maze around it, where the task has one."""

    def of(self, model: mujoco.MjModel) -> Scene:
        """The scene of the same robot in another model that has the same joints, and maybe more bodies."""
        return Scene(model, self.robot, self.home, self.control_dt_s, self.map)

    @cached_property
    def _found(self) -> dict[tuple[str, str], Any]:
        """What names have been found to be, since terms ask in every step."""
        return {}

    def place(self, name: str, *, field: str) -> Place:
        """The site or body of a name, sites first; `ShoalError` that names `field` where there is none."""
        if (found := self._found.get(("place", name))) is None:
            found = self._found["place", name] = self._find_place(name, field)
        return cast(Place, found)

    def _find_place(self, name: str, field: str) -> Place:
        import mujoco

        site = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_SITE, name)
        if site >= 0:
            return Place(name, int(self.model.site_bodyid[site]), site)
        body = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_BODY, name)
        if body >= 0:
            return Place(name, body, None)
        sites, bodies = (
            [getattr(self.model, kind)(i).name for i in range(count)]
            for kind, count in (("site", self.model.nsite), ("body", self.model.nbody))
        )
        close = closest(name, [*sites, *bodies])
        raise ShoalError(
            f"{field}: the MJCF has no site and no body {name!r}{close}; it has the sites {sites}, bodies {bodies}."
        )

    def floating_body(self, name: str, *, field: str) -> int:
        """The body of a name that hangs on a free joint, whatever site shares its name; `ShoalError` where there is
        none.
        """
        import mujoco

        if (found := self._found.get(("floating", name))) is None:
            found = int(mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_BODY, name))
            if found < 0 or self.free_joint(found) is None:
                raise ShoalError(f"{field}: {name!r} is no body with a free joint; only those float.")
            self._found["floating", name] = found
        return cast(int, found)

    def sensor(self, name: str, *, field: str) -> slice:
        """Where a sensor of the MJCF is in `sensordata`."""
        import mujoco

        index = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_SENSOR, name)
        if index < 0:
            names = [self.model.sensor(i).name for i in range(self.model.nsensor)]
            raise ShoalError(f"{field}: the MJCF has no sensor {name!r}{closest(name, names)}; it has {names}.")
        start = int(self.model.sensor_adr[index])
        return slice(start, start + int(self.model.sensor_dim[index]))

    def free_joint(self, body: int) -> int | None:
        """The free joint by which a body hangs on the world, if it does."""
        import mujoco

        first = int(self.model.body_jntadr[body])
        free = first >= 0 and self.model.jnt_type[first] == mujoco.mjtJoint.mjJNT_FREE
        return first if free else None

    def joints_above(self, body: int) -> list[int]:
        """All joints between the world and a body, its own included."""
        found: list[int] = []
        while body:
            first = int(self.model.body_jntadr[body])
            found += range(first, first + int(self.model.body_jntnum[body]))
            body = int(self.model.body_parentid[body])
        return found

    @cached_property
    def addresses(self) -> Addresses:
        """Where the robot's joints are."""
        from sim2real.robots.kinematics import Addresses

        return Addresses.of(self.model, self.robot)

    def at_home(self, reading: Reading) -> np.ndarray:
        """What a reading is at home, `[size]`."""
        import mujoco

        data = mujoco.MjData(self.model)
        data.qpos[:] = self.home
        mujoco.mj_forward(self.model, data)
        value: np.ndarray = self.simulated([data]).value(np, reading)[0]
        return value

    def simulated(self, rows: Sequence[mujoco.MjData]) -> Simulated:
        """Some states of the model as N environments whose drives are told to rest there."""
        fields = Stacked(rows)
        return Simulated(self, fields, self.robot.at_rest(np, self.addresses.joint_position(fields.qpos)))


class Stacked:
    """Fields of several `MjData` as `[N, ...]` arrays."""

    def __init__(self, rows: Sequence[mujoco.MjData]) -> None:
        self._rows = rows

    def __getattr__(self, name: str) -> np.ndarray:
        return np.stack([getattr(row, name) for row in self._rows])


class Simulated:
    """N environments as terms see them. Any attribute that is not listed here is a field of MuJoCo's data."""

    def __init__(self, scene: Scene, fields: Any, target: Any) -> None:
        self.scene, self._fields = scene, fields
        self.target = target
        """`[N, J]`, what the joints were commanded last."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fields, name)

    def value(self, xp: ModuleType, reading: Reading) -> Any:
        """The true value of a reading, `[N, size]` float32."""
        return reading.sense(xp, self).astype(np.float32)

    def values(self, xp: ModuleType, readings: Iterable[Reading]) -> dict[str, Any]:
        """The values of several readings, by name."""
        return {reading.name: self.value(xp, reading) for reading in readings}

    @property
    def joint_position(self) -> Any:
        """`[N, J]`, policy order."""
        return self.scene.addresses.joint_position(self.qpos)

    @property
    def joint_velocity(self) -> Any:
        """`[N, J]`, policy order."""
        return self.scene.addresses.joint_velocity(self.qvel)

    def position(self, xp: ModuleType, name: str, frame: str = WORLD) -> Any:
        """Where a site or body is in the frame of another, `[N, 3]` m."""
        place = self.scene.place(name, field="of")
        point = self.xpos[:, place.body] if place.site is None else self.site_xpos[:, place.site]
        if frame == WORLD:
            return point
        turn = self.orientation(xp, frame)
        return rotate(conjugate(turn), point - self.position(xp, frame))

    def axes(self, name: str) -> Any:
        """Axes of a site or body in the world, `[N, 3, 3]`, one in each column."""
        place = self.scene.place(name, field="of")
        turn = self.xmat[:, place.body] if place.site is None else self.site_xmat[:, place.site]
        return turn.reshape(-1, 3, 3)

    def orientation(self, xp: ModuleType, name: str, frame: str = WORLD) -> Any:
        """How a site or body is turned in the frame of another, `[N, 4]` wxyz."""
        place = self.scene.place(name, field="of")
        turn = self.xquat[:, place.body]
        if place.site is not None:
            turn = quaternion_product(xp, turn, self.scene.model.site_quat[place.site])
        if frame == WORLD:
            return turn
        return quaternion_product(xp, conjugate(self.orientation(xp, frame)), turn)
