"""What a scenario is, and how one is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from runtime.diagnostics.chaos.rig import Rig
from runtime.inference.policy import Policy
from runtime.page.config import page_installed
from runtime.safety import SafetyConfig
from runtime.status import State
from sim2real.contract import Contract
from sim2real.errors import ShoalError

_BEFORE = 12
"""Ticks of motion before the fault."""
FOLLOWS = frozenset({State.ACTIVE, State.RAMP_IN})


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
    run_served: Callable[[Path, Path], tuple[State, list[str]]] | None = None
    """Instead of `run`: real processes, with the policy file and a scratch folder; the state at the end, and what was
    wrong."""
    about_object: bool = False
    """Only for policies that move an object."""
    needs_page: bool = False
    """Only where what `shoal[page]` adds is installed."""

    def concerns(self, contract: Contract) -> bool:
        """Whether policies of this contract can meet it."""
        return contract.tracked is not None or not self.about_object

    @property
    def installed(self) -> bool:
        """Whether this installation has what it needs."""
        return not self.needs_page or page_installed()


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


def run_scenario(scenario: Scenario, policy: Policy) -> Outcome:
    """One scenario with a fresh robot; what breaks off is one that failed, and the others have their turn."""
    try:
        return _run(scenario, policy)
    except ShoalError as error:
        return Outcome(scenario, None, None, (f"broke off: {error}",))


def _run(scenario: Scenario, policy: Policy) -> Outcome:
    if scenario.run_served is not None:
        with TemporaryDirectory(prefix="shoal-") as folder:
            state, problems = scenario.run_served(policy.path, Path(folder))
        return _judged(scenario, state, None, problems, frozenset(State))
    assert scenario.run is not None
    config = scenario.config(policy.contract) if callable(scenario.config) else scenario.config
    rig = Rig(policy, config=config, speed=scenario.speed)
    rig.move()
    rig.tick(_BEFORE)
    rig.require(rig.state in FOLLOWS, f"the robot did not move before the fault: {rig.core.safety.reason.sentence}")
    rig.states.clear()
    scenario.run(rig)
    return _judged(
        scenario, rig.state, rig.witness.speed_share, rig.problems + rig.witness.problems, frozenset(rig.states)
    )


def run_scenarios(path: Path, scenarios: list[Scenario]) -> Iterator[Outcome]:
    """One after the other."""
    policy = Policy(path)
    for scenario in scenarios:
        yield run_scenario(scenario, policy)


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
