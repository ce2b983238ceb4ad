"""A student with a memory, from JAX to the runtime's tick; its weights are random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.policies.onnx_evaluation import evaluate_onnx
from export.write import export_student
from runtime.control.policy_controller import PolicyController
from runtime.goals.messages import ResolvedGoal
from runtime.inference.policy import Policy
from runtime.native.build import find_compiler
from runtime.options import Engine
from runtime.recording import replay as replaying
from runtime.robot.readings import Readings
from sim2real.contract.interface import command, goal_size, observe
from sim2real.contract.policy_file import HISTORY_INPUT, HISTORY_OUTPUT, input_sizes
from sim2real.errors import ShoalError
from sim2real.logs.recording import Recording, read_recording
from sim2real.tasks.task import Task
from student.config import StudentNetworkConfig
from student.history import empty, remember
from student.network import ReachabilityHead, StudentParams, StudentPolicy
from student.policy import greedy, make_policy, student_inputs, student_observation_size
from student.run import Student
from tests.runtime.recording.recorded import checked_core, record
from tests.student.tiny import tiny_distill_config

STEPS = 3


@pytest.fixture(scope="module")
def student(pose_task: Task) -> Student:
    network = StudentNetworkConfig(hidden_layers=1, hidden_width=16, history_steps=STEPS, joint_velocity=False)
    contract, policy = pose_task.contract, make_policy(pose_task.contract, network)
    seen = jnp.zeros((1, student_observation_size(contract, network)))
    inputs = student_inputs(contract, network, seen, jnp.zeros((1, goal_size(contract))))
    params = policy.init(jax.random.key(0), inputs)
    features = policy.apply(params, inputs, method=StudentPolicy.action)[1]
    head = ReachabilityHead().init(jax.random.key(1), inputs, features)
    config = tiny_distill_config(student=network)
    return Student(pose_task, contract, config, policy, StudentParams(params, head))


@pytest.fixture(scope="module")
def path(student: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("history") / "student.onnx"
    certificate = export_student(student, path, samples=400)
    assert certificate.max_abs_error <= 1e-5
    assert {len(rows[0]) for rows in (certificate.golden_inputs[HISTORY_INPUT],)} == {STEPS * 31}
    return path


def core_at_home(policy: Policy) -> tuple[PolicyController, Readings]:
    core, readings = PolicyController(policy), Readings.of(policy.contract)
    readings.joint_position[:] = [joint.home_position for joint in core.contract.robot.joints]
    readings.end_effector_position[:] = 0.4, 0.1, 0.4
    readings.end_effector_orientation[:] = core.contract.default_orientation_wxyz
    goal = ResolvedGoal("", (0.5, 0.1, 0.3, *core.contract.default_orientation_wxyz), 0.01, 1.0, np.inf)
    core.set_goal(goal, number=1, now_s=0.0)
    return core, readings


def test_runtime_commands_what_the_student_would_over_many_ticks(student: Student, path: Path) -> None:
    policy, contract = Policy(path), student.contract
    core, readings = core_at_home(policy)
    act, past = jax.jit(greedy(contract, student.policy)), empty(contract, STEPS, 1)
    rng, out = np.random.default_rng(0), np.zeros(7)
    for tick in range(8):
        readings.joint_position += rng.normal(scale=0.01, size=7)
        readings.time_s = 0.04 * tick
        before = core.safety.target.copy() if tick else readings.joint_position.copy()
        policy.run()  # as to warm up: leaves no trace
        assert core.step(readings, 0.04 * tick, out)
        named = {
            name: np.asarray(before if name == "joint_position_target" else getattr(readings, name), np.float32)[None]
            for name in input_sizes(contract)
            if not name.startswith("goal")
        }
        observation = observe(np, contract, named)
        goal = contract.goal.vector_of(np, contract, {name: value[None] for name, value in policy.inputs.items()})
        action = act(student.params.policy, np.concatenate([observation, past], 1), goal, None)
        wanted = command(np, contract, np.asarray(action), named)[0]
        np.testing.assert_allclose(policy.command, wanted, atol=2e-5)
        past = np.asarray(remember(contract, STEPS, observation, past))
        np.testing.assert_allclose(policy.next_history, past[0], atol=1e-5)


@pytest.mark.parametrize("interruption", ["restart", "stale", "cancelled"])
def test_history_is_forgotten_when_ticks_are_missing(interruption: str, path: Path) -> None:
    core, readings = core_at_home(Policy(path))
    out, goal = np.zeros(7), core.goal
    assert goal is not None
    core.step(readings, 0.0, out)
    readings.joint_position += 0.01
    readings.time_s = 0.04
    core.step(readings, 0.04, out)
    assert np.count_nonzero(core.policy.next_history[30::31]) == 2
    match interruption:
        case "restart":
            core.restart(0.08)
        case "stale":
            core.step(readings, 9.0, out)
        case "cancelled":
            core.cancel_goal(number=2)
            core.step(readings, 0.08, out)
            core.set_goal(goal, number=3, now_s=0.08)
    now_s = 9.04 if interruption == "stale" else 0.12
    readings.time_s = now_s
    core.step(readings, now_s, out)
    assert not core.policy.history.any()
    assert np.count_nonzero(core.policy.next_history[30::31]) == 1


def test_robots_that_share_a_policy_have_memories_of_their_own(path: Path) -> None:
    policy = Policy(path)
    (left, left_readings), (right, right_readings) = core_at_home(policy), core_at_home(policy)
    alone, alone_readings = core_at_home(Policy(path))
    out, wanted = np.zeros(7), np.zeros(7)
    for tick in range(4):
        for readings in (left_readings, alone_readings):
            readings.joint_position += 0.01
        for readings in (left_readings, right_readings, alone_readings):
            readings.time_s = 0.04 * tick
        left.step(left_readings, 0.04 * tick, out)
        alone.step(alone_readings, 0.04 * tick, wanted)
        np.testing.assert_array_equal(out, wanted)
        right.step(right_readings, 0.04 * tick, out)


def test_episodes_run_and_a_missing_history_is_named(path: Path) -> None:
    assert evaluate_onnx(path, 4, 0)[0].episodes == 4
    policy = Policy(path)
    inputs = {name: np.zeros((2, size), np.float32) for name, size in input_sizes(policy.contract).items()}
    with pytest.raises(ShoalError, match=r"needs the inputs.*'history'"):
        policy.infer(inputs)
    outputs = policy.infer(inputs | {HISTORY_INPUT: np.zeros((2, STEPS * 31), np.float32)})
    assert outputs[HISTORY_OUTPUT].shape == (2, STEPS * 31)


def test_kernel_agrees_or_says_why_not(path: Path) -> None:
    engine = Policy(path, engine="auto").engine
    assert "C kernel, within" in engine or "no kernel:" in engine


def test_the_compiled_kernel_remembers_alike(path: Path) -> None:
    if find_compiler() is None:
        pytest.skip("no C compiler on this machine")
    engines = [Policy(path, engine=engine) for engine in ("onnxruntime", "kernel")]
    commands = []
    for policy in engines:
        (core, readings), out = core_at_home(policy), np.zeros(7)
        for step in range(10):
            readings.time_s = 0.04 * step
            core.step(readings, readings.time_s, out)
            readings.joint_position[:] = out
        commands.append(out)
    assert engines[1].engine.startswith("C kernel")
    np.testing.assert_allclose(*commands, atol=1e-4)


@pytest.mark.parametrize("engine", ["onnxruntime", "kernel"])
def test_replay_remembers_and_forgets_where_the_robot_did(engine: Engine, path: Path, tmp_path: Path) -> None:
    if engine == "kernel" and find_compiler() is None:
        pytest.skip("no C compiler on this machine")
    log = tmp_path / "log.mcap"
    record(Policy(path, engine=engine), log)
    recording = read_recording(log)
    reasons = [message["reason"] for message in recording.ticks]
    assert {"reading_not_finite", "estop", "overruns", "cancelled"} <= set(reasons)
    assert reasons.count("following") > 10 * STEPS
    result = replaying.replay(log, path)
    assert (result.ticks, result.different, result.lost) == (100, 0, 0)
    clinging = checked_core(Policy(path, engine=engine))
    clinging._history = clinging._history.view(Clinging)
    assert replaying.compare(recording, clinging).different > 0


class Clinging(np.ndarray):
    """A memory that cannot be cleared."""

    def fill(self, value: Any) -> None:
        pass


def test_replay_is_exact_again_once_the_lost_ticks_are_out_of_the_memory(path: Path, tmp_path: Path) -> None:
    record(Policy(path), tmp_path / "log.mcap")
    whole = read_recording(tmp_path / "log.mcap")
    assert {message["reason"] for message in whole.ticks[7 : 12 + STEPS]} == {"following"}
    kept = [pair for pair in whole.messages if not (pair[0] == "/tick" and 8 <= pair[1]["tick"] < 12)]
    result = replaying.compare(
        Recording(whole.path, whole.contract, whole.facts, kept, True), checked_core(Policy(path))
    )
    assert (result.lost, result.different) == (4, STEPS)
    # Tick 12 is where the replay takes over.
    assert [line.split(",")[0] for line in result.first] == [f"tick {12 + step}" for step in range(1, STEPS + 1)]
