"""`runtime safety`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Safety:
    """Show which safety rules are in force for a policy, and with which numbers; or the schema of the settings."""

    model: Path | None = None
    """The policy file, written by export-onnx."""
    safety: Path | None = None
    """YAML with limits and fault responses, as for runtime serve."""
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
        _print_rules(self.model, self.safety)
        return 0


def _print_rules(model: Path, settings: Path | None) -> None:
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
    layer = Layer(contract, config, geometry_checker_for(find_model(contract), contract, config))
    table = Table("rule", "", "numbers, or why it is off", title=f"safety of {model.name}, task {contract.task}")
    for rule in rules_of(contract):
        off = rule.off(layer)
        table.add_row(rule.name, "off" if off else "on", off or rule.numbers(layer))
    Console().print(table)
