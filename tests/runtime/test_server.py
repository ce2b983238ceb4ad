"""`runtime serve` as a process, with clients, a killed gateway and signals."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.client import Client
from runtime.goals import GoalPose, GoalRefused
from runtime.protocol import MAX_LINE_BYTES
from sim2real.contract import Contract
from sim2real.errors import ShoalError

REACHABLE = GoalPose(position=(0.45, 0.1, 0.45), id="near")


class Server:
    """A served simulation in a process of its own."""

    def __init__(self, policy: Path, folder: Path, *arguments: str) -> None:
        self.socket = folder / "s"
        self.summary_path = folder / "summary.json"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "runtime.cli", "serve", "--model", str(policy)),
                *("--socket", str(self.socket), "--json", str(self.summary_path), "--no-realtime"),
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def client(self) -> Client:
        return Client(str(self.socket), timeout_s=20)

    def end(self, number: int) -> str:
        self.process.send_signal(number)
        return self.output()

    def output(self) -> str:
        return self.process.communicate(timeout=20)[0]

    def summary(self) -> dict:
        return json.loads(self.summary_path.read_text())

    def gateway_pid(self) -> int:
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
        pairs = [line.split() for line in listed.stdout.splitlines()]
        return next(int(pid) for pid, parent in pairs if int(parent) == self.process.pid)


@pytest.fixture
def server(policy_path: Path, tmp_path: Path) -> Iterator[Server]:
    server = Server(policy_path, tmp_path, "--speed", "4")
    yield server
    if server.process.poll() is None:
        server.process.kill()
    server.process.communicate()


def test_goals_over_the_socket_and_a_clean_end_on_sigterm(server: Server) -> None:
    with server.client() as client:
        taken = client.send_goal(REACHABLE)
        assert (taken.goal_id, taken.goal_number, taken.state) == ("near", 1, "active")
        status = client.wait_until_reached(20)
        assert status.reached
        assert status.distance_m is not None
        assert status.distance_m < 0.05
        assert status.age_s < 5
        with pytest.raises(GoalRefused, match=r"x=3 m is outside the workspace"):
            client.send_goal(GoalPose(position=(3, 0, 0.4)))
        assert client.status().goal_id == "near"
        assert client.cancel_goal().state == "idle"
    output = server.end(signal.SIGTERM)
    assert server.process.returncode == 0, output
    assert "ready      first command" in output
    assert "telemetry off" in output
    assert "ended by SIGTERM" in output
    summary = server.summary()
    assert summary["status"]["state"] == "stopped"
    assert summary["tick"]["count"] == summary["ticks"] > 5
    assert not server.socket.exists()


def test_killed_gateway_is_restarted_and_the_loop_goes_on(server: Server) -> None:
    with server.client() as client:
        client.send_goal(REACHABLE)
        before = client.status().ticks
        pid = server.gateway_pid()
        os.kill(pid, signal.SIGKILL)
        # The first answer comes from the new gateway; a loop that had waited for it would have stood still.
        assert client.status().ticks > before + 10
        assert client.wait_until_reached(20).goal_number == 1
        assert client.send_goal(GoalPose(position=(0.4, 0, 0.45))).goal_number == 2
        assert server.gateway_pid() != pid
    output = server.end(signal.SIGINT)
    assert "ended by SIGINT" in output
    assert server.summary()["gateway_restarts"] == 1


def test_malformed_and_oversized_messages_do_no_harm(server: Server) -> None:
    with server.client() as client:
        client.send_goal(REACHABLE)
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(10)
            raw.connect(str(server.socket))
            stream = raw.makefile("rwb")
            for line, part in ((b"rubbish\n", "JSON"), (b'{"v":9,"type":"status"}\n', "version 9")):
                stream.write(line)
                stream.flush()
                reply = json.loads(stream.readline())
                assert reply["type"] == "error"
                assert part in reply["reason"]
            stream.write(b"x" * (2 * MAX_LINE_BYTES))
            stream.flush()
            assert "at most 65536 bytes" in json.loads(stream.readline())["reason"]
            assert stream.readline() == b""
        assert client.status().goal_id == "near"
        client.stop()
    output = server.output()
    assert server.process.returncode == 0, output
    assert server.summary()["ended_by"] == "stop request"


def test_emergency_stop_over_the_socket(server: Server) -> None:
    with server.client() as client:
        client.send_goal(REACHABLE)
        assert client.estop().state == "estop"
        with pytest.raises(GoalRefused, match="emergency stop"):
            client.send_goal(REACHABLE)
        # A command line of its own, as a bystander would use.
        released = subprocess.run(
            [sys.executable, "-m", "runtime.cli", "release", "--address", str(server.socket)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "estop" not in released.stdout
        assert client.send_goal(REACHABLE).state in ("active", "ramp-in")
        assert client.wait_until_reached(20).reached


def test_telemetry_over_the_socket(server: Server, contract: Contract) -> None:
    with server.client() as client:
        client.send_goal(REACHABLE)
        client.wait_until_reached(20)
        seen = client.telemetry()
        assert seen.joint_names == contract.joint_names
        assert len(seen.joint_position) == len(seen.joint_position_target) == len(contract.joint_names)
        assert seen.goal_position == REACHABLE.position
        tool = [value or math.nan for value in seen.end_effector_position]
        assert math.dist(tool, REACHABLE.position) < 0.05
        assert seen.tick_time.count > 5
        assert client.describe().contract == contract


def test_tcp_on_the_loopback_interface(policy_path: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = Server(policy_path, tmp_path, "--listen", f"127.0.0.1:{port}", "--speed", "4")
    with Client(f"tcp://127.0.0.1:{port}", timeout_s=20) as client:
        assert client.send_goal(REACHABLE).goal_id == "near"
        client.stop()
    output = server.output()
    assert server.process.returncode == 0, output


def test_goals_file_is_visited_and_reported(policy_path: Path, tmp_path: Path) -> None:
    goals = tmp_path / "goals.yaml"
    goals.write_text(
        "- {position: [0.45, 0.1, 0.45], id: first}\n"
        "- {position: [0.7, 0.5, 0.7], id: far, timeout_s: 0.4}\n"
        "- {position: [0.4, 0.0, 0.45], id: last}\n"
    )
    server = Server(policy_path, tmp_path, "--goals", str(goals), "--exit-after-goals", "--speed", "0", "--quiet")
    output = server.output()
    assert server.process.returncode == 0, output
    results = server.summary()["goals"]
    assert [(result["id"], result["reached"]) for result in results] == [
        ("first", True),
        ("far", False),
        ("last", True),
    ]
    assert "goal far  NOT reached" in output


def test_second_server_on_one_address_is_refused(server: Server, policy_path: Path, tmp_path: Path) -> None:
    with server.client() as client:
        client.status()
    second = Server(policy_path, tmp_path)
    assert "another server already listens" in second.output()
    assert second.process.returncode == 2
    with server.client() as client:
        assert client.status().ticks > 0


def test_socket_in_a_missing_folder_is_refused(policy_path: Path, tmp_path: Path) -> None:
    server = Server(policy_path, tmp_path, "--socket", str(tmp_path / "no" / "s"))
    assert "there is no folder" in server.output()
    assert server.process.returncode == 2


def test_client_without_a_server_says_so(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(ShoalError, match=r"no answer from unix://.*is `runtime serve` running"):
        Client(str(tmp_path / "none"), timeout_s=0.2).status()
    assert time.monotonic() - started < 5
