"""`runtime serve` as a process, with clients, a killed gateway and signals."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import pytest

from runtime.diagnostics.chaos.served.server import in_reserve, listener_and_gateway
from runtime.goals.messages import GoalPose, GoalRefused
from runtime.protocol.address import Address
from runtime.protocol.client import Client
from runtime.protocol.listening import Listening
from runtime.protocol.messages import MAX_LINE_BYTES
from sim2real.child_process import free_port
from sim2real.contract import Contract
from sim2real.errors import ShoalError

PATIENCE_S = 120
"""For machines that are busy with other things."""
REACHABLE = GoalPose(position=(0.45, 0.1, 0.45), id="near")


class Server:
    """A served simulation in a process of its own."""

    def __init__(self, policy: Path, folder: Path, *arguments: str) -> None:
        self.socket = folder / "s"
        self.summary_path = folder / "summary.json"
        # These tests are about processes and goals; how late ticks are answered is tested elsewhere.
        safety = folder / "safety.yaml"
        safety.write_text("{overruns_in_a_row: null, stale_after_periods: 1000, clock_jump_s: null}\n")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "runtime.cli", "serve", "--model", str(policy)),
                *("--socket", str(self.socket), "--json", str(self.summary_path), "--no-realtime"),
                *("--safety", str(safety)),
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves no process behind, whatever a test has made of it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def client(self) -> Client:
        return Client(str(self.socket), timeout_s=PATIENCE_S)

    def end(self, number: int) -> str:
        self.process.send_signal(number)
        return self.output()

    def output(self) -> str:
        return self.process.communicate(timeout=PATIENCE_S)[0]

    def summary(self) -> dict:
        return json.loads(self.summary_path.read_text())

    def listener_pid(self) -> int:
        return listener_and_gateway(self.process.pid)[0]

    def gateway_pid(self) -> int:
        return listener_and_gateway(self.process.pid)[1]


def running(pid: int) -> bool:
    """Also a process that nobody has waited for has ended."""
    listed = subprocess.run(["ps", "-p", str(pid), "-o", "stat="], capture_output=True, text=True, check=False)
    return listed.stdout.strip()[:1] not in ("", "Z")


@pytest.fixture
def server(policy_path: Path, tmp_path: Path) -> Iterator[Server]:
    with Server(policy_path, tmp_path, "--speed", "4") as server:
        yield server


def test_goals_over_the_socket_and_a_clean_end_on_sigterm(server: Server) -> None:
    with server.client() as client:
        taken = client.send_goal(REACHABLE)
        assert (taken.goal_id, taken.goal_number) == ("near", 1)
        assert taken.state in ("ramp-in", "active")
        status = client.wait_until_reached(PATIENCE_S)
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
        # The first answer comes from the new gateway.
        while client.status().ticks <= before + 10:
            time.sleep(0.02)
        assert client.wait_until_reached(PATIENCE_S).goal_number == 1
        assert client.send_goal(GoalPose(position=(0.4, 0, 0.45))).goal_number == 2
        assert server.gateway_pid() != pid
    output = server.end(signal.SIGINT)
    assert "ended by SIGINT" in output
    assert server.summary()["gateway_restarts"] == 1


def test_queue_and_lease_outlast_a_killed_gateway(server: Server) -> None:
    waypoints = [GoalPose(position=(0.4, 0.0, 0.45), id=f"w{i}", queue=True) for i in range(3)]
    with server.client() as client, server.client() as stranger:
        client.acquire_lease("owner", duration_s=60)
        client.send_goal(REACHABLE.model_copy(update={"queue": True}))
        for goal in waypoints:
            client.send_goal(goal)
        os.kill(server.gateway_pid(), signal.SIGKILL)
        with pytest.raises(GoalRefused, match="'owner' holds the lease"):
            stranger.send_goal(REACHABLE)
        for goal in (REACHABLE, *waypoints):
            assert client.wait_for_goal(goal.id, PATIENCE_S).state == "reached"
        assert [goal.id for goal in client.goals()] == ["near", "w0", "w1", "w2"]
        client.end_lease()
        assert stranger.send_goal(REACHABLE).goal_id == "near"


def test_hung_gateway_is_replaced_and_the_loop_does_not_notice(server: Server) -> None:
    with server.client() as client:
        client.send_goal(REACHABLE)
        pid, before = server.gateway_pid(), client.status()
        os.kill(pid, signal.SIGSTOP)
        # Answered by the successor; the old one would never answer.
        after = client.status()
        assert server.gateway_pid() != pid
        assert after.ticks > before.ticks + 10
        assert client.wait_for_goal("near", PATIENCE_S).state == "reached"
    server.end(signal.SIGTERM)
    summary = server.summary()
    assert summary["gateway_restarts"] == 1
    assert summary["step"]["p50_us"] < 40_000


def test_release_of_one_stop_leaves_a_later_one_in_force(server: Server) -> None:
    with server.client() as client, server.client() as other:
        client.send_goal(REACHABLE)
        seen = client.estop().estops
        assert other.estop().estops == seen + 1
        with pytest.raises(GoalRefused, match="pressed again"):
            client.release(estops=seen)
        assert client.status().state == "estop"
        server.process.send_signal(signal.SIGUSR1)
        while (stopped := other.status()).estops == seen + 1:
            time.sleep(0.01)
        with pytest.raises(GoalRefused, match="pressed again"):
            client.release(estops=seen + 1)
        assert client.release(estops=stopped.estops).state == "idle"
        client.estop()
        assert client.release().state == "idle"


def test_stop_needs_neither_gateway_nor_listener(server: Server) -> None:
    with server.client() as client:
        client.send_goal(REACHABLE)
        stopped = server.listener_pid(), server.gateway_pid()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        # Both will be replaced; the stop does not wait for that.
        assert client.estop().state == "estop"
        assert client.release().state == "idle"
        assert client.goals()[0].state == "cancelled"
    assert not any(running(pid) for pid in stopped)
    with server.client() as client:
        os.kill(server.listener_pid(), signal.SIGKILL)
        assert client.estop().state == "estop"
        client.stop()
    server.output()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_listener_in_reserve_takes_the_place_of_one_that_dies_or_hangs(server: Server, number: int) -> None:
    with server.client() as client:
        client.send_goal(REACHABLE)
        reserve = wait_for_reserve(server)
        os.kill(server.listener_pid(), number)
        # Not by the control process's own socket.
        with Address(f"unix://{server.socket}").connect(PATIENCE_S) as raw, raw.makefile("rwb") as stream:
            stream.write(b'{"v":2,"type":"estop"}\n{"v":2,"type":"status"}\n')
            stream.flush()
            assert [json.loads(stream.readline())["type"] for _ in range(2)] == ["accepted", "status"]
        assert client.status().state == "estop"
        assert server.listener_pid() == reserve
        # And the next one is on its way.
        assert wait_for_reserve(server) not in (0, reserve)
        client.stop()
    assert "Traceback" not in server.output()


def wait_for_reserve(server: Server) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while not (pid := in_reserve(server.process.pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return pid


def test_stops_while_clients_do_their_worst(policy_path: Path, tmp_path: Path) -> None:
    port = free_port()
    server = Server(policy_path, tmp_path, "--speed", "4", "--listen", f"127.0.0.1:{port}")
    goal = b'{"v":2,"type":"goal","goal":{"position":[0.45,0.1,0.45]}}\n'
    with server.client() as client, ExitStack() as stack:
        client.status()
        pids = server.listener_pid(), server.gateway_pid()
        ended = threading.Event()
        for address in (f"unix://{server.socket}", f"tcp://127.0.0.1:{port}"):
            for _ in range(100):
                stack.enter_context(Address(address).connect(PATIENCE_S))
            flood = stack.enter_context(Address(address).connect(PATIENCE_S))
            thread = threading.Thread(target=pour, args=(flood, goal * 100, ended))
            thread.start()
            stack.callback(thread.join)
        stack.callback(ended.set)
        for address in (f"unix://{server.socket}", f"tcp://127.0.0.1:{port}"):
            for _ in range(3):
                # Without the control process's own socket.
                with Address(address).connect(PATIENCE_S) as raw, raw.makefile("rwb") as stream:
                    stream.write(b'{"v":2,"type":"estop"}\n{"v":2,"type":"status"}\n')
                    stream.flush()
                    assert json.loads(stream.readline())["type"] == "accepted"
                    assert json.loads(stream.readline())["status"]["state"] == "estop"
                assert client.release().state in ("idle", "ramp-in", "active")
        # So far the gateway was deaf until the supervisor ended it.
        assert (server.listener_pid(), server.gateway_pid()) == pids
    with server.client() as client:
        client.stop()
    server.output()
    assert server.summary()["gateway_restarts"] == 0


def pour(connection: socket.socket, lines: bytes, ended: threading.Event) -> None:
    """Send lines as fast as they are taken, and read no more of the replies than keeps them coming."""
    connection.settimeout(0.05)
    while not ended.is_set():
        with suppress(TimeoutError):
            connection.sendall(lines)
        with suppress(TimeoutError):
            connection.recv(1 << 20)


def test_gateway_ends_when_the_control_process_dies(server: Server) -> None:
    with server.client() as client:
        client.status()
        pid = server.gateway_pid()
        server.process.kill()
        server.process.wait()
        deadline = time.monotonic() + PATIENCE_S
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    # The file that the killed server left behind is in nobody's way.
    Listening(Address(str(server.socket)), option="--socket").close()
    assert not server.socket.exists()


def test_goals_of_a_client_that_vanished_are_dropped(server: Server) -> None:
    far = GoalPose(position=(0.7, 0.5, 0.7), id="far")
    with server.client() as client:
        client.acquire_lease("vanishing", duration_s=0.5)
        client.send_goal(far)
    with server.client() as observer:
        ended = observer.wait_for_goal("far", PATIENCE_S)
        assert (ended.state, ended.reason) == ("cancelled", "its client's lease ran out")
        assert observer.status().state == "idle"
        assert observer.send_goal(REACHABLE).goal_id == "near"


@pytest.mark.slow
def test_goals_of_a_client_that_vanished_can_be_kept(policy_path: Path, tmp_path: Path) -> None:
    server = Server(policy_path, tmp_path, "--speed", "4", "--on-lease-lost", "keep")
    with server.client() as client:
        client.acquire_lease("vanishing", duration_s=0.2)
        client.send_goal(REACHABLE)
    with server.client() as observer:
        assert observer.wait_for_goal("near", PATIENCE_S).state == "reached"
        observer.stop()
    server.output()


def test_changes_of_goals_are_streamed(server: Server) -> None:
    with server.client() as client:
        changes = client.goal_changes()
        assert next(changes) == ()
        client.send_goal(REACHABLE)
        states = []
        for goals in changes:
            states.append(goals[0].state)
            if goals[0].final:
                break
        assert states[-2:] == ["active", "reached"]
        stamps = [goal.stamp for goal in goals]
        assert abs(stamps[0] - time.time()) < 60
        changes.close()


def test_gate_refuses_over_the_socket(policy_path: Path, tmp_path: Path) -> None:
    server = Server(policy_path, tmp_path, "--speed", "4", "--reachability-gate", "0.9")
    with server.client() as client:
        with pytest.raises(GoalRefused, match=r"below --reachability-gate .*reachability 0\.50"):
            client.send_goal(REACHABLE)
        assert client.status().goal_id == ""
        client.stop()
    server.output()


@pytest.mark.slow
def test_waypoints_from_the_command_line(server: Server) -> None:
    def runtime(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "runtime.cli", *arguments, "--address", str(server.socket)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    with server.client() as client:
        client.status()
    position = ("--position", "0.45", "0.1", "0.45")
    ended = runtime("goal", *position, "--wait", "--id", "first")
    assert (ended.returncode, "reached" in ended.stdout) == (0, True), ended.stderr
    listed = runtime("goals", "--json")
    assert json.loads(listed.stdout)["id"] == "first"
    assert "idle" in runtime("cancel").stdout
    missed = runtime("goal", "--position", "0.7", "0.5", "0.05", "--timeout-s", "0.2", "--wait")
    assert (missed.returncode, "timed out" in missed.stdout) == (1, True)


def test_token_guards_tcp_and_not_the_unix_socket(policy_path: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    token.chmod(0o600)
    port = free_port()
    server = Server(policy_path, tmp_path, "--listen", f"0.0.0.0:{port}", "--token-file", str(token))
    with server.client() as client:
        client.status()
    address = f"tcp://127.0.0.1:{port}"
    with Client(address, token="0123456789abcdef", timeout_s=PATIENCE_S) as client:
        assert client.send_goal(REACHABLE).goal_id == "near"
    for wrong in ("", "0123456789abcdeX"):
        with pytest.raises(ShoalError, match="wants the right token first"), Client(address, token=wrong) as client:
            client.estop()
    with server.client() as client:
        assert client.status().state != "estop"
        client.stop()
    server.output()


def test_network_without_a_token_is_refused(policy_path: Path, tmp_path: Path) -> None:
    server = Server(policy_path, tmp_path, "--listen", f"0.0.0.0:{free_port()}")
    assert "give --token-file to authenticate clients" in server.output()
    assert server.process.returncode == 2


def test_malformed_and_oversized_messages_do_no_harm(server: Server) -> None:
    with server.client() as client:
        client.send_goal(REACHABLE)
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(10)
            raw.connect(str(server.socket))
            stream = raw.makefile("rwb")
            for line, part in (
                (b"rubbish\n", "JSON"),
                (b'{"v":1,"type":"status"}\n', "version 1 is not supported, this side speaks 2"),
            ):
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
        assert client.wait_until_reached(PATIENCE_S).reached


def test_telemetry_over_the_socket(server: Server, contract: Contract) -> None:
    with server.client() as client:
        client.send_goal(REACHABLE)
        client.wait_until_reached(PATIENCE_S)
        seen = client.telemetry()
        assert seen.joint_names == contract.joint_names
        assert len(seen.joint_position) == len(seen.joint_position_target) == len(contract.joint_names)
        assert len(seen.joint_effort) == len(contract.joint_names)
        assert all(effort is not None for effort in seen.joint_effort)
        assert seen.goal_position == REACHABLE.position
        tool = [value or math.nan for value in seen.end_effector_position]
        assert math.dist(tool, REACHABLE.position) < 0.05
        assert seen.tick_time.count > 5
        assert client.describe().contract == contract


def test_tcp_on_the_loopback_interface(policy_path: Path, tmp_path: Path) -> None:
    port = free_port()
    server = Server(policy_path, tmp_path, "--listen", f"127.0.0.1:{port}", "--speed", "4")
    with Client(f"tcp://127.0.0.1:{port}", timeout_s=PATIENCE_S) as client:
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


def test_a_taken_port_is_refused_at_the_start(policy_path: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(policy_path, tmp_path, "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        output = server.output()
    assert server.process.returncode == 2
    assert "--listen: cannot listen on tcp://127.0.0.1" in output
    assert "ready      " not in output


def test_an_ordinary_file_in_the_place_of_the_socket_stays(policy_path: Path, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("somebody's work")
    server = Server(policy_path, tmp_path)
    assert "exists and is no socket" in server.output()
    assert (tmp_path / "s").read_text() == "somebody's work"
