"""All scenarios, and the tables that are made of them."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from runtime.diagnostics.chaos.control import control_scenarios
from runtime.diagnostics.chaos.files import file_scenarios
from runtime.diagnostics.chaos.readings import reading_scenarios
from runtime.diagnostics.chaos.scenario import Outcome, Scenario, labels
from runtime.diagnostics.chaos.served.page import page_scenarios
from runtime.diagnostics.chaos.served.processes import process_scenarios
from runtime.diagnostics.chaos.served.stops import stop_scenarios
from runtime.diagnostics.chaos.served.strangers import stranger_scenarios
from runtime.diagnostics.chaos.served.surroundings import surrounding_scenarios
from runtime.diagnostics.chaos.served.unitree import unitree_scenarios


def all_scenarios(*, processes: bool = True) -> list[Scenario]:
    """Every scenario; those with processes of their own take some seconds each."""
    inside = [*reading_scenarios(), *control_scenarios(), *file_scenarios()]
    return (
        [
            *inside,
            *process_scenarios(),
            *surrounding_scenarios(),
            *stop_scenarios(),
            *page_scenarios(),
            *stranger_scenarios(),
            *unitree_scenarios(),
        ]
        if processes
        else inside
    )


def markdown(scenarios: Iterable[Scenario]) -> str:
    """Fault, response and end as a table for the documentation."""
    rows = [f"| {s.name} | {s.fault} | {s.response} | {labels(s.ends_in)} |" for s in scenarios]
    return "\n".join(["| name | fault | response | ends in |", "| --- | --- | --- | --- |", *rows])


def outcome_table(outcomes: Iterable[Outcome]) -> Table:
    """What happened, for the terminal."""
    table = Table("name", "fault", "response", "ended in", "largest step", "", title="fault → response")
    for outcome in outcomes:
        share = "" if outcome.speed_share is None else f"{100 * outcome.speed_share:.0f} %"
        verdict = "ok" if outcome.passed else "; ".join(outcome.problems)
        scenario = outcome.scenario
        table.add_row(scenario.name, scenario.fault, scenario.response, _ended(outcome) or "-", share, verdict)
    table.caption = "largest step: of the joint velocity limit (efforts: of theirs), which no command may exceed"
    return table


def outcome_record(outcome: Outcome) -> dict[str, object]:
    """An outcome as plain data for JSON."""
    return {
        "name": outcome.scenario.name,
        "fault": outcome.scenario.fault,
        "response": outcome.scenario.response,
        "ended_in": _ended(outcome),
        "largest_step_share": outcome.speed_share,
        "passed": outcome.passed,
        "problems": list(outcome.problems),
    }


def _ended(outcome: Outcome) -> str | None:
    return None if outcome.ended_in is None else outcome.ended_in.label
