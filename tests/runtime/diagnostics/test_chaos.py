from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime.cli import main
from runtime.diagnostics.chaos.rig import Rig, Witness
from runtime.diagnostics.chaos.scenario import Scenario, Subject, run_scenario
from runtime.diagnostics.chaos.soak import soak
from runtime.diagnostics.chaos.table import all_scenarios, outcome_table
from runtime.inference.policy import Policy
from runtime.safety import Safety, SafetyConfig, load_safety
from runtime.status import State
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.tasks.task import Task, load_task
from tests.runtime.any_policy import write_any_policy
from tests.runtime.effort_arm import effort_task
from tests.runtime.velocity_arm import mixed_task, velocity_franka, velocity_task
from tests.sim2real.planar_arm import write_task

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "models" / "franka_pose.onnx"


@pytest.fixture(scope="module")
def shipped() -> Subject:
    return Subject(Policy(SHIPPED))


@pytest.fixture(scope="module")
def pushing() -> Subject:
    return Subject(Policy(ROOT / "models" / "franka_push.onnx"))


@pytest.fixture(scope="module")
def on_four_legs() -> Subject:
    settings = load_safety(ROOT / "models" / "quadruped_walk.safety.yaml")
    return Subject(Policy(ROOT / "models" / "quadruped_walk.onnx"), safety=settings)


def concerned(scenario: Scenario, *subjects: Subject) -> Subject:
    """The first that the scenario concerns."""
    return next(subject for subject in subjects if scenario.concerns(subject))


PROCESSES = [scenario for scenario in all_scenarios() if scenario.run_served is not None]


@pytest.mark.parametrize("scenario", all_scenarios(processes=False), ids=lambda scenario: scenario.name)
def test_fault_gets_its_response_and_commands_keep_their_bounds(
    scenario: Scenario, shipped: Subject, pushing: Subject, on_four_legs: Subject
) -> None:
    outcome = run_scenario(scenario, concerned(scenario, shipped, pushing, on_four_legs))
    assert outcome.passed, outcome.problems


def test_a_box_for_the_tool_holds_where_the_goal_box_is_an_objects(pushing: Subject) -> None:
    workspace = next(scenario for scenario in all_scenarios(processes=False) if scenario.name == "workspace")
    outcome = run_scenario(workspace, pushing)
    assert outcome.passed, outcome.problems


@pytest.mark.slow
@pytest.mark.parametrize("scenario", PROCESSES, ids=lambda scenario: scenario.name)
def test_fault_of_processes_gets_its_response(scenario: Scenario, shipped: Subject, on_four_legs: Subject) -> None:
    outcome = run_scenario(scenario, concerned(scenario, shipped, on_four_legs))
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


def test_wrong_response_is_noticed(shipped: Subject) -> None:
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


def test_a_scenario_that_breaks_off_has_failed_and_is_a_row(shipped: Subject) -> None:
    def breaks_off(subject: Subject, folder: Path) -> tuple[State, list[str]]:
        raise ShoalError("the server has no listener.")

    outcome = run_scenario(
        Scenario("none", "no fault", "none", frozenset({State.ESTOP}), run_served=breaks_off), shipped
    )
    assert (outcome.passed, outcome.problems) == (False, ("broke off: the server has no listener.",))
    assert outcome_table([outcome]).row_count == 1


ANT = ROOT / "models" / "ant.onnx"
"""Walks on legs, has no tool, and is not refused once what it walks on is allowed for."""


@pytest.fixture(scope="module")
def walking() -> Subject:
    return Subject(Policy(ANT), safety=SafetyConfig(tracking_max_rad=0.8))


ON_LEGS = [s for s in all_scenarios(processes=False) if s.concerns(Subject(Policy(ANT)))]
QUICK = ("stale for long", "reversed velocity", "emergency stop")


@pytest.mark.parametrize(
    "scenario",
    [s if s.name in QUICK else pytest.param(s, marks=pytest.mark.slow) for s in ON_LEGS],
    ids=lambda scenario: scenario.name,
)
def test_robots_with_legs_meet_what_concerns_them(scenario: Scenario, walking: Subject) -> None:
    outcome = run_scenario(scenario, walking)
    assert outcome.passed, outcome.problems


def test_what_does_not_concern_a_robot_is_left_out_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["chaos", "--model", str(ANT), "--quick", "--only", "goal runs out"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 1 responses as they must be" in said
    assert "left out, since it has no tool: self-collision, workspace" in said
    assert "left out, since it moves no object: object lost, object far away, object jumps" in said
    assert "left out, since it has no reading end_effector_position: millimetres" in said


DRIVES: dict[str, Callable[[Path], Task]] = {
    "velocities": velocity_task,
    "efforts": effort_task,
    "a position and a velocity": mixed_task,
}
INSIDE = [scenario for scenario in all_scenarios(processes=False) if scenario.name != "blocked"]
"""Nothing blocks drives that are told velocities, and the random policy sends the other one nowhere far."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Subject]:
    @functools.cache
    def subject(what: str) -> Subject:
        folder = tmp_path_factory.mktemp("drives")
        task = DRIVES[what](folder)
        return Subject(Policy(write_any_policy(folder / "any.onnx", task.contract)), task.mjcf_path)

    return subject


@pytest.mark.parametrize("what", DRIVES)
@pytest.mark.parametrize("scenario", INSIDE, ids=lambda scenario: scenario.name)
def test_drives_that_are_told_other_quantities_meet_what_concerns_them(
    scenario: Scenario, what: str, told: Callable[[str], Subject]
) -> None:
    subject = told(what)
    if scenario.needs(subject):
        assert scenario.name.startswith(("object", "odometry", "self-collision", "workspace", "command ramp"))
        return
    outcome = run_scenario(scenario, subject)
    assert outcome.passed, outcome.problems


@pytest.mark.parametrize("name", ["self-collision", "workspace"])
def test_velocities_lead_into_nothing_either(name: str, tmp_path: Path) -> None:
    task = velocity_franka(tmp_path)
    policy = Policy(write_any_policy(tmp_path / "any.onnx", task.contract))
    (scenario,) = (scenario for scenario in INSIDE if scenario.name == name)
    outcome = run_scenario(scenario, Subject(policy, task.mjcf_path))
    assert outcome.passed, outcome.problems
    assert outcome.speed_share == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("make", "first", "then", "problem"),
    [
        (velocity_task, [0.0, 0.0], [1.0, 0.0], "changes its speed faster"),
        (velocity_task, [0.0, 0.0], [9.0, 0.0], "outside the joint limits"),
        (velocity_task, [0.1, 0.0], [0.2, 0.0], "speeds up while nothing is followed"),
        (effort_task, [0.0, 0.0], [0.0, 0.5], "pushes while nothing is followed"),
        (effort_task, [0.0, 0.0], [0.0, 99.0], "outside the joint limits"),
    ],
)
def test_witness_sees_what_must_not_be_of_velocities_and_efforts(
    make: Callable[[Path], Task], first: list[float], then: list[float], problem: str, tmp_path: Path
) -> None:
    witness = Witness(Safety(make(tmp_path).contract))
    witness.see(np.array(first))
    before = len(witness.problems)
    witness.see(np.array(then))
    assert any(problem in found for found in witness.problems[before:]), witness.problems


def test_what_efforts_cannot_meet_is_left_out_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = effort_task(tmp_path)
    efforts = write_any_policy(tmp_path / "effort.onnx", task.contract)
    with pytest.raises(SystemExit) as ended:
        main(["chaos", "--model", str(efforts), "--mjcf", str(task.mjcf_path), "--quick", "--only", "NaN"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "4 of 4 responses as they must be" in said
    assert "left out, since its drives are told efforts, and no joint is sent anywhere: blocked" in said
    assert "left out, since its drives are told efforts: command ramp, self-collision, workspace" in said


def test_a_robot_of_ones_own_is_named_by_its_mjcf(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = load_task(write_task(tmp_path))
    policy = write_any_policy(tmp_path / "planar.onnx", task.contract)
    for command in (["chaos", "--model"], ["verify"]):
        more = ["--quick", "--only", "wrong model"] if command[0] == "chaos" else []
        with pytest.raises(SystemExit) as ended:
            main([*command, str(policy), "--mjcf", str(task.mjcf_path), *more])
        assert ended.value.code == 0, capsys.readouterr().err
    assert "arm.xml compiles to the contract's digest" in capsys.readouterr().out


def test_an_impossible_json_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["chaos", "--model", str(SHIPPED), "--quick", "--json", str(tmp_path)])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: --json: cannot write {tmp_path}: Is a directory; choose another path.\n"


def test_memory_and_handles_stay_flat() -> None:
    report = soak(Subject(Policy(SHIPPED)), 0.01)
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
