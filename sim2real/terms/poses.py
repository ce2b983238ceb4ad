"""Readings of where sites and bodies are: the tool, an object, the base, in the world or in each other's frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np

from sim2real.errors import ShoalError
from sim2real.frozen import Quaternion, Vector3
from sim2real.rotations import columns_angle_deg, rotation_columns, yaw
from sim2real.terms.reading import Array, Reading
from sim2real.terms.scene import WORLD
from sim2real.terms.sides import ABOUT, SIDEWAYS, Mirrored

if TYPE_CHECKING:
    from sim2real.contract import Contract
    from sim2real.terms.scene import Scene, Simulated
    from sim2real.terms.sides import Sides

_SHORTEST, _LONGEST = 1e-3, 1e3
"""Lengths between which a quaternion is taken for one that was not normalised."""


class _OfPlace(Reading):
    unmeasured: ClassVar[str] = (
        "joints that are no joints of the task, or a floating base, lie between it and the world, so no encoder tells"
    )

    signs: ClassVar[tuple[float, ...]] = SIDEWAYS
    """Of the encoding in a mirror."""

    of: str = ""
    """Name of the site or body."""
    frame: str = WORLD
    """Name of the site or body in whose frame it is given, or the world."""

    def _placed(self, scene: Scene, *, size: int, unit: str) -> Self:
        field = f"readings: {self.name or self.kind}"
        if not self.of:
            raise ShoalError(f"{field}: give `of`, the site or body that it is about.")
        bodies = [scene.place(self.of, field=f"{field}.of").body]
        if self.frame != WORLD:
            bodies.append(scene.place(self.frame, field=f"{field}.frame").body)
        source = self.source
        if source is None and all(_encoded(scene, body) for body in bodies):
            source = "forward_kinematics"
        return self.stated(size=size, unit=unit, source=source)

    def mirrored(self, sides: Sides) -> Mirrored:
        """In the world's frame."""
        if self.frame != WORLD:
            raise ShoalError(
                f"mirror: {self.name!r} is in the frame of {self.frame!r}, not the world's; leave mirror out."
            )
        return Mirrored.signed(self.signs)

    @property
    def about(self) -> str:
        """The site or body, with the frame where that is another one's."""
        return self.of if self.frame == WORLD else f"{self.of} in {self.frame}"

    def from_joints(self, scene: Scene) -> Any | None:
        """Forward kinematics, where the source is that."""
        if self.source != "forward_kinematics" or self.frame != WORLD:
            return None
        from sim2real.robots.kinematics import ToolChain

        place, names = scene.place(self.of, field="of"), [joint.name for joint in scene.robot.joints]
        chain = ToolChain.to(scene.model, names, place.body, place.site)
        return lambda xp, joints: self.of_pose(xp, *chain.pose(xp, joints))


_R = TypeVar("_R", bound=_OfPlace)


def _encoded(scene: Scene, body: int) -> bool:
    """Whether encoders tell where a body is: only joints of the robot lie between it and the world."""
    names = {joint.name for joint in scene.robot.joints}
    return all(scene.model.joint(joint).name in names for joint in scene.joints_above(body))


class _Point(_OfPlace):
    def distance(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Euclidean distance."""
        length = np.linalg.norm(first - second, axis=-1)
        return length, np.zeros_like(length)

    def error(self, first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
        """Euclidean distance."""
        return math.dist(first, second), 0.0


class Position(_Point):
    """Where a site or body is."""

    kind: str = "position"
    axes: ClassVar[int] = 3

    def entries(self, contract: Contract) -> tuple[str, ...]:
        """x, y and z."""
        return "x", "y", "z"

    def to_pose(self, value: Sequence[float]) -> tuple[Vector3 | None, Quaternion | None]:
        """The place."""
        x, y, z = value
        return (x, y, z), None

    def completed(self, scene: Scene) -> Self:
        """Three coordinates."""
        return self._placed(scene, size=3, unit="m")

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """Sensed from the simulation's kinematics."""
        return sim.position(xp, self.of, self.frame)

    def of_pose(self, xp: ModuleType, position: Array, orientation: Array) -> Array:
        """See `Reading`."""
        return position

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Scale by the workspace: its longest side is [-1, 1]. In another frame than the world's the centre stays."""
        centre, half = contract.workspace
        return centre if self.frame == WORLD else np.zeros(3), np.full(3, 1 / half)

    def metric(self, rotation_m: float) -> np.ndarray:
        """Metres are metres."""
        return np.ones(3)

    def limits(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """The workspace and half of it beyond: tools also move around the objects of goals."""
        centre, half = contract.workspace
        return centre - 1.5 * half, centre + 1.5 * half


class Orientation(_OfPlace):
    """How a site or body is turned, a unit quaternion wxyz. A network sees two columns of the rotation matrix."""

    kind: str = "orientation"
    turned: ClassVar[bool] = True
    signs: ClassVar[tuple[float, ...]] = (*SIDEWAYS, *ABOUT)

    def entries(self, contract: Contract) -> tuple[str, ...]:
        """w, x, y and z."""
        return "w", "x", "y", "z"

    def to_pose(self, value: Sequence[float]) -> tuple[Vector3 | None, Quaternion | None]:
        """The orientation."""
        w, x, y, z = value
        return None, (w, x, y, z)

    def proper(self, value: Sequence[float]) -> tuple[float, ...]:
        """Of length one; `ValueError` where it is not near enough to that to be meant so."""
        length = math.hypot(*value)
        if not _SHORTEST <= length <= _LONGEST:
            raise ValueError(f"has the length {length:g} and must be a unit quaternion")
        return tuple(x / length for x in value)

    def usual(self, contract: Contract) -> tuple[float, ...]:
        """Not turned."""
        return 1.0, 0.0, 0.0, 0.0

    def completed(self, scene: Scene) -> Self:
        """Four components."""
        return self._placed(scene, size=4, unit="wxyz")

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """Sensed from the simulation's kinematics."""
        return sim.orientation(xp, self.of, self.frame)

    def of_pose(self, xp: ModuleType, position: Array, orientation: Array) -> Array:
        """See `Reading`."""
        return orientation

    @property
    def encoded_size(self) -> int:
        """The size of two columns."""
        return 6

    def encode(self, xp: ModuleType, value: Array) -> Array:
        """Two columns of the rotation, the same for either sign of the quaternion."""
        return rotation_columns(value)

    def metric(self, rotation_m: float) -> np.ndarray:
        """One unit of a column counts `rotation_m`."""
        return np.full(6, rotation_m)

    def distance(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The angle of the rotation from one to the other."""
        angle = columns_angle_deg(first, second)
        return np.zeros_like(angle), angle

    def error(self, first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
        """The angle of the rotation from one to the other, whatever the quaternions' signs and lengths."""
        (a, b, c, d), (e, f, g, h) = first, second
        scale = math.hypot(a, b, c, d) * math.hypot(e, f, g, h)
        if not 1e-12 < scale < math.inf:
            return 0.0, math.nan
        return 0.0, 2 * math.degrees(math.acos(min(1.0, abs(a * e + b * f + c * g + d * h) / scale)))

    def sample(self, rng: np.random.Generator, contract: Contract, count: int) -> np.ndarray:
        """Uniform over all rotations."""
        return np.asarray(self.between(np, None, None, None, rng.normal(size=(count, 4))))

    def between(self, xp: ModuleType, low: Array, high: Array, uniform: Array, normal: Array) -> Array:
        """Uniform over all rotations."""
        return normal / xp.sqrt(xp.sum(normal * normal, axis=-1, keepdims=True))


class EndEffectorPosition(Position):
    """Where the robot's tool is."""

    kind: str = "end_effector_position"

    def completed(self, scene: Scene) -> Self:
        """The reading of the robot's `end_effector_site`."""
        return super(EndEffectorPosition, _of_tool(self, scene)).completed(scene)


class EndEffectorOrientation(Orientation):
    """How the robot's tool is turned."""

    kind: str = "end_effector_orientation"

    def completed(self, scene: Scene) -> Self:
        """The reading of the robot's `end_effector_site`."""
        return super(EndEffectorOrientation, _of_tool(self, scene)).completed(scene)


def _of_tool(reading: _R, scene: Scene) -> _R:
    tool = scene.robot.end_effector_frame
    if not reading.of and tool is None:
        raise ShoalError(f"readings: {reading.kind} needs robot.end_effector_site.")
    return reading.model_copy(update={"of": reading.of or tool})


class ObjectPosition(Position):
    """Where the object is that goals are about."""

    kind: str = "object_position"
    unmeasured: ClassVar[str] = "an object is seen by a tracker; set source: tracker"
    source: Any = "tracker"


class PlanarPosition(_Point):
    """Where a site or body is on the ground: x and y."""

    kind: str = "planar_position"
    axes: ClassVar[int] = 2
    signs: ClassVar[tuple[float, ...]] = (1.0, -1.0)

    def entries(self, contract: Contract) -> tuple[str, ...]:
        """X and y."""
        return "x", "y"

    def to_pose(self, value: Sequence[float]) -> tuple[Vector3 | None, Quaternion | None]:
        """The place, at height 0."""
        x, y = value
        return (x, y, 0.0), None

    def completed(self, scene: Scene) -> Self:
        """Two coordinates."""
        return self._placed(scene, size=2, unit="m")

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """Sensed from the simulation's kinematics."""
        return sim.position(xp, self.of, self.frame)[:, :2]

    def of_pose(self, xp: ModuleType, position: Array, orientation: Array) -> Array:
        """See `Reading`."""
        return position[..., :2]

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Scale by the workspace: its longest side is [-1, 1]."""
        centre, half = contract.workspace
        return centre[:2], np.full(2, 1 / half)

    def metric(self, rotation_m: float) -> np.ndarray:
        """Metres are metres."""
        return np.ones(2)

    def limits(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """The workspace and half of it beyond."""
        centre, half = contract.workspace
        return centre[:2] - 1.5 * half, centre[:2] + 1.5 * half


class PlanarPose(_OfPlace):
    """Where a site or body is on the ground and where it faces: x, y in m and yaw in rad.

    A network sees the cosine and sine of the yaw.
    """

    kind: str = "planar_pose"
    axes: ClassVar[int] = 2
    turned: ClassVar[bool] = True
    signs: ClassVar[tuple[float, ...]] = (1.0, -1.0, 1.0, -1.0)

    def entries(self, contract: Contract) -> tuple[str, ...]:
        """x, y and yaw."""
        return "x", "y", "yaw"

    def to_pose(self, value: Sequence[float]) -> tuple[Vector3 | None, Quaternion | None]:
        """The place, at height 0, and the turn about the vertical."""
        x, y, turn = value
        return (x, y, 0.0), (math.cos(turn / 2), 0.0, 0.0, math.sin(turn / 2))

    def completed(self, scene: Scene) -> Self:
        """Two coordinates and an angle."""
        return self._placed(scene, size=3, unit="m, m, rad")

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """Sensed from the simulation's kinematics."""
        return self.of_pose(xp, sim.position(xp, self.of, self.frame), sim.orientation(xp, self.of, self.frame))

    def of_pose(self, xp: ModuleType, position: Array, orientation: Array) -> Array:
        """See `Reading`."""
        return xp.concatenate([position[..., :2], yaw(xp, orientation)[..., None]], axis=-1)

    @property
    def encoded_size(self) -> int:
        """x, y, cosine, sine."""
        return 4

    def encode(self, xp: ModuleType, value: Array) -> Array:
        """A full turn is no turn."""
        angle = value[..., 2:]
        return xp.concatenate([value[..., :2], xp.cos(angle), xp.sin(angle)], axis=-1)

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Scale the position by the workspace."""
        centre, half = contract.workspace
        return np.array([*centre[:2], 0, 0]), np.array([1 / half, 1 / half, 1, 1])

    def metric(self, rotation_m: float) -> np.ndarray:
        """Metres are metres, and one unit of cosine or sine counts `rotation_m`."""
        return np.array([1, 1, rotation_m, rotation_m])

    def distance(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Euclidean on the ground, and the shorter way round."""
        length = np.linalg.norm(first[..., :2] - second[..., :2], axis=-1)
        (a, b), (c, d) = (np.moveaxis(x[..., 2:].astype(np.float64), -1, 0) for x in (first, second))
        return length, np.degrees(np.abs(np.arctan2(a * d - b * c, a * c + b * d)))

    def limits(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """The workspace and half of it beyond, and a full turn."""
        centre, half = contract.workspace
        low, high = centre[:2] - 1.5 * half, centre[:2] + 1.5 * half
        return np.array([*low, -math.pi]), np.array([*high, math.pi])
