from __future__ import annotations

from benchmarks.safety_tables import PAGE, page, rule_table
from runtime.safety import SafetyConfig
from runtime.safety.rules import RULES


def test_the_documentation_lists_every_rule_and_every_fault() -> None:
    assert PAGE.read_text() == page(PAGE.read_text()), "run python -m benchmarks.safety_tables"


def test_every_setting_belongs_to_a_rule() -> None:
    """One that no rule names would be in no table and in no report."""
    assert {field for rule in RULES for field in rule.fields} == set(SafetyConfig.model_fields)
    assert len({rule.name for rule in RULES}) == len(RULES) == len(rule_table().splitlines()) - 2
