"""What a card says, before it is Markdown or HTML: sections of sentences and tables, all of it plain text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from runtime.diagnostics.card.picture import robot_svg
from runtime.diagnostics.card.stress_summary import StressSummary
from runtime.inference.policy import Policy
from runtime.robot.model import find_model
from sim2real.contract.policy_file import HISTORY_INPUT, HISTORY_OUTPUT, REACHABILITY_OUTPUT, command_output

Row = tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """Sentences, a list, and a table whose first row is its heading."""

    title: str
    sentences: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    """Of a list below the sentences."""
    table: tuple[Row, ...] = ()
    code: str = ""
    """A shell command."""


@dataclass(frozen=True)
class Card:
    """Everything that a card says."""

    title: str
    lead: str
    picture: str | None
    """SVG."""
    sections: tuple[Section, ...]

    @classmethod
    def of(cls, policy: Policy, stress: StressSummary | None) -> Self:
        """The card of a policy file, and of a stress report where there is one."""
        contract = policy.contract
        model = find_model(contract)
        goal, robot = contract.goal, contract.robot
        brings = " and ".join(part.reading for part in goal.parts())
        rate_hz = 1 / contract.timing.control_dt_s
        lead = (
            f"A policy that brings {brings} of the robot {robot.name} to requested goals ({goal.kind}, frame "
            f"{goal.frame}). It commands {len(robot.joints)} joint positions {rate_hz:g} times a second."
        )
        return cls(
            title=f"{policy.path.name}: {contract.task}",
            lead=lead,
            picture=None if model is None else robot_svg(model, contract),
            sections=(
                _success(policy),
                _limits(policy, stress),
                _interface(policy),
                _joints(policy),
                _certificate(policy),
                _origin(policy),
                Section("Use", code=f"runtime serve --model {policy.path.name}"),
            ),
        )


def _success(policy: Policy) -> Section:
    goal, record = policy.contract.goal, policy.evaluation
    never = "It was measured in simulation, and says nothing about a real robot."
    if record is None:
        return Section("Success", (f"The file carries no evaluation: how often it succeeds is not known. {never}",))
    tolerances = {
        name: f"{100 * getattr(goal, f'{name}_position_m'):g} cm"
        + (f" and {getattr(goal, f'{name}_angle_deg'):g}°" if policy.contract.turns else "")
        for name in ("coarse", "fine")
    }
    rows = tuple(
        (f"within {tolerances[name]}, held for {goal.hold_s:g} s", getattr(record, name).text) for name in tolerances
    )
    angle = f" and {record.angle_error_deg:.1f}°" if policy.contract.turns else ""
    return Section(
        "Success",
        (
            f"Whole episodes of {policy.contract.timing.episode_s:g} s to goals it was never trained on: {record.how}. "
            f"Intervals are Wilson's at {100 * record.confidence:g} %.",
            f"The median error at the end is {1e3 * record.position_error_m:.1f} mm{angle}; "
            f"{100 * record.terminated:.1f} % were over before their time.",
            never,
        ),
        table=(("goal reached", "episodes, share (interval)"), *rows),
    )


def _limits(policy: Policy, stress: StressSummary | None) -> Section:
    box = policy.contract.goal.box()
    place = "" if box is None else f"Goals outside of {_corner(box[0])} to {_corner(box[1])} m are refused. "
    blind = f"{place}The policy sees its readings and its goal, and nothing else: no obstacles, no people."
    if stress is None:
        return Section("Where it ends", (blind, "No stress report was given: how much it bears is not stated here."))
    verdict, *others = stress.lines()
    return Section("Where it ends", (blind, f"Under stress: {verdict}"), tuple(others))


def _corner(corner: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in corner) + ")"


def _interface(policy: Policy) -> Section:
    contract, memory = policy.contract, policy.history.size
    rows = [("in", r.name, str(r.size), r.unit, r.frame, r.source) for r in contract.readings]
    sizes = contract.goal.layout(contract).sizes
    goals = zip(sizes.items(), contract.goal.readings(contract), strict=True)
    rows += [
        ("in", name, str(size), reading.unit, contract.goal.frame, "whoever asks") for (name, size), reading in goals
    ]
    told = (command_output(contract), len(contract.robot.joints), contract.robot.command_unit, "joint")
    out = [told, (REACHABILITY_OUTPUT, 1, "probability", "")]
    if memory:
        rows.append(("in", HISTORY_INPUT, str(memory), "", "", HISTORY_OUTPUT))
        out.append((HISTORY_OUTPUT, memory, "", ""))
    rows += [("out", name, str(size), unit, frame, "") for name, size, unit, frame in out]
    said = "The graph takes and gives physical quantities, float32, with a free first dimension."
    return Section("Interface", (said,), table=(("", "name", "size", "unit", "frame", "source"), *rows))


def _joints(policy: Policy) -> Section:
    contract = policy.contract
    rows = [
        (
            joint.name,
            *(f"{n:g}" for n in (joint.position_min, joint.position_max, joint.velocity_max, joint.effort_max, step)),
            *(f"{n:g}" for n in (joint.stiffness, joint.damping, joint.home_position)),
        )
        for joint, step in zip(contract.robot.joints, contract.action.step_max, strict=True)
    ]
    said = "Radians and N m of hinges, metres and N of slides, in the order of the policy. A step is a control step."
    return Section("Joints", (said,), table=(("", "min", "max", "per s", "effort", "step", "kp", "kd", "home"), *rows))


def _certificate(policy: Policy) -> Section:
    certificate, unit = policy.certificate, policy.contract.robot.command_unit
    return Section(
        "Certificate",
        ("How far the file is from the policy that was trained, when it was written and on the machine of this card.",),
        table=(
            ("", ""),
            ("largest difference", f"{certificate.max_abs_error:.1e} {unit} over {certificate.samples} inputs"),
            ("99th percentile", f"{certificate.p99_abs_error:.1e} {unit}"),
            ("golden vectors, here", f"{policy.golden_error:.1e} {unit}"),
            ("graph", f"opset {certificate.opset}, {certificate.nodes} nodes, {certificate.parameters} parameters"),
            ("one inference", f"{certificate.tick_us_p50:.0f} µs, p99 {certificate.tick_us_p99:.0f} µs"),
            ("on", certificate.machine),
        ),
    )


def _origin(policy: Policy) -> Section:
    contract, lineage = policy.contract, policy.contract.lineage
    teacher = f"{lineage.teacher or 'unknown'}, {lineage.teacher_depth} layers deep"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(policy.certificate.versions.items()))
    return Section(
        "Where it comes from",
        table=(
            ("", ""),
            ("license", policy.license or "not stated in the file"),
            ("teacher", teacher),
            ("student", lineage.student or "unknown"),
            ("made with", versions),
            ("contract", contract.digest),
            ("robot's MJCF", contract.robot.mjcf_sha256),
            ("file", policy.file_sha256),
        ),
    )
