"""An action on the tool: differential inverse kinematics by damped least squares, inside the policy's graph.

    dq = J' (J J' + damping^2 I)^-1 d        d = how the tool is to move in this control step, world frame

The Jacobian `J` `[6, K]` of the K joints below the tool follows from measured joint positions in closed form, from
geometry that the contract states; the 6 x 6 system is solved by elimination, which needs no pivots because it is
positive definite. Wampler 1986, "Manipulator inverse kinematic solutions based on vector formulations and damped
least-squares methods".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sim2real.errors import ShoalError
from sim2real.frozen import Frozen, Positive, Quaternion, Vector3
from sim2real.terms.actions.base import Action, Array
from sim2real.terms.scene import WORLD

if TYPE_CHECKING:
    from sim2real.contract import Contract, Robot
    from sim2real.robots.kinematics import ToolChain
    from sim2real.terms.scene import Scene


class Chain(Frozen):
    """`sim2real.robots.kinematics.ToolChain` in plain numbers."""

    order: tuple[int, ...]
    zero: tuple[float, ...]
    slides: tuple[bool, ...]
    turn: tuple[Quaternion, ...]
    turn_about_axis: tuple[Quaternion, ...]
    place: tuple[Vector3, ...]
    swing: tuple[Vector3, ...]
    swing_back: tuple[Vector3, ...]
    tool_turn: Quaternion
    tool_place: Vector3

    @classmethod
    def of(cls, chain: ToolChain) -> Self:
        """All its arrays."""
        return cls.model_validate({name: getattr(chain, name).tolist() for name in cls.model_fields})

    def arrays(self) -> ToolChain:
        """The same as arrays."""
        from sim2real.robots.kinematics import ToolChain

        return ToolChain(**{name: np.array(getattr(self, name)) for name in type(self).model_fields})


class ToolIncrement(Action):
    """The tool moves by up to `linear_max_m` along and turns by up to `angular_max_rad` about the world's axes in each
    control step: six numbers, or three where it need not be turned.

    Targets stay within `window` of the measured positions, against wind-up.
    """

    kind: str = "tool_increment"
    of: str = ""
    """Name of the site or body that is moved; the robot's `end_effector_site` if not given."""
    linear_max_m: Positive = 0.02
    """Along each axis."""
    angular_max_rad: Positive | None = 0.1
    """About each axis; null leaves the tool's orientation free."""
    damping: Positive = 0.05
    """m, or rad: larger is slower and safer where the arm is stretched."""
    window: Positive = 0.3
    """Largest distance between target and measured position, rad or m."""
    chain: Chain | None = None
    """Geometry of the joints between base and tool; follows from the MJCF."""

    def size(self, robot: Robot) -> int:
        """Six, or three."""
        return 3 if self.angular_max_rad is None else 6

    def completed(self, scene: Scene) -> Self:
        """With the geometry of the joints."""
        from sim2real.robots.kinematics import ToolChain

        name = self.of or scene.robot.end_effector_frame
        if name is None or name == WORLD:
            raise ShoalError("action: tool_increment needs `of`, the site or body that it moves.")
        place, names = scene.place(name, field="action: tool_increment.of"), [j.name for j in scene.robot.joints]
        chain = ToolChain.to(scene.model, names, place.body, place.site)
        tendons = [joint.name for joint in scene.robot.joints if joint.kind == "tendon"]
        if tendons:
            raise ShoalError(f"action: tool_increment moves joints, and {tendons} are tendons; put them into a group.")
        completed = super().completed(scene)
        return completed.model_copy(update={"of": name, "chain": Chain.of(chain)})

    def wanted(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """The last target and a step of every joint, within the window."""
        assert self.chain is not None
        chain, position = self.chain.arrays(), readings[self.measured]
        jacobian, move = chain.jacobian(xp, position), action * self._largest()
        if self.angular_max_rad is None:
            jacobian = jacobian[:, :3]
        transposed = xp.swapaxes(jacobian, -1, -2)
        system = jacobian @ transposed + np.float32(self.damping**2) * np.eye(jacobian.shape[1], dtype=np.float32)
        step = (transposed @ solve(xp, system, move[..., None]))[..., 0]
        spread = np.zeros((len(chain.order), len(contract.robot.joints)), np.float32)
        spread[np.arange(len(chain.order)), chain.order] = 1
        window = np.float32(self.window)
        # All joints by one factor, so that a joint at its largest step does not bend the tool's way.
        step = step @ spread
        over = xp.max(xp.abs(step) / np.array(self.step_max, np.float32), axis=-1, keepdims=True)
        wanted = readings[self.previous] + step / xp.maximum(over, np.float32(1))
        return xp.minimum(xp.maximum(wanted, position - window), position + window)

    def _largest(self) -> np.ndarray:
        linear = [self.linear_max_m] * 3
        return np.array(linear if self.angular_max_rad is None else linear + [self.angular_max_rad] * 3, np.float32)

    def sample_previous(self, rng: np.random.Generator, contract: Contract, measured: np.ndarray) -> np.ndarray:
        """Never farther from the positions than twice the window."""
        return np.clip(measured + self.window * rng.uniform(-2, 2, measured.shape), *contract.command_limits)


def solve(xp: ModuleType, system: Any, right: Any) -> Any:
    """`x` `[N, n, 1]` of `system x = right`, `[N, n, n]` and `[N, n, 1]`, where the system is positive definite.

    By Gauss-Jordan elimination in operations that every ONNX runtime has.
    """
    rows = xp.concatenate([system, right], axis=-1)
    count = right.shape[-2]
    for index in range(count):
        keep = (np.arange(count) != index).astype(np.float32)[:, None]
        pivot = rows[..., index : index + 1, :] / rows[..., index : index + 1, index : index + 1]
        rows = rows - (rows[..., index : index + 1] * keep) * pivot
    diagonal = (rows[..., :count] * np.eye(count, dtype=np.float32)).sum(axis=-1, keepdims=True)
    return rows[..., count:] / diagonal
