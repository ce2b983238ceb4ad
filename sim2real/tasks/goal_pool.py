"""Starts and goals that are reachable by construction.

The task's resets draw where an episode begins; what touches anything that doesn't touch at home is dropped, as is what
tears an equality. What is left serves as start, and what it achieves as goal, where that lies within the goal's bounds;
goals of some kinds are drawn anywhere within them instead. Training and evaluation draw from pools of different seeds,
so no evaluation goal was ever commanded before.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import mujoco
import numpy as np

from sim2real.contract import Contract
from sim2real.contract.interface import achieved_request
from sim2real.errors import ShoalError
from sim2real.tasks.task import Task
from sim2real.terms import Simulated, Start
from sim2real.world.contacts import HomeContacts, pair_name
from sim2real.world.ties import Ties, tie_name

POOL_SIZE = 16_384
"""Starts and goals from which an environment draws."""
EVALUATION_SEED_OFFSET = 1_000_003
_MIN_ACCEPTED = 0.02
_CHUNK = 256
_SHOWN = 3
_LIMIT_MARGIN, _LIMIT_MARGIN_SHARE = 0.05, 0.05
"""rad (m for slides), and at most this share of the range."""
_FIELDS = ("qpos", "qvel", "xpos", "xquat", "site_xpos")


class GoalPool(NamedTuple):
    """P starts, and P goals of any of them."""

    start: np.ndarray
    """`[P, nq]`, all of qpos."""
    start_velocity: np.ndarray
    """`[P, nv]`, all of qvel."""
    joint_position: np.ndarray
    """`[P, J]` rad or m, policy order, at the starts."""
    goal: np.ndarray
    """`[P, K]`, requests; of goals that are drawn as `reached`, what the start in the same row achieves."""


def sample_goal_pool(task: Task, *, size: int, seed: int) -> GoalPool:
    """Draw `size` starts that touch nothing, and as many goals."""
    rows, requests = _sample(task, wide=False, size=size, seed=seed)
    if task.contract.goal.drawn == "between":
        rng = np.random.default_rng([seed, 1])
        draws = rng.random(requests.shape), rng.normal(size=requests.shape)
        requests = task.contract.goal.between(np, task.contract, *draws, grown=1.0)
    return _pool(task, rows, requests)


class StartSurvey(NamedTuple):
    """What became of random starts, and those that are left."""

    tried: int
    resets: int
    """Refused by a reset."""
    goal: int
    """Refused because what they achieve lies outside the goal's bounds."""
    contacts: int
    """Refused because something touches that doesn't touch at home."""
    ties: int
    """Refused because an equality of the MJCF is torn, as those are that close a chain of joints."""
    touching: list[tuple[str, int]]
    """Geom pairs in words, and in how many starts they touch; the most frequent first."""
    fields: dict[str, np.ndarray]
    """Of the starts that are left, `[K, ...]` by the name of MuJoCo's data."""

    @property
    def kept(self) -> int:
        """How many are left."""
        return len(self.fields["qpos"])


def survey_starts(task: Task, *, tries: int, seed: int) -> StartSurvey:
    """Draw `tries` starts, whatever comes of them."""
    sampler, rng = _Sampler(task, wide=False), np.random.default_rng(seed)
    rows = sampler.drawn(rng, tries)
    fields = {name: np.zeros((0, 0)) for name in _FIELDS} if rows is None else sampler.accepted(rows)[0]
    return StartSurvey(tries, **sampler.refused, touching=sampler.touching(), fields=fields)


def mix_in_wide_starts(task: Task, pool: GoalPool, *, share: float, seed: int) -> GoalPool:
    """The pool with a `share` of its starts replaced by wide ones; its goals stay.

    Wide starts lie anywhere in the joint ranges, each joint at one of its limits with probability 1/6, free of
    collisions, with the tool anywhere: the postures in which a missed goal can leave an arm.
    """
    count = round(share * len(pool.start))
    if not count:
        return pool
    rows, requests = _sample(task, wide=True, size=count, seed=seed)
    wide = _pool(task, rows, requests)
    mixed = GoalPool(*(np.concatenate([new, old[count:]]) for new, old in zip(wide, pool, strict=True)))
    return mixed._replace(goal=pool.goal)


def _pool(task: Task, rows: dict[str, np.ndarray], requests: np.ndarray) -> GoalPool:
    joints = task.scene.addresses.joint_position(rows["qpos"])
    return GoalPool(rows["qpos"], rows["qvel"], joints.astype(np.float32), requests.astype(np.float32))


def joint_range(contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """Where starts may be, `[J]` each: inside what a joint may be told, and clear of the limits."""
    (low, high), (least, most) = contract.position_limits, contract.command_limits
    low, high = np.maximum(low, least), np.minimum(high, most)
    margin = np.minimum(_LIMIT_MARGIN, _LIMIT_MARGIN_SHARE * (high - low))
    return low + margin, high - margin


def _sample(task: Task, *, wide: bool, size: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Fields of `size` starts, `[P, ...]` by name, and the requests that they achieve, `[P, K]`."""
    sampler, rng = _Sampler(task, wide=wide), np.random.default_rng(seed)
    chunks: list[dict[str, np.ndarray]] = []
    requests: list[np.ndarray] = []
    tried = kept = 0
    while kept < size:
        rows = sampler.drawn(rng, _CHUNK)
        tried += _CHUNK
        if rows is not None:
            found, achieved = sampler.accepted(rows)
            chunks.append(found)
            requests.append(achieved)
            kept += len(achieved)
        if tried > 4 * _CHUNK and kept < _MIN_ACCEPTED * tried:
            raise ShoalError(sampler.complaint(kept, tried))
    fields = {name: np.concatenate([chunk[name] for chunk in chunks])[:size] for name in _FIELDS}
    return fields, np.concatenate(requests)[:size]


class _Sampler:
    """Draws starts in chunks: first all resets, then at once whether the goal allows them, then contacts."""

    def __init__(self, task: Task, *, wide: bool) -> None:
        self._task, self._wide = task, wide
        self._model, self._scene = task.model, task.scene
        self._known = HomeContacts.of(task.model, task.scene.home)
        self._ties = Ties.of(task.model)
        self._data = mujoco.MjData(task.model)
        self._start = Start(task.scene, task.scene.addresses, self._data, *joint_range(task.contract), wide=wide)
        self.refused = {"resets": 0, "goal": 0, "contacts": 0, "ties": 0}
        self._pairs = Counter[tuple[int, int]]()
        self._torn = Counter[int]()

    def drawn(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray] | None:
        """Fields of those of `count` tries that every reset lets pass; None where that is none."""
        resets, home, passed = self._task.config.resets, self._scene.home, 0
        fields = {name: getattr(self._data, name) for name in _FIELDS}
        qpos, qvel = fields["qpos"], fields["qvel"]
        rows = {name: np.empty((count, *field.shape)) for name, field in fields.items()}
        pairs = [(rows[name], field) for name, field in fields.items()]
        for _ in range(count):
            qpos[:], qvel[:] = home, 0
            if all(reset.draw(rng, self._start) for reset in resets):
                mujoco.mj_kinematics(self._model, self._data)
                for row, field in pairs:
                    row[passed] = field
                passed += 1
        self.refused["resets"] += count - passed
        return {name: row[:passed] for name, row in rows.items()} if passed else None

    def accepted(self, rows: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Accept those of `rows` that the goal allows and in which nothing new touches, and what they achieve."""
        contract = self._task.contract
        joints = self._scene.addresses.joint_position(rows["qpos"])
        sim = Simulated(self._scene, _Rows(rows), self._scene.robot.at_rest(np, joints))
        goal_readings = [contract.reading(part.reading) for part in contract.goal.parts()]
        request = achieved_request(np, contract, sim.values(np, goal_readings))
        keep = np.ones(len(request), bool)
        if not self._wide and contract.goal.drawn == "reached":
            keep = contract.goal.allows(contract, request)
        allowed = keep.copy()
        self.refused["goal"] += int((~keep).sum())
        data = mujoco.MjData(self._model)
        for index in np.flatnonzero(keep):
            data.qpos[:] = rows["qpos"][index]
            mujoco.mj_kinematics(self._model, data)
            mujoco.mj_comPos(self._model, data)
            mujoco.mj_collision(self._model, data)
            others = self._known.others(data) if data.ncon else ()
            self._pairs.update(others)
            keep[index] = not others
        self.refused["contacts"] += int((allowed & ~keep).sum())
        self._leave_out_torn(rows["qpos"], keep, data)
        return {name: values[keep] for name, values in rows.items()}, request[keep]

    def _leave_out_torn(self, qpos: np.ndarray, keep: np.ndarray, data: mujoco.MjData) -> None:
        """Take starts that tear an equality out of `keep` `[P]`."""
        if not self._ties.ids:
            return
        for index in np.flatnonzero(keep):
            torn = self._ties.torn(self._model, qpos[index], data)
            self._torn.update(torn)
            self.refused["ties"] += bool(torn)
            keep[index] = not torn

    def touching(self) -> list[tuple[str, int]]:
        """Geom pairs that touched, in words, and in how many starts; the most frequent first."""
        return [(pair_name(self._model, pair), count) for pair, count in self._pairs.most_common()]

    def complaint(self, kept: int, tried: int) -> str:
        """Why so few starts are left."""
        pairs = "; ".join(f"{names} ({count})" for names, count in self.touching()[:_SHOWN])
        ties = "; ".join(tie_name(self._model, tie) for tie, _ in self._torn.most_common(_SHOWN))
        said = ", ".join(
            f"{self.refused[name]} {why}"
            for name, why in (
                ("resets", "by the resets themselves (kind inside)"),
                ("goal", "because what they achieve is outside the goal's bounds (goal.position_min_m/max_m)"),
                ("contacts", f"because something touches{f', most often {pairs}' if pairs else ''}"),
                ("ties", f"because they tear an equality ({ties}), which closes a chain of joints"),
            )
            if name != "ties" or ties
        )
        return (
            f"resets: only {kept} of {tried} random starts are left; refused were {said}. Widen the goal's bounds or "
            "the boxes of the resets, or narrow half_range."
        )


class _Rows:
    """Fields that are already stacked, by attribute."""

    def __init__(self, rows: dict[str, np.ndarray]) -> None:
        self._rows = rows

    def __getattr__(self, name: str) -> np.ndarray:
        return self._rows[name]
