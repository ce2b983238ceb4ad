"""What a scenario is, and how one is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from subprocess import SubprocessError
from tempfile import TemporaryDirectory
from typing import NamedTuple

from runtime.diagnostics.chaos.rig import FOLLOWS, Rig
from runtime.inference.policy import Policy
from runtime.robot.model import find_model
from runtime.safety import SafetyConfig
from runtime.safety.geometry import geometry_checker_for
from runtime.status import State
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.pages import viser_installed

_BEFORE = 12
"""Ticks of motion before the fault."""


class Subject(NamedTuple):
    """The robot that faults are injected into."""

    policy: Policy
    mjcf: Path | None = None
    """Where it does not ship with Shoal."""
    safety: SafetyConfig = SafetyConfig()
    """What a scenario does not set itself."""

    @property
    def model(self) -> Path:
        """The policy file."""
        return self.policy.path

    @property
    def contract(self) -> Contract:
        """The policy's."""
        return self.policy.contract


Need = Callable[[Subject], str]
"""Why a fault cannot be injected into a robot; empty where it can."""


def any_robot(subject: Subject) -> str:
    """Whatever its drives are told."""
    return ""


def some_positions(subject: Subject) -> str:
    """A robot that sends some joint to positions, so that it can be missed there."""
    modes = {joint.mode for joint in subject.contract.robot.joints}
    return "" if "position" in modes else f"its drives are told {_quantities(modes)}, and no joint is sent anywhere"


def limited_accelerations(subject: Subject) -> str:
    """A robot whose drives are told no efforts, to which a limit of accelerations does not apply."""
    modes = {joint.mode for joint in subject.contract.robot.joints}
    return f"its drives are told {_quantities(modes)}" if "effort" in modes else ""


def _quantities(modes: Iterable[str]) -> str:
    return " and ".join(
        {"position": "positions", "velocity": "velocities", "effort": "efforts"}[m] for m in sorted(modes)
    )


def geometry(subject: Subject) -> str:
    """An arm whose MJCF says what could touch what."""
    if subject.contract.robot.end_effector_frame is None:
        return "it has no tool"
    model = find_model(subject.contract, subject.mjcf)
    checker = geometry_checker_for(model, subject.contract, SafetyConfig(workspace_margin_m=None))
    return "" if checker is not None and checker.pairs else "it has no parts that could touch"


@dataclass(frozen=True)
class Scenario:
    """A fault and the response that it must have. In every one the commands must keep the limits on position, velocity
    and acceleration; see `runtime.diagnostics.chaos.rig.Witness`.
    """

    name: str
    fault: str
    response: str
    ends_in: frozenset[State]
    """One of these, with the fault over."""
    during: frozenset[State] = frozenset()
    """States that must have been seen while it lasted."""
    run: Callable[[Rig], None] | None = None
    """Injects the fault into a moving robot, in this process."""
    config: SafetyConfig | Callable[[Contract], SafetyConfig] | None = None
    speed: float = 0.0
    """Of the simulation; 0 ticks without waiting."""
    run_served: Callable[[Subject, Path], tuple[State, list[str]]] | None = None
    """Instead of `run`: real processes, with the robot and a scratch folder; the state at the end, and what was
    wrong."""
    needs: Need = any_robot
    """What of a robot and its policy it takes."""
    needs_page: bool = False
    """Only where what `shoal[page]` adds is installed."""

    def concerns(self, subject: Subject) -> bool:
        """Whether this robot can meet it."""
        return not self.needs(subject)

    @property
    def installed(self) -> bool:
        """Whether this installation has what it needs."""
        return not self.needs_page or viser_installed()


@dataclass(frozen=True)
class Outcome:
    """What happened in one scenario."""

    scenario: Scenario
    ended_in: State | None
    """None where it broke off."""
    speed_share: float | None
    """Largest step of the commands as a share of the velocity limit; None where the robot is in another process, which
    counts what it had to correct."""
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the response was the one that it must be."""
        return not self.problems


def run_scenario(scenario: Scenario, subject: Subject) -> Outcome:
    """One scenario with a fresh robot; what breaks off is one that failed, and the others have their turn."""
    try:
        return _run(scenario, subject)
    except (ShoalError, OSError, SubprocessError) as error:
        return Outcome(scenario, None, None, (f"broke off: {error}",))


def _run(scenario: Scenario, subject: Subject) -> Outcome:
    if scenario.run_served is not None:
        with TemporaryDirectory(prefix="shoal-") as folder:
            state, problems = scenario.run_served(subject, Path(folder))
        return _judged(scenario, state, None, problems, frozenset(State))
    assert scenario.run is not None
    policy = subject.policy
    own = scenario.config(policy.contract) if callable(scenario.config) else scenario.config
    config = subject.safety if own is None else subject.safety.model_copy(update=own.model_dump(exclude_unset=True))
    rig = Rig(policy, config=config, speed=scenario.speed, mjcf=subject.mjcf)
    rig.move()
    rig.tick(_BEFORE)
    rig.require(rig.state in FOLLOWS, f"the robot did not move before the fault: {rig.core.safety.reason.sentence}")
    rig.states.clear()
    scenario.run(rig)
    return _judged(
        scenario, rig.state, rig.witness.speed_share, rig.problems + rig.witness.problems, frozenset(rig.states)
    )


def _judged(
    scenario: Scenario, state: State, share: float | None, problems: list[str], seen: frozenset[State]
) -> Outcome:
    found = list(problems)
    if state not in scenario.ends_in:
        found.append(f"ended in {state.label}, not in {labels(scenario.ends_in)}")
    missing = scenario.during - seen
    if missing:
        found.append(f"{labels(missing)} was never entered")
    return Outcome(scenario, state, share, tuple(found))


def labels(states: frozenset[State]) -> str:
    """`active or hold`, in the states' order."""
    return " or ".join(state.label for state in sorted(states))
