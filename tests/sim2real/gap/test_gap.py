"""The gap report: nothing between a model and itself, and what was put between two models is found and shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.sim2real.hidden_robot import record
from sim2real.cli import main
from sim2real.contract.interface import request_size
from sim2real.errors import ShoalError
from sim2real.evaluation.onnx_policy import OnnxPolicy
from sim2real.gap.closed_loop import NativeBody, outcomes, run_policy
from sim2real.gap.open_loop import compare
from sim2real.gap.plots import goal_distance
from sim2real.gap.report import Gap
from sim2real.gap.sources import from_mjx, from_native, random_goals
from sim2real.logs.log import Log, LoggedGoal, read_log
from sim2real.tasks.task import Task, load_task

ROOT = Path(__file__).parents[3]
MODEL = ROOT / "models" / "franka_reach.onnx"


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("franka_reach")


@pytest.fixture(scope="module")
def policy() -> OnnxPolicy:
    return OnnxPolicy(MODEL, batch=1)


@pytest.fixture(scope="module")
def other_mjcf(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same arm with weaker, stickier servos."""
    path = tmp_path_factory.mktemp("robot") / "other.xml"
    text = (
        task.mjcf_path.read_text().replace('kp="3000"', 'kp="2000"').replace('frictionloss="0.2"', 'frictionloss="3"')
    )
    path.write_text(text)
    return path


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr("sys.argv", ["sim2real", *arguments])
    main()
    return capsys.readouterr().out


def test_nothing_lies_between_a_model_and_itself(task: Task, policy: OnnxPolicy) -> None:
    log = from_native(task, policy, random_goals(task, 2, seed=0), model=task.model)
    gap = Gap(compare(log, task.model), log, log)
    assert max(signal.rms for signal in gap.open_loop.signals) < 1e-9
    assert max(rms.max() for rms in gap.open_loop.horizon_rms.values()) < 1e-9
    assert gap.open_loop.lag is not None
    assert abs(gap.open_loop.lag.seconds) < 1e-4
    assert all(a == b for a, b in gap.goals())
    assert "no delay to speak of" in " ".join(gap.sentences())


def test_another_robot_is_shown(
    other_mjcf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run(
        [
            "gap",
            "--task",
            "franka_reach",
            "--against",
            "native",
            "--mjcf",
            str(other_mjcf),
            "--model",
            str(MODEL),
            "--goals",
            "2",
            "--output",
            str(tmp_path),
        ],
        monkeypatch,
        capsys,
    )
    assert "Of 2 goals" in said
    assert "a softer servo; sim2real identify tells them apart" in said
    found = json.loads((tmp_path / "gap.json").read_text())
    assert found["closed_loop"]["simulated"]["success"] == 1
    assert {signal["unit"] for signal in found["signals"]} == {"rad", "rad/s", "m"}
    worst = max(found["signals"], key=lambda signal: signal["rms"] * (signal["unit"] == "rad"))
    assert worst["name"] in ("fr3_joint1 position", "fr3_joint2 position", "fr3_joint3 position")
    ahead = found["steps_ahead_rms_rad"]
    assert 1e-5 < ahead["1"]["fr3_joint1"] < ahead["10"]["fr3_joint1"]
    assert 0.005 < found["delay_s"] < 0.06
    page = (tmp_path / "gap.html").read_text()
    assert page.count("<svg") == 4
    assert "src=" not in page
    assert "fr3_joint7" in page


def test_recorded_log_with_goals(
    task: Task, policy: OnnxPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = from_native(task, policy, random_goals(task, 1, seed=3), model=task.model)
    path = record(tmp_path / "run.mcap", log)
    said = run(["gap", "--task", "franka_reach", "--log", str(path), "--output", str(tmp_path)], monkeypatch, capsys)
    assert "were reached" not in said  # this recording holds no goals
    assert json.loads((tmp_path / "gap.json").read_text())["closed_loop"] is None


def log_of_distances(task: Task, distances: list[float]) -> Log:
    count, joints = len(distances), len(task.contract.joint_names)
    time_s = task.contract.timing.control_dt_s * np.arange(count)
    tool = np.stack([np.array(distances) + 0.5, np.zeros(count), np.full(count, 0.4)], axis=1)
    still = np.zeros((count, joints))
    goals = (LoggedGoal(0.0, (0.5, 0.0, 0.4, 0.0, 1.0, 0.0, 0.0)[: request_size(task.contract)], 0.05, 20.0),)
    others = {"end_effector_position": tool, "end_effector_orientation": np.tile([0, 1, 0, 0], (count, 1))}
    return Log(task.contract, "made", time_s, time_s, still, still, still, others, goals)


def test_reached_means_held(task: Task) -> None:
    hold = round(task.contract.goal.hold_s / task.contract.timing.control_dt_s)
    (touched,) = outcomes(log_of_distances(task, [0.2] * 10 + [0.01] * (hold - 1) + [0.2] * 10))
    assert not touched.reached
    assert touched.reached_after_s is None
    (held,) = outcomes(log_of_distances(task, [0.2] * 10 + [0.01] * hold + [0.2] * 10))
    assert held.reached
    assert held.reached_after_s == pytest.approx((10 + hold) * task.contract.timing.control_dt_s)
    assert held.time_at_goal == pytest.approx(hold / (hold + 20))
    assert held.final_distance_m == pytest.approx(0.2)
    np.testing.assert_allclose(goal_distance(log_of_distances(task, [0.2, 0.1])), [0.2, 0.1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --log or --against"),
        (["--log", "run.mcap", "--against", "native"], "give either --log or --against"),
        (["--against", "native"], "--against needs --model"),
        (["--against", "franka", "--model", str(MODEL)], "--host: give the address"),
        (["--log", "missing.mcap"], "no file at missing.mcap"),
    ],
)
def test_wrong_use_is_one_sentence(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["sim2real", "gap", "--task", "franka_reach", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_mjx_and_native_agree(task: Task, policy: OnnxPolicy) -> None:
    log = from_mjx(task, policy, random_goals(task, 2, seed=0))
    gap = compare(log, task.model)
    positions = [signal for signal in gap.signals if signal.unit == "rad"]
    assert 0 < max(signal.rms for signal in positions) < 1e-3
    assert gap.lag is not None
    assert abs(gap.lag.seconds) < 1e-3


@pytest.mark.slow
def test_franka_sim_through_the_served_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "tests.runtime.drivers.franky_server"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        host = server.stdout.readline().strip()
        try:
            said = run(
                [
                    "gap",
                    "--task",
                    "franka_reach",
                    "--against",
                    "franka",
                    "--host",
                    host,
                    "--model",
                    str(MODEL),
                    "--goals",
                    "3",
                    "--output",
                    str(tmp_path),
                ],
                monkeypatch,
                capsys,
            )
        finally:
            server.kill()
    assert "Of 3 goals" in said
    found = json.loads((tmp_path / "gap.json").read_text())
    assert found["closed_loop"]["measured"]["success"] >= 2 / 3
    assert found["delay_s"] is not None


def test_no_policy_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_text("nothing")
    with pytest.raises(ShoalError, match="ONNX Runtime cannot load it"):
        OnnxPolicy(tmp_path / "x.onnx", batch=1)
    with pytest.raises(ShoalError, match="no file at"):
        read_log(tmp_path / "missing.mcap")


def test_a_policy_that_moves_an_object_is_told_of_it_in_closed_loop() -> None:
    task, policy = load_task("franka_push"), OnnxPolicy(ROOT / "models" / "franka_push.onnx", batch=1)
    contract = task.contract
    start = np.array([joint.home_position for joint in contract.robot.joints])
    seen = np.array([0.5, 0.1, 0.04])
    body = NativeBody(task.model, contract, start, {"object_position": seen})
    log = run_policy(policy, body, task.model, [LoggedGoal(0.0, (0.5, 0.0, 0.04), 0.05, 20.0)], 1.0, source="model")
    np.testing.assert_allclose(log.measured("object_position")[0, :2], seen[:2], atol=1e-6)
    assert np.abs(np.diff(log.command, axis=0)).max() > 0


def test_a_floating_base_has_no_gap_that_a_log_could_tell() -> None:
    task = load_task("ant")
    count, joints = 60, len(task.contract.joint_names)
    time_s, still = task.contract.timing.control_dt_s * np.arange(count), np.zeros((count, joints))
    with pytest.raises(ShoalError, match="base floats"):
        compare(Log(task.contract, "made", time_s, time_s, still, still, still), task.model)
