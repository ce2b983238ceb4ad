"""What `runtime inspect` and `verify` print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from runtime.goals.resolve import example_arguments
from runtime.inference.policy import GOLDEN_TOLERANCE, Policy
from runtime.robot.model import load_model, shipped_mjcf
from sim2real.contract.policy_file import input_sizes
from sim2real.errors import ShoalError, printable

_GOLDEN_FIELDS = {"golden_inputs", "golden_outputs"}


def print_json(path: Path) -> None:
    """Contract and certificate, the golden vectors left out."""
    policy = Policy(path)
    print(
        json.dumps(
            {
                "contract_sha256": policy.contract.digest,
                "contract": policy.contract.model_dump(mode="json"),
                "certificate": policy.certificate.model_dump(mode="json", exclude=_GOLDEN_FIELDS),
                "golden_error": policy.golden_error,
                "evaluation": None if policy.evaluation is None else policy.evaluation.model_dump(mode="json"),
                "license": policy.license,
            },
            indent=2,
        )
    )


def print_tables(path: Path) -> None:
    """Print contract and certificate as tables."""
    policy = Policy(path)
    console = Console()
    tables = (_summary_table, _joint_table, _reading_table, _evaluation_table, _certificate_table)
    for table in (make(policy) for make in tables):
        console.print(table)


def verify(path: Path, mjcf: Path | None = None) -> Iterator[str]:
    """One line per check that holds; raises `ShoalError` at the first that does not."""
    policy = Policy(path)
    contract = policy.contract
    yield f"contract    digest {contract.digest[:12]} agrees with metadata and certificate"
    yield f"graph       inputs {', '.join(input_sizes(contract))} agree with the contract"
    count = len(next(iter(policy.certificate.golden_inputs.values())))
    yield f"golden      {count} vectors within {policy.golden_error:.1e} (allowed {GOLDEN_TOLERANCE:.0e})"
    try:
        mjcf = mjcf or shipped_mjcf(contract.robot.name)
    except ShoalError:
        yield f"robot       no MJCF ships for {contract.robot.name}; give --mjcf to check its digest"
        return
    load_model(contract, mjcf)
    yield f"robot       {mjcf.name} compiles to the contract's digest {contract.robot.mjcf_sha256[:12]}"


def _summary_table(policy: Policy) -> Table:
    contract = policy.contract
    goal, timing, lineage = contract.goal, contract.timing, contract.lineage
    box = goal.box()
    return _rows(
        f"{policy.path.name}: contract {contract.digest[:12]}",
        {
            "task": contract.task,
            "robot": f"{contract.robot.name}, MJCF {contract.robot.mjcf_sha256[:12]}",
            **({} if (site := contract.robot.end_effector_frame) is None else {"tool": f"site {site}"}),
            "brings": ", ".join(part.reading for part in goal.parts()) + " to its goals",
            **({} if contract.tracked is None else {"object": f"body {contract.tracked_body}, told by a tracker"}),
            "goals": f"{goal.kind} in {goal.frame}" + ("" if box is None else f", {box[0]} to {box[1]} m"),
            "asked by": f"runtime goal {example_arguments(contract)}",
            "tolerance": f"coarse {goal.coarse_position_m} m, {goal.coarse_angle_deg} deg; "
            f"fine {goal.fine_position_m} m, {goal.fine_angle_deg} deg; held {goal.hold_s} s",
            "rates": f"control {timing.control_dt_s} s, physics {timing.physics_dt_s} s, episode {timing.episode_s} s",
            "teacher": f"{lineage.teacher[:12] or 'unknown'}, depth {lineage.teacher_depth}",
            "student": lineage.student[:12] or "unknown",
            "license": printable(policy.license or "not stated"),
        },
    )


def _joint_table(policy: Policy) -> Table:
    table = Table(title="joints, policy order")
    table.add_column("name", no_wrap=True)
    for heading in ("min rad", "max rad", "rad/s", "step rad", "Nm", "kp", "kd", "home rad"):
        table.add_column(heading)
    contract = policy.contract
    for joint, scale in zip(contract.robot.joints, contract.action.step_max, strict=True):
        numbers = (
            joint.position_min,
            joint.position_max,
            joint.velocity_max,
            scale,
            joint.effort_max,
            joint.stiffness,
            joint.damping,
            joint.home_position,
        )
        table.add_row(joint.name, *(f"{number:g}" for number in numbers))
    return table


def _reading_table(policy: Policy) -> Table:
    table = Table(title="readings")
    for heading in ("name", "of", "size", "unit", "frame", "source"):
        table.add_column(heading)
    for reading in policy.contract.readings:
        table.add_row(
            reading.name,
            str(getattr(reading, "of", None) or ""),
            str(reading.size),
            reading.unit,
            reading.frame,
            reading.source,
        )
    return table


def _evaluation_table(policy: Policy) -> Table:
    record = policy.evaluation
    if record is None:
        return _rows("evaluation", {"success": "not known: the file carries no evaluation"})
    return _rows(
        "evaluation",
        {
            "coarse": record.coarse.text,
            "fine": record.fine.text,
            "median error": f"{1e3 * record.position_error_m:.1f} mm, {record.angle_error_deg:.1f} deg",
            "measured in": printable(record.how),
        },
    )


def _certificate_table(policy: Policy) -> Table:
    certificate = policy.certificate
    return _rows(
        "certificate",
        {
            "error": f"max {certificate.max_abs_error:.1e}, p99 {certificate.p99_abs_error:.1e} "
            f"over {certificate.samples} inputs",
            "golden, here": f"{policy.golden_error:.1e}",
            "graph": f"opset {certificate.opset}, {certificate.nodes} nodes, {certificate.parameters} parameters",
            "inference": f"p50 {certificate.tick_us_p50:.0f} us, p99 {certificate.tick_us_p99:.0f} us "
            f"on {certificate.machine}",
            "versions": ", ".join(f"{name} {version}" for name, version in certificate.versions.items()),
        },
    )


def _rows(title: str, rows: dict[str, str]) -> Table:
    table = Table(title=title, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    return table
