"""What `runtime check` does: see `sim2real.logs.robot_check`."""

from __future__ import annotations

from pathlib import Path

import mujoco
from rich.console import Console
from rich.table import Table

from runtime.drivers.base import open_chosen
from runtime.drivers.direct import Direct
from runtime.inference.policy import Policy
from runtime.options import RobotOptions
from runtime.robot.model import load_model
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.logs.robot_check import Answer, Robot, judge, tool_finding, wiggle


def check(
    robot: RobotOptions, *, policy: Path, amplitude_rad: float, latency_max_s: float, joints: tuple[str, ...] = ()
) -> int:
    """Check a robot against a policy file's contract; 1 when anything was found. `joints` checks only these."""
    if not 0.005 <= amplitude_rad <= 0.2:
        raise ShoalError(f"--amplitude-rad: {amplitude_rad:g} is not between 0.005 and 0.2.")
    contract = Policy(policy).contract
    unknown = set(joints) - set(contract.joint_names)
    if unknown:
        names = ", ".join(contract.joint_names)
        raise ShoalError(f"--joints: no joint {', '.join(sorted(unknown))}; there are {names}.")
    model = load_model(contract, robot.mjcf)
    model.opt.timestep = contract.timing.physics_dt_s
    driver = open_chosen(robot, contract)
    try:
        return check_robot(
            Direct(driver, contract),
            contract,
            model,
            amplitude_rad=amplitude_rad,
            latency_max_s=latency_max_s,
            joints=joints,
        )
    finally:
        driver.close()


def check_robot(
    robot: Robot,
    contract: Contract,
    model: mujoco.MjModel,
    *,
    amplitude_rad: float,
    latency_max_s: float,
    joints: tuple[str, ...] = (),
) -> int:
    """Wiggle, print, and return 1 when anything was found; goes no further after the first joint that is wrong."""
    console = Console(highlight=False)
    answers: list[Answer] = []
    findings: list[str] = []
    for index, name in enumerate(contract.joint_names):
        if joints and name not in joints:
            continue
        console.print(f"moving {name} by {amplitude_rad:g} rad and back: is it the one that moves?")
        log = wiggle(robot, contract, joint=index, amplitude_rad=amplitude_rad)
        answer = judge(log, joint=index, model=model, latency_max_s=latency_max_s)
        answers.append(answer)
        tool = tool_finding(log, model)
        findings += [*answer.findings, *([tool] if tool else [])]
        if findings:
            # A robot that mistakes one joint for another is not moved more than it takes to know so.
            break
    table = Table("joint", "moves", "gain", "later than the model")
    for answer in answers:
        table.add_row(answer.joint, answer.moved, f"{answer.gain:.3f}", f"{answer.latency_s * 1e3:.1f} ms")
    console.print(table)
    for finding in findings:
        console.print(f"wrong: {finding}.")
    if not findings:
        console.print("every joint answers as the model does")
    return int(bool(findings))
