"""The tables of `docs/safety.md`, written from the rules and the scenarios of chaos that they list.

python -m benchmarks.safety_tables
"""

from __future__ import annotations

from pathlib import Path

from runtime.diagnostics.chaos.table import all_scenarios, markdown
from runtime.safety import rules
from runtime.safety.config import SafetyConfig
from runtime.safety.rules.base import Rule
from sim2real.console import command_line

PAGE = Path(__file__).parents[1] / "docs" / "safety.md"


def rule_table() -> str:
    """Every rule with its settings, their defaults, and what happens when it is broken."""
    rows = [f"| {rule.name} | {rule.bounds} | {_settings(rule)} | {_response(rule)} |" for rule in rules.RULES]
    return "\n".join(["| rule | what it bounds | settings | when it is broken |", "| --- | --- | --- | --- |", *rows])


def page(text: str) -> str:
    """The page with its tables as they should be."""
    for name, table in (("rules", rule_table()), ("faults", markdown(all_scenarios()))):
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        text = f"{before}{start}{table}\n{end}{after}"
    return text


def _settings(rule: type[Rule]) -> str:
    defaults = SafetyConfig()
    return ", ".join(f"`{field}` {_default(getattr(defaults, field))}" for field in rule.fields)


def _default(value: object) -> str:
    return "unset" if value is None else f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _response(rule: type[Rule]) -> str:
    return "; ".join(f"{reason.state.label}: {reason.sentence}" for reason in rule.reasons) or rule.response


if __name__ == "__main__":
    with command_line():
        PAGE.write_text(page(PAGE.read_text()))
