"""The MJCF of a contract's robot: where it is, and whether a model is the one that the policy was trained with."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import mujoco
import numpy as np

from runtime.robot.mujoco_robot import robot_differences
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError, shown
from sim2real.robots.model import DIGEST_FIELDS, compiled_digest
from sim2real.robots.servos import load_robot


def shipped_mjcf(robot: str) -> Path:
    """The MJCF of a robot that ships with Shoal; raises `ShoalError` for an unknown name."""
    folder = Path(str(resources.files("sim2real"))) / "robots"
    known = {path.parent.name: path for path in sorted(folder.glob("*/*.xml"))}
    if robot not in known:
        raise ShoalError(
            f"robot.name: no MJCF ships for {shown(robot)} (shipped: {', '.join(known)}); give --mjcf PATH."
        )
    return known[robot]


def load_model(contract: Contract, path: Path | None = None) -> mujoco.MjModel:
    """The contract's robot from the MJCF at `path`, else from the one that ships, with the task's declared servos.

    Raises `ShoalError` where there is none, and `ContractMismatch` where it is another robot.
    """
    path = path or shipped_mjcf(contract.robot.name)
    model = load_robot(path, contract.robot, contract.map)
    require_same_model(model, contract, path)
    return model


def find_model(contract: Contract, path: Path | None = None) -> mujoco.MjModel | None:
    """The MJCF with the contract's digest: the one at `path`, else the one that ships; None when none is at hand."""
    try:
        model = load_robot(path or shipped_mjcf(contract.robot.name), contract.robot, contract.map)
    except ShoalError:
        return None
    return model if compiled_digest(model) == contract.robot.mjcf_sha256 else None


def require_same_model(model: mujoco.MjModel, contract: Contract, path: Path) -> None:
    """Raise `ContractMismatch` unless the compiled digest is the contract's, naming what differs."""
    digest = compiled_digest(model)
    if digest == contract.robot.mjcf_sha256:
        return
    shown = "; ".join((robot_differences(model, contract) or _differences_to_shipped(model, contract))[:6])
    raise ContractMismatch(
        f"robot.mjcf_sha256: {contract.robot.mjcf_sha256[:12]} in the policy, {digest[:12]} in {path.name}"
        f"{': ' + shown if shown else ''}. Serve the MJCF that the policy was trained with."
    )


def _differences_to_shipped(model: mujoco.MjModel, contract: Contract) -> list[str]:
    """Compiled fields in which `model` differs from the shipped MJCF, if that is the one trained with."""
    try:
        shipped = load_robot(shipped_mjcf(contract.robot.name), contract.robot, contract.map)
    except ShoalError:
        return []
    if compiled_digest(shipped) != contract.robot.mjcf_sha256:
        return []
    found = []
    for field in DIGEST_FIELDS:
        wanted, got = np.asarray(getattr(shipped, field)), np.asarray(getattr(model, field))
        if wanted.shape != got.shape:
            found.append(f"{field}: shape {list(wanted.shape)} in the policy, {list(got.shape)} in the model")
        elif not np.array_equal(wanted, got):
            where = tuple(int(i) for i in np.argwhere(wanted != got)[0])
            found.append(
                f"{field}{list(where)}: {float(wanted[where])!r} in the policy, {float(got[where])!r} in the model"
            )
    return found
