"""Faults of a server's processes, its clients and what they send."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from runtime.diagnostics.chaos.rig import FOLLOWS
from runtime.diagnostics.chaos.scenario import Scenario, Subject
from runtime.diagnostics.chaos.served.server import STATES, Served, Server, goal_within, until
from runtime.goals.messages import GoalRefused, GoalValues
from runtime.protocol.client import Client
from runtime.protocol.messages import PROTOCOL_VERSION, EstopRequest, GoalRequest, encode
from runtime.status import State
from sim2real.child_process import python_program

_HOLD = frozenset({State.HOLD})
_IDLE = frozenset({State.IDLE})
_PATIENCE_S = 30.0
_RECORDED_TICKS = 50


def process_scenarios() -> Iterator[Scenario]:
    """Scenarios with a served robot in processes of its own; some seconds each."""
    yield from _SCENARIOS


def _stopped_again(robot: Subject, folder: Path) -> Served:
    problems = []
    with Server(robot, folder) as server, server.client() as client, server.client() as other:
        client.send_goal(goal_within(robot, 0.8))
        seen = client.estop().estops
        other.estop()
        try:
            client.release(estops=seen)
            problems.append("the release was accepted")
        except GoalRefused:
            pass
        return STATES[client.status().state], problems


_DOOMED = """
import sys, time
from runtime.protocol.client import Client
from runtime.goals.messages import GoalRefused, GoalValues
client = Client(sys.argv[1], timeout_s=30)
if sys.argv[3] == "leased":
    client.acquire_lease("doomed", duration_s=2.0)
client.send_goal(GoalValues.model_validate_json(sys.argv[2]))
time.sleep(60)
"""


def _kill_client(server: Server, client: Client, goal: GoalValues, *, leased: bool, ends: State) -> list[str]:
    """Have another client send the goal, kill it, and wait until the robot ends where it should; what went wrong."""
    problems = []
    client.status()
    arguments = [str(server.socket), goal.model_dump_json(exclude_none=True), "leased" if leased else "free"]
    doomed = subprocess.Popen(python_program(_DOOMED, *arguments))
    if not until(lambda: client.status().goal_id == goal.id):
        problems.append("the goal was never taken")
    doomed.kill()
    doomed.wait()
    if not until(lambda: client.status().state == ends.label):
        problems.append("the robot never let go of the goal")
    return problems


def _goal_and_stop(robot: Subject, folder: Path) -> Served:
    with Server(robot, folder) as server, server.client() as client:
        client.send_goal(goal_within(robot, 0.8, id="first"))
        second = GoalRequest(goal=goal_within(robot, 0.2, id="second", queue=True).model_dump(exclude_none=True))
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.connect(str(server.socket))
            connection.sendall(encode(second) + encode(EstopRequest()))
            with connection.makefile("rb") as replies:
                answers = [replies.readline(), replies.readline()]
        problems = [f"the server answered {answer!r}" for answer in answers if b'"accepted"' not in answer]
        for name in ("first", "second"):
            ended = client.wait_for_goal(name, _PATIENCE_S)
            if (ended.state, ended.reason) != ("cancelled", "emergency stop"):
                problems.append(f"the {name} goal is {ended.state}: {ended.reason}")
        return STATES[client.status().state], problems


def _client_killed(robot: Subject, folder: Path) -> Served:
    with Server(robot, folder) as server, server.client() as client:
        problems = _kill_client(server, client, goal_within(robot, 0.8, timeout_s=1.0), leased=False, ends=State.HOLD)
        return STATES[client.status().state], problems


def _lease_lost(robot: Subject, folder: Path) -> Served:
    with Server(robot, folder) as server, server.client() as client:
        problems = _kill_client(server, client, goal_within(robot, 0.8, speed=0.02), leased=True, ends=State.IDLE)
        state = STATES[client.status().state]
        if holder := client.lease_holder():
            problems.append(f"{holder!r} still holds the lease")
        if client.send_goal(goal_within(robot, 0.2)).goal_id == "":
            problems.append("another client's goal was not taken")
        return state, problems


def _gateway_killed(robot: Subject, folder: Path) -> Served:
    problems = []
    with Server(robot, folder) as server, server.client() as client:
        number = client.send_goal(goal_within(robot, 0.8)).goal_number
        before, gateway = client.status().ticks, server.gateway()
        os.kill(gateway, signal.SIGKILL)
        status = client.status()
        if status.goal_number != number or status.ticks <= before:
            problems.append("the loop lost its goal, or waited for the gateway")
        if server.gateway() == gateway:
            problems.append("the gateway is still the old one")
        return STATES[status.state], problems


def _recording_continued(robot: Subject, folder: Path) -> Served:
    from runtime.recording.replay import replay

    problems, first, second = [], folder / "run.mcap", folder / "run.2.mcap"
    with Server(robot, folder, "--record", str(first)) as server, server.client() as client:
        client.send_goal(goal_within(robot, 0.8))
        sent = client.status().ticks
        # Late enough for the goal's event to be in the first file.
        if not until(lambda: client.status().ticks > sent + _RECORDED_TICKS):
            problems.append("the loop stood still")
        os.kill(server.gateway(), signal.SIGKILL)
        if not until(lambda: second.exists() and second.stat().st_size > 0):
            problems.append("no second recording was begun")
        began = client.status().ticks
        if not until(lambda: client.status().ticks > began + _RECORDED_TICKS):
            problems.append("the loop stood still")
        state = STATES[client.status().state]
    result = replay(second, robot.model, robot.mjcf)
    if result.different or result.compared < _RECORDED_TICKS:
        problems.append(f"{result.different} commands of {result.compared} differ: {result.first}")
    if result.note:
        problems.append(result.note)
    return state, problems


def _control_killed(robot: Subject, folder: Path) -> Served:
    problems = []
    with Server(robot, folder) as server, server.client() as client:
        client.send_goal(goal_within(robot, 0.8))
        gateway = server.gateway()
        server.process.kill()
        server.process.wait()
        if not until(lambda: not _alive(gateway)):
            problems.append("the gateway outlived its control process")
    with Server(robot, folder) as successor, successor.client() as client:
        return STATES[client.status().state], problems


def _bad_messages(robot: Subject, folder: Path) -> Served:
    rng, problems = random.Random(0), []
    with Server(robot, folder) as server, server.client() as client:
        client.send_goal(goal_within(robot, 0.8, id="kept"))
        good = b'{"v":%d,"type":"goal","goal":{"position":[0.5,0.1,0.4],"id":"other"}}' % PROTOCOL_VERSION
        lines = [b"", b"rubbish", b"\xff\xfe\x00", b"[" * 5000, good[:30], b"9" * 5000, b'{"v":99,"type":"status"}']
        for _ in range(50):
            mutated = bytearray(good)
            mutated[rng.randrange(12)] ^= rng.randrange(1, 256)
            lines.append(bytes(mutated))
        with ExitStack() as stack:
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(_PATIENCE_S)
            connection.connect(str(server.socket))
            stream = stack.enter_context(connection.makefile("rwb"))
            for line in (line for line in lines if b"\n" not in line):
                stream.write(line + b"\n")
                stream.flush()
                if b'"error"' not in stream.readline():
                    problems.append(f"{line[:40]!r} was not answered by an error")
        for content in (b"x" * (1 << 20), good[:20], b""):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_PATIENCE_S)
                connection.connect(str(server.socket))
                try:
                    connection.sendall(content)
                except OSError:
                    continue  # cut off in the middle, as it should be
        status = client.status()
        if status.goal_id != "kept":
            problems.append(f"the goal was replaced by {status.goal_id!r}")
        return STATES[status.state], problems


def _estop_by_signal(robot: Subject, folder: Path) -> Served:
    problems = []
    with Server(robot, folder) as server, server.client() as client:
        client.send_goal(goal_within(robot, 0.8))
        server.process.send_signal(signal.SIGUSR1)
        if not until(lambda: client.status().state == "estop"):
            problems.append("the signal did not stop the robot")
        return STATES[client.status().state], problems


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


_SCENARIOS = (
    Scenario(
        "client killed",
        "the client that sent a goal with `timeout_s` is killed on the way",
        "followed until the goal runs out, then hold",
        _HOLD,
        run_served=_client_killed,
    ),
    Scenario(
        "lease lost",
        "the client that holds the lease and sent a goal is killed on the way",
        "followed until the lease runs out, then idle where the arm is; others may command again",
        _IDLE,
        run_served=_lease_lost,
    ),
    Scenario(
        "gateway killed",
        "the gateway process is killed on the way",
        "followed without a missing tick; a new gateway takes over",
        FOLLOWS,
        run_served=_gateway_killed,
    ),
    Scenario(
        "recording continued",
        "the gateway process is killed while it records",
        "followed; the new gateway's recording begins in the middle and replays bit for bit alone",
        FOLLOWS,
        run_served=_recording_continued,
    ),
    Scenario(
        "server killed",
        "the control process is killed on the way, and a new server is started",
        "the robot's own servo holds the last target; the gateway ends; the new server is idle where the arm is",
        _IDLE,
        run_served=_control_killed,
    ),
    Scenario(
        "messages",
        "malformed, oversized, fuzzed and half messages, and connections that are cut",
        "answered by an error or cut off; the goal stays",
        FOLLOWS,
        run_served=_bad_messages,
    ),
    Scenario(
        "stopped again",
        "somebody stops the robot once more while another client is about to release the first stop",
        "that release is refused; estop",
        frozenset({State.ESTOP}),
        run_served=_stopped_again,
    ),
    Scenario(
        "goal and stop at once",
        "a client sends a goal, and a second one with an emergency stop right behind it",
        "both goals are on record as cancelled by the stop; estop",
        frozenset({State.ESTOP}),
        run_served=_goal_and_stop,
    ),
    Scenario(
        "emergency stop by signal",
        "SIGUSR1 to the control process",
        "estop",
        frozenset({State.ESTOP}),
        run_served=_estop_by_signal,
    ),
)
