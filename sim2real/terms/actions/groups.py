"""Several actions for several joints of one robot: an arm that moves by steps and a gripper that opens and closes."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

import numpy as np
from pydantic import Field, model_validator

from sim2real.errors import ShoalError
from sim2real.frozen import Frozen, once_each
from sim2real.terms.actions.base import Action, Array
from sim2real.terms.scene import Scene
from sim2real.terms.term import any_of

if TYPE_CHECKING:
    from sim2real.contract import Contract, Robot


class Group(Frozen):
    """Some of the robot's joints, and how they are commanded."""

    joints: Annotated[tuple[str, ...], Field(min_length=1)]
    action: any_of(Action)  # type: ignore[valid-type]


class Groups(Action):
    """Every joint is in one group, whose action sees that group's joints alone."""

    kind: str = "groups"
    groups: Annotated[tuple[Group, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _nothing_of_its_own(self) -> Self:
        own = {"velocity_fraction"} & self.model_fields_set
        if own:
            raise ValueError(f"{', '.join(own)} belongs into the actions of the groups")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """Those of all groups."""
        return tuple(dict.fromkeys(name for group in self.groups for name in group.action.needs))

    def size(self, robot: Robot) -> int:
        """That of all groups."""
        return sum(group.action.size(_part(robot, group)) for group in self.groups)

    def refusals(self, robot: Robot) -> list[str]:
        """Those of the groups, and joints that are in none or in several."""
        names, grouped = [joint.name for joint in robot.joints], [name for g in self.groups for name in g.joints]
        said = [
            f"joint {name!r} is in {grouped.count(name)} groups of the action; put it into one"
            for name in names
            if grouped.count(name) != 1
        ]
        said += [f"action: groups name the joint {name!r}; it has {names}" for name in grouped if name not in names]
        if said:
            return said
        return [refusal for g in self.groups for refusal in g.action.refusals(_part(robot, g))]

    def completed(self, scene: Scene) -> Self:
        """Every group's action for its joints."""
        said = self.refusals(scene.robot)
        if said:
            raise ShoalError(f"{'; '.join(said)}.")
        groups, steps = [], dict[str, float]()
        for group in self.groups:
            part = Scene(scene.model, _part(scene.robot, group), scene.home, scene.control_dt_s)
            action = group.action.completed(part)
            groups.append(Group(joints=group.joints, action=action))
            steps |= zip(group.joints, action.step_max, strict=True)
        step_max = tuple(steps[joint.name] for joint in scene.robot.joints)
        # Those that a task writes are the actions' own.
        return self.model_copy(update={"groups": tuple(groups), "step_max": step_max, "previous": self._previous()})

    def _previous(self) -> str:
        names = {group.action.previous for group in self.groups}
        if len(names) > 1:
            raise ShoalError(
                f"action: its groups take the last command from {', '.join(sorted(names))}; name one reading as "
                "`previous` of all of them, of kind joint_command where drives are told different quantities."
            )
        return str(names.pop())

    def wanted(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """That of every group, in the robot's order."""
        parts, start = [], 0
        for group, rows, part in _split(contract):
            own, size = _columns(group.action, rows, readings), group.action.size(part.robot)
            parts.append(group.action.wanted(xp, part, action[..., start : start + size], own))
            start += size
        return self._in_order(xp, contract, parts)

    def towards(self, xp: ModuleType, contract: Contract, present: Array, posture: Array) -> Array | None:
        """Where every group has one."""
        found = [
            group.action.towards(xp, part, present[..., rows], posture[..., rows])
            for group, rows, part in _split(contract)
        ]
        return None if any(part is None for part in found) else xp.concatenate(found, axis=-1)

    def sample_previous(self, rng: np.random.Generator, contract: Contract, measured: np.ndarray) -> np.ndarray:
        """That of every group."""
        parts = [group.action.sample_previous(rng, part, measured[..., rows]) for group, rows, part in _split(contract)]
        return np.asarray(self._in_order(np, contract, parts))

    def _in_order(self, xp: ModuleType, contract: Contract, parts: list[Array]) -> Array:
        joined = xp.concatenate(parts, axis=-1)
        order = np.argsort(np.concatenate([rows for _, rows, _ in _split(contract)]))
        return joined if (np.diff(order) == 1).all() else joined[..., order]


def _part(robot: Robot, group: Group) -> Robot:
    joints = {joint.name: joint for joint in robot.joints}
    return robot.model_copy(update={"joints": tuple(joints[name] for name in group.joints)})


@once_each
def _split(contract: Contract) -> list[tuple[Group, np.ndarray, Contract]]:
    """Each group of the contract's action, with its joints' places in policy order and the contract as it sees it."""
    groups, names = cast(Groups, contract.action).groups, contract.joint_names
    return [
        (
            group,
            np.array([names.index(name) for name in group.joints]),
            contract.model_copy(update={"robot": _part(contract.robot, group), "action": group.action}),
        )
        for group in groups
    ]


def _columns(action: Action, rows: np.ndarray, readings: Mapping[str, Any]) -> dict[str, Any]:
    """The readings with those of joints cut to a group's."""
    return dict(readings) | {name: readings[name][..., rows] for name in (action.measured, action.previous)}
