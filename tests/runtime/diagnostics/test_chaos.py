from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from runtime.cli import main
from runtime.diagnostics.chaos.rig import Rig, Witness
from runtime.diagnostics.chaos.scenario import Scenario, run_scenario
from runtime.diagnostics.chaos.soak import soak
from runtime.diagnostics.chaos.table import all_scenarios, outcome_table
from runtime.inference.policy import Policy
from runtime.safety import Safety
from runtime.status import State
from sim2real.contract import Contract
from sim2real.errors import ShoalError

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "models" / "franka_pose.onnx"


@pytest.fixture(scope="module")
def shipped() -> Policy:
    return Policy(SHIPPED)


@pytest.fixture(scope="module")
def pushing() -> Policy:
    return Policy(ROOT / "models" / "franka_push.onnx")


PROCESSES = [scenario for scenario in all_scenarios() if scenario.run_served is not None]


@pytest.mark.parametrize("scenario", all_scenarios(processes=False), ids=lambda scenario: scenario.name)
def test_fault_gets_its_response_and_commands_keep_their_bounds(
    scenario: Scenario, shipped: Policy, pushing: Policy
) -> None:
    policy = shipped if scenario.concerns(shipped.contract) else pushing
    outcome = run_scenario(scenario, policy)
    assert outcome.passed, outcome.problems


def test_a_box_for_the_tool_holds_where_the_goal_box_is_an_objects(pushing: Policy) -> None:
    workspace = next(scenario for scenario in all_scenarios(processes=False) if scenario.name == "workspace")
    outcome = run_scenario(workspace, pushing)
    assert outcome.passed, outcome.problems


@pytest.mark.slow
@pytest.mark.parametrize("scenario", PROCESSES, ids=lambda scenario: scenario.name)
def test_fault_of_processes_gets_its_response(scenario: Scenario, shipped: Policy) -> None:
    outcome = run_scenario(scenario, shipped)
    assert outcome.passed, outcome.problems


def test_names_are_unique() -> None:
    names = [scenario.name for scenario in all_scenarios()]
    assert len(set(names)) == len(names) >= 30


def test_witness_sees_what_must_not_be(contract: Contract) -> None:
    safety = Safety(contract)
    home = np.array([joint.home_position for joint in contract.robot.joints])
    for commands, problem in (
        ([home, np.full(7, np.nan)], "not finite"),
        ([safety.high + 0.01], "outside the joint limits"),
        ([home, home + 1.5 * safety.max_step], "jumps by 1.50 times"),
        ([home, home + 0.9 * safety.max_step, home], "faster than the acceleration limit"),
    ):
        witness = Witness(safety)
        for command in commands:
            witness.see(command)
        assert len(witness.problems) == 1
        assert problem in witness.problems[0]


def test_wrong_response_is_noticed(shipped: Policy) -> None:
    def nothing(rig: Rig) -> None:
        rig.tick(3)

    wrong = Scenario("none", "no fault", "a stop", frozenset({State.ESTOP}), frozenset({State.HOLD}), nothing)
    outcome = run_scenario(wrong, shipped)
    assert not outcome.passed
    assert outcome.problems == ("ended in active, not in estop", "hold was never entered") or outcome.problems == (
        "ended in ramp-in, not in estop",
        "hold was never entered",
    )
    assert outcome_table([outcome]).row_count == 1


def test_a_scenario_that_breaks_off_has_failed_and_is_a_row(shipped: Policy) -> None:
    def breaks_off(policy: Path, folder: Path) -> tuple[State, list[str]]:
        raise ShoalError("the server has no listener.")

    outcome = run_scenario(
        Scenario("none", "no fault", "none", frozenset({State.ESTOP}), run_served=breaks_off), shipped
    )
    assert (outcome.passed, outcome.problems) == (False, ("broke off: the server has no listener.",))
    assert outcome_table([outcome]).row_count == 1


def test_robots_that_no_scenario_is_about_are_refused_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["chaos", "--model", str(SHIPPED.parent / "ant.onnx"), "--quick"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: chaos: the faults are those of arms, and ant brings no tool")


def test_an_impossible_json_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["chaos", "--model", str(SHIPPED), "--quick", "--json", str(tmp_path)])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: --json: cannot write {tmp_path}: Is a directory; choose another path.\n"


def test_memory_and_handles_stay_flat() -> None:
    report = soak(SHIPPED, 0.01)
    assert report.passed, report.line
    assert report.ticks >= 500
    assert report.blocks[1] - report.blocks[0] < 5000, report.line


def test_command_writes_its_outcomes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "chaos.json"
    with pytest.raises(SystemExit) as ended:
        main(["chaos", "--model", str(SHIPPED), "--quick", "--only", "NaN", "--json", str(path)])
    assert ended.value.code == 0
    assert "4 of 4 responses as they must be" in capsys.readouterr().out
    assert {row["ended_in"] for row in json.loads(path.read_text())} == {"active"}
    with pytest.raises(SystemExit) as ended:
        main(["chaos", "--model", str(SHIPPED), "--only", "nonsense"])
    assert ended.value.code == 2
    assert "no scenario has 'nonsense' in its name" in capsys.readouterr().err
