from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from pydantic import ValidationError

from runtime.cli import main
from sim2real.contract import Contract
from sim2real.contract.policy_file import CONTRACT_KEY
from tests.runtime.small_policy import write_policy


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_inspect_shows_contract_and_certificate(
    policy_path: Path, contract: Contract, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("inspect", str(policy_path), "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["contract"] == contract.model_dump(mode="json")
    assert shown["certificate"]["opset"] == 21
    assert run("inspect", str(policy_path)) == 0
    assert contract.task in capsys.readouterr().out


def test_inspect_names_the_object_that_goals_are_about(
    tmp_path: Path, push_contract: Contract, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("inspect", str(write_policy(tmp_path / "push.onnx", push_contract))) == 0
    assert "body puck, told by a tracker" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": "\x1b]0;owned\x07"}, "control characters"),
        ({"task": "../../../etc/passwd"}, "no slash"),
        ({"robot": {"name": "../../../../tmp"}}, "no slash"),
        ({"robot": {"end_effector_frame": "tool\x1b[2J"}}, "end_effector_frame"),
        ({"robot": {"joints": [{"name": "\x1b[31mred"}]}}, "control characters"),
        ({"robot": {"joints": [{"velocity_max": 1e300}]}}, "velocity_max 1e+300 is beyond 10000"),
        ({"robot": {"joints": [{"position_max": 1e30}]}}, "position_max 1e+30 is beyond 10000"),
        ({"timing": {"episode_s": 1e300}}, "timing.episode_s 1e+300 makes more than 1,000,000"),
        ({"timing": {"physics_dt_s": 1e-9}}, "timing.physics_dt_s 1e-09 is below 1e-06"),
        ({"timing": {"physics_dt_s": 2e-6}}, "timing.physics_dt_s 2e-06 makes more than 10,000 physics steps"),
        ({"timing": {"control_dt_s": 40.0}}, "timing.control_dt_s 40 is beyond 10"),
        ({"lineage": {"teacher_depth": 10**400}}, "teacher_depth"),
    ],
)
def test_what_no_contract_says_is_refused_by_name_and_obeyed_by_no_terminal(
    tmp_path: Path, contract: Contract, capsys: pytest.CaptureFixture[str], change: dict[str, Any], said: str
) -> None:
    plain = json.loads(contract.canonical_json)
    alter(plain, change)
    with pytest.raises(ValidationError):
        Contract.model_validate(plain)
    path = write_policy(tmp_path / "odd.onnx", contract)
    model = onnx.load(path)
    for entry in model.metadata_props:
        if entry.key == CONTRACT_KEY:
            entry.value = json.dumps(plain)
    onnx.save(model, path)
    assert run("inspect", str(path)) == 2
    output = "".join(capsys.readouterr())
    assert said in output
    assert output.replace("\n", "").isprintable()


def alter(plain: Any, change: Any) -> None:
    """Replace the leaves that a nested change names."""
    for key, value in change.items() if isinstance(change, dict) else enumerate(change):
        if isinstance(value, (dict, list)):
            alter(plain[key], value)
        else:
            plain[key] = value


def test_verify(policy_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", str(policy_path)) == 0
    assert "compiles to the contract's digest" in capsys.readouterr().out


def test_verify_finds_another_robot(tmp_path: Path, contract: Contract, capsys: pytest.CaptureFixture[str]) -> None:
    robot = contract.robot.model_copy(update={"mjcf_sha256": "0" * 64})
    path = write_policy(tmp_path / "other.onnx", contract.model_copy(update={"robot": robot}))
    assert run("verify", str(path)) == 2
    assert "robot.mjcf_sha256: 000000000000 in the policy" in capsys.readouterr().err


def test_bench(policy_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bench", str(policy_path), "--samples", "20", "--rate-hz", "1000", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    for name in ("inference_hot", "tick_hot", "tick_paced", "tick_paced_warm"):
        assert result[name]["count"] == 20
        assert 0 < result[name]["p50_us"] <= result[name]["max_us"]


def test_errors_are_one_sentence_and_status_2(
    policy_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "none.onnx")
    for arguments, message in (
        (("serve", "--model", missing), "policy: cannot read"),
        (
            ("serve", "--model", missing, "--json", "/dev/null/s.json"),
            "--json: cannot write /dev/null/s.json: Not a dir",
        ),
        (("serve", "--model", str(policy_path), "--stale-after-periods", "0"), "--stale-after-periods must be"),
        (("serve", "--model", str(policy_path), "--robot", "panda"), "robot: no driver 'panda'"),
    ):
        assert run(*arguments) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith(f"error: {message}")
        assert captured.err.count("\n") == 1


def test_goal_arguments_are_checked_before_anything_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    pose = ("--position", "0.5", "-0.1", "0.4", "--orientation", "0", "1", "0", "0", "--rpy", "0", "0", "0")
    assert run("goal", *pose, "--address", "tcp://127.0.0.1:1") == 2
    assert "not both" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error(policy_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "runtime.cli", "inspect", str(policy_path), "--json"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("port", ["0", "99999", "-1"])
def test_a_page_needs_a_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("page", "--port", port) == 2
    assert f"--port must be a port between 1 and 65535, got {port}." in capsys.readouterr().err


def test_a_reader_of_the_help_that_has_seen_enough_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("runtime.commands.all_commands.tyro.cli", closed)
    monkeypatch.setattr("sim2real.console.discard_output", lambda: None)
    assert run("--help") == 0
