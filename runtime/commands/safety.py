"""What the safety layer does: `runtime safety`, `chaos`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim2real.commands.outputs import JsonFile


@dataclass(frozen=True)
class Safety:
    """Show which safety rules are in force for a policy, and with which numbers; or the schema of the settings."""

    model: Path | None = None
    """The policy file, written by export-onnx."""
    safety: Path | None = None
    """YAML with limits and fault responses, as for runtime serve."""
    mjcf: Path | None = None
    """The robot's MJCF, where it does not ship with Shoal."""
    schema: bool = False
    """Print the JSON schema of that YAML, for editors, instead."""

    def run(self) -> int:
        """A table, or JSON."""
        from runtime.safety import SafetyConfig
        from sim2real.errors import ShoalError

        if self.schema:
            print(json.dumps(SafetyConfig.model_json_schema(), indent=2))
            return 0
        if self.model is None:
            raise ShoalError("--model: give the policy file whose rules to show, or --schema.")
        _print_rules(self.model, self.safety, self.mjcf)
        return 0


def _print_rules(model: Path, settings: Path | None, mjcf: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from runtime.inference.policy import Policy
    from runtime.robot.model import find_model
    from runtime.safety import SafetyConfig, load_safety
    from runtime.safety.geometry import geometry_checker_for
    from runtime.safety.rules import rules_of
    from runtime.safety.rules.base import Layer

    contract = Policy(model).contract
    config = SafetyConfig() if settings is None else load_safety(settings)
    layer = Layer(contract, config, geometry_checker_for(find_model(contract, mjcf), contract, config))
    table = Table("rule", "", "numbers, or why it is off", title=f"safety of {model.name}, task {contract.task}")
    for rule in rules_of(contract):
        off = rule.off(layer)
        table.add_row(rule.name, "off" if off else "on", off or rule.numbers(layer))
    Console().print(table)


if TYPE_CHECKING:
    from runtime.diagnostics.chaos.scenario import Subject
    from runtime.diagnostics.chaos.soak import SoakReport


@dataclass(frozen=True)
class Chaos:
    """Inject faults into a served simulation of a policy's robot, and check every response and every command."""

    model: Path
    """The policy file, written by export-onnx."""
    quick: bool = False
    """Leave out the scenarios that need processes of their own."""
    only: str | None = None
    """Only the scenarios whose name has this in it."""
    mjcf: Path | None = None
    """The robot's MJCF, where it does not ship with Shoal."""
    safety: Path | None = None
    """YAML with limits and fault responses, as for runtime serve; a scenario's own settings come on top."""
    soak_hours: float | None = None
    """Instead: simulate this long with faults all along, and watch memory and handles."""
    quiet: bool = False
    """No progress, only the result."""
    json: JsonFile | None = None
    """Write the outcomes here."""

    def run(self) -> int:
        """Exit status 1 when a response or a command was not what it must be."""
        from runtime.diagnostics.chaos.table import outcome_record

        subject = self._subject()
        if self.soak_hours is not None:
            report = _soak(subject, self.soak_hours, quiet=self.quiet)
            self._write({"soak": report.line, "passed": report.passed})
            return 0 if report.passed else 1
        outcomes = self._scenarios(subject)
        self._write([outcome_record(outcome) for outcome in outcomes])
        return 0 if all(outcome.passed for outcome in outcomes) else 1

    def _subject(self) -> Subject:
        from runtime.diagnostics.chaos.scenario import Subject
        from runtime.drivers.base import DriverOptions
        from runtime.drivers.mujoco import MujocoDriver
        from runtime.inference.policy import Policy
        from runtime.safety import SafetyConfig, load_safety

        safety = SafetyConfig() if self.safety is None else load_safety(self.safety)
        subject = Subject(Policy(self.model), self.mjcf, safety)
        # What nobody can simulate is refused once, and not by every scenario.
        MujocoDriver(subject.contract, DriverOptions(mjcf=self.mjcf)).close()
        return subject

    def _scenarios(self, subject: Subject) -> list[Any]:
        from rich.console import Console
        from rich.progress import track

        from runtime.diagnostics.chaos.scenario import run_scenario
        from runtime.diagnostics.chaos.table import all_scenarios, outcome_table
        from sim2real.errors import ShoalError

        scenarios = all_scenarios(processes=not self.quick)
        why_not = {s.name: s.needs(subject) for s in scenarios}
        every = [s for s in scenarios if not why_not[s.name] and s.installed]
        chosen = [s for s in every if self.only is None or self.only in s.name]
        if not chosen:
            names = ", ".join(s.name for s in every)
            raise ShoalError(f"--only: no scenario has {self.only!r} in its name; there are {names}.")
        # Two columns of sentences need room, also in a log.
        console = Console(width=max(Console().width, 150))
        outcomes = [
            run_scenario(s, subject)
            for s in track(chosen, "faults", console=console, transient=True, disable=self.quiet)
        ]
        console.print(outcome_table(outcomes))
        failed = sum(not outcome.passed for outcome in outcomes)
        console.print(f"{len(outcomes) - failed} of {len(outcomes)} responses as they must be")
        left_out: dict[str, list[str]] = {}
        for name, why in why_not.items():
            if why:
                left_out.setdefault(why, []).append(name)
        left_out["shoal[page] is not installed"] = [s.name for s in scenarios if not s.installed]
        for why, found in left_out.items():
            if found:
                console.print(f"left out, since {why}: {', '.join(found)}", markup=False)
        return outcomes

    def _write(self, content: object) -> None:
        from sim2real.files import write_json

        if self.json is not None:
            write_json(self.json, content)


def _soak(subject: Subject, hours: float, *, quiet: bool) -> SoakReport:
    from rich.progress import Progress

    from runtime.diagnostics.chaos.soak import soak

    with Progress(transient=True, disable=quiet) as progress:
        task = progress.add_task("soak", total=1.0)
        report = soak(subject, hours, on_round=lambda share: progress.update(task, completed=share))
    print(report.line)
    return report
