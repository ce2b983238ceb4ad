"""The policy server on its Unix socket: the same commands as the loop in process, and what it does with the rest."""

from __future__ import annotations

import json
import math
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import mujoco
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.control.policy_controller import PolicyController
from runtime.goals.messages import GoalPose
from runtime.goals.resolve import validate_goal
from runtime.goals.tool_pose import ToolPose
from runtime.inference.policy import Policy
from runtime.policy_server import server as policy_server
from runtime.policy_server.client import RemotePolicy
from runtime.policy_server.greeting import Hello
from runtime.policy_server.packets import HEADER, MAGIC, VERSION, WARM_UP, Kind, reply_dtype, request_dtype
from runtime.policy_server.server import MAX_CLIENTS, Listener, PacketListener, PolicyServer
from runtime.policy_server.session import Session
from runtime.robot.mujoco_robot import MujocoRobot
from runtime.robot.readings import Readings
from runtime.status import Reason
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.tasks.task import load_task

GOAL = (0.45, 0.1, 0.45)


@pytest.fixture
def path(policy: Policy, tmp_path: Path) -> Iterator[Path]:
    """Where a server in a thread listens."""
    server = PolicyServer([PacketListener(tmp_path / "policy.sock", lambda: Session(policy))])
    ended = threading.Event()
    thread = threading.Thread(target=server.run, args=(ended.is_set,))
    thread.start()
    yield tmp_path / "policy.sock"
    ended.set()
    thread.join()
    server.close()


def observe(model: mujoco.MjModel, contract: Contract, data: mujoco.MjData) -> Readings:
    readings = Readings.of(contract)
    MujocoRobot(model, contract).read(data, readings)
    return readings


def as_observation(readings: Readings) -> dict[str, np.ndarray]:
    names = ("joint_position", "joint_velocity", "end_effector_position", "end_effector_orientation")
    return {name: getattr(readings, name) for name in names}


def home(contract: Contract) -> np.ndarray:
    return np.array([joint.home_position for joint in contract.robot.joints])


def stand_at_home(readings: dict[str, np.ndarray], contract: Contract) -> None:
    """Readings that can be believed where the robot's geometry is not looked at."""
    readings["joint_position"][:] = home(contract)
    readings["end_effector_orientation"][0] = 1.0


def max_step(contract: Contract) -> np.ndarray:
    return np.array([joint.velocity_max for joint in contract.robot.joints]) * contract.timing.control_dt_s


def test_commands_are_those_of_the_loop_in_process(
    path: Path, policy: Policy, contract: Contract, model: mujoco.MjModel, data: mujoco.MjData
) -> None:
    core, out = PolicyController(Policy(policy.path)), np.zeros(7)
    core.set_goal(validate_goal(contract, GoalPose(position=GOAL), 0.0), number=1, now_s=0.0)
    period = contract.timing.control_dt_s
    with RemotePolicy(path, contract=contract) as remote:
        for tick in range(80):
            readings = observe(model, contract, data)
            readings.time_s = now = tick * period
            assert core.step(readings, now, out)
            answer = remote.infer(as_observation(readings) | {"goal_position": GOAL, "time_s": now})
            assert (answer["commanding"], answer["repeated"], answer["reason"]) == (True, False, "following the goal")
            np.testing.assert_array_equal(answer["command"], out)
            data.ctrl[:7] = out
            for _ in range(contract.timing.substeps):
                mujoco.mj_step(model, data)
        assert answer["distance_m"] == pytest.approx(core.distance_m)
        assert answer["reached"] == core.reached
        assert core.distance_m < 0.1


def noted_requests(remote: RemotePolicy) -> list[int]:
    """Flags of every packet that it sends from now on."""
    flags, ask = [], remote._ask

    def note(flag: int) -> memoryview:
        flags.append(flag)
        return ask(flag)

    remote._ask = note  # type: ignore[method-assign]
    return flags


def test_asking_more_often_does_not_move_faster(path: Path, contract: Contract) -> None:
    period = contract.timing.control_dt_s
    with RemotePolicy(path) as remote:
        remote.inputs["joint_position"][:] = home(contract)
        remote.inputs["end_effector_position"][:] = (0.3, 0.0, 0.5)
        remote.inputs["end_effector_orientation"][:] = (0, 1, 0, 0)
        remote.inputs["goal_position"][:] = (0.6, 0.4, 0.2)
        moved = []
        before = home(contract)
        for tick in range(101):
            assert remote.run(tick * period / 10)
            moved.append(bool((remote.command != before).any()))
            if moved[-1]:
                remote.inputs["joint_velocity"][:] = (remote.command - before) / period
            before[:] = remote.command
            remote.inputs["joint_position"][:] = before  # a perfect servo
    assert sum(moved) == 11


def test_a_warm_up_between_two_answers_changes_neither(policy: Policy, contract: Contract) -> None:
    answers, inferences = [], []
    counted, run = iter(range(1000)), policy.run
    policy.run = lambda: (next(counted), run())  # type: ignore[assignment,return-value]
    for warmed_up in (False, True):
        session = Session(policy)
        stand_at_home(session.request, contract)
        session.request["goal_position"][:] = GOAL
        session.request["goal_orientation"][:] = math.nan
        for tick in range(5):
            if warmed_up:
                session.warm_up()
            session.answer(tick * contract.timing.control_dt_s, 0.0, reset=False)
            answers.append(session.reply["command"].copy())
        inferences.append(next(counted))
    np.testing.assert_array_equal(answers[:5], answers[5:])
    assert (answers[4] != answers[0]).any()
    assert inferences == [5, 5 + 1 + 10]  # the whole of a tick is warmed up


def test_a_client_that_warms_up_wakes_in_time_and_gets_the_same_commands(path: Path, contract: Contract) -> None:
    period, commands = contract.timing.control_dt_s, []
    for wait in (None, RemotePolicy.sleep_until):
        with RemotePolicy(path) as remote:
            requests = noted_requests(remote)
            remote.inputs["joint_position"][:] = home(contract)
            remote.inputs["end_effector_orientation"][0] = 1.0
            remote.inputs["goal_position"][:] = GOAL
            for tick in range(5):
                if wait is not None:
                    moment = time.monotonic() + 0.02
                    wait(remote, moment)
                    assert time.monotonic() >= moment
                assert remote.run(tick * period)
                commands.append(remote.command.copy())
                remote.inputs["joint_position"][0] += 1e-6
            assert requests == ([0] * 5 if wait is None else [WARM_UP, WARM_UP, 0] * 5)
    np.testing.assert_array_equal(commands[:5], commands[5:])
    assert (commands[4] != commands[0]).any()


def test_nothing_is_warmed_up_without_time_or_with_a_server_that_would_take_it_for_a_request(path: Path) -> None:
    with RemotePolicy(path) as remote:
        remote._ask = lambda flags: pytest.fail("asked")  # type: ignore[method-assign]
        remote.sleep_until(time.monotonic() - 1.0)
        remote.sleep_until(time.monotonic() + 0.5e-3)
        assert remote.hello.rehearses
        older = remote.hello.model_dump(mode="json")
        del older["rehearses"]
        remote.hello = Hello.parse(json.dumps(older).encode())
        moment = time.monotonic() + 0.02
        remote.sleep_until(moment)
        assert time.monotonic() >= moment


def test_nothing_is_commanded_before_trustworthy_readings_and_held_after(path: Path, contract: Contract) -> None:
    period = contract.timing.control_dt_s
    with RemotePolicy(path) as remote:
        good = home(contract)
        stand_at_home(remote.inputs, contract)
        remote.inputs["joint_position"][:] = math.nan
        assert not remote.run(0.0)
        assert np.isnan(remote.command).all()
        remote.inputs["joint_position"][:] = good
        assert remote.run(period)
        np.testing.assert_array_equal(remote.command, good)
        stale = remote.infer({**remote.inputs, "goal_position": GOAL, "time_s": 2 * period, "age_s": 1.0})
        assert stale["state"] == "hold"
        assert stale["reason"].startswith("the readings are not of this moment")
        np.testing.assert_array_equal(stale["command"], good)


def test_reset_and_a_clock_that_goes_back_begin_anew(path: Path, contract: Contract) -> None:
    period, there = contract.timing.control_dt_s, home(contract) + 0.3
    with RemotePolicy(path) as remote:
        stand_at_home(remote.inputs, contract)
        assert remote.run(10.0)
        remote.inputs["joint_position"][:] = there
        assert remote.run(10.0 + period)
        np.testing.assert_array_equal(remote.command, home(contract))
        assert remote.run(10.0 + 2 * period, reset=True)
        np.testing.assert_array_equal(remote.command, there)
        remote.inputs["joint_position"][:] = home(contract)
        assert remote.run(0.0)
        np.testing.assert_array_equal(remote.command, home(contract))


def test_refused_goals_say_why_every_time_and_do_no_harm(path: Path, contract: Contract) -> None:
    with RemotePolicy(path) as remote:
        stand_at_home(remote.inputs, contract)
        remote.inputs["goal_position"][:] = (3, 0, 0.4)
        for _ in range(2):
            with pytest.raises(ShoalError, match=r"x=3 m is outside the workspace"):
                remote.run()
        remote.inputs["goal_position"][:] = (0.4, math.nan, 0.4)
        with pytest.raises(ShoalError, match=r"goal_position.*finite"):
            remote.run()
        remote.inputs["goal_position"][:], remote.inputs["goal_orientation"][:] = GOAL, 1e308
        with pytest.raises(ShoalError, match="goal_orientation has the length inf"):
            remote.run()
        remote.inputs["goal_orientation"][:] = math.nan
        remote.inputs["goal_position"][:] = GOAL
        assert remote.run()


def test_an_observation_that_does_not_fit_is_named(path: Path) -> None:
    with RemotePolicy(path) as remote:
        whole = dict(remote.inputs)
        with pytest.raises(ShoalError, match="'joint_velocity' is missing"):
            remote.infer({"joint_position": np.zeros(7)})
        with pytest.raises(ShoalError, match=r"joint_velocity: shape \[6\], expected \[7\]"):
            remote.infer(whole | {"joint_velocity": np.zeros(6)})
        with pytest.raises(ShoalError, match="unknown 'wrist_image'"):
            remote.infer(whole | {"wrist_image": np.zeros(6)})


def test_another_contract_is_refused_by_both_sides(path: Path, contract: Contract) -> None:
    with pytest.raises(ContractMismatch, match="task: 'franka_reach' in this program, 'franka_pose' in the served"):
        RemotePolicy(path, contract=load_task("franka_reach").contract)
    RemotePolicy(path, contract=contract.with_lineage(student="another")).close()
    with RemotePolicy(path) as remote:
        remote._contract = b"otherone"
        with pytest.raises(ShoalError, match="build the client for the policy that is served"):
            remote.run()


def raw_connection(path: Path) -> tuple[socket.socket, Hello]:
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    raw.settimeout(10)
    raw.connect(str(path))
    return raw, Hello.parse(raw.recv(65536))


@given(packet=st.binary(min_size=1, max_size=2000) | st.just(b"\0" * 60_000))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_packet_is_answered_by_one_sentence(path: Path, packet: bytes) -> None:
    raw, _ = raw_connection(path)
    with raw:
        raw.send(packet)
        reply = raw.recv(4096)
    assert HEADER.unpack_from(reply)[:3] == (MAGIC, VERSION, Kind.ERROR)
    assert reply[HEADER.size :].decode().startswith("request")


@given(readings=st.lists(st.lists(st.floats(), min_size=21, max_size=21), max_size=4), age_s=st.floats())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_numbers_arrive_the_command_keeps_the_limits(
    policy: Policy, contract: Contract, readings: list[list[float]], age_s: float
) -> None:
    session = Session(policy)
    low = np.array([joint.position_min for joint in contract.robot.joints])
    high = np.array([joint.position_max for joint in contract.robot.joints])
    stand_at_home(session.request, contract)
    session.request["goal_position"][:] = GOAL
    session.request["goal_orientation"][:] = math.nan
    session.answer(0.0, 0.0, reset=False)
    for tick, numbers in enumerate(readings, 1):
        before = session.reply["command"].copy()
        start = 0
        for name in contract.measured.sizes:
            field = session.request[name]
            field[:] = numbers[start : start + len(field)]
            start += len(field)
        session.answer(tick * contract.timing.control_dt_s, age_s, reset=False)
        command = session.reply["command"]
        assert ((command >= low) & (command <= high)).all()
        assert (np.abs(command - before) <= max_step(contract) + 1e-12).all()


def test_too_many_clients_are_turned_away(path: Path) -> None:
    clients = [RemotePolicy(path) for _ in range(MAX_CLIENTS)]
    with pytest.raises(ShoalError, match=r"takes no more clients|nothing answers"):
        RemotePolicy(path)
    for client in clients:
        client.close()


def test_who_asks_for_nothing_gives_its_place_to_who_does(
    path: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [RemotePolicy(path) for _ in range(MAX_CLIENTS)]
    for client in clients[1:]:
        stand_at_home(client.inputs, contract)
        assert client.run()
    monkeypatch.setattr(policy_server, "_SILENT_S", 0.0)
    with RemotePolicy(path, timeout_s=10.0) as late:
        stand_at_home(late.inputs, contract)
        assert late.run()
        with pytest.raises(ShoalError, match="connection is lost"):
            clients[0].run()
        assert all(client.run() for client in clients[1:])
    for client in clients:
        client.close()


class Asking:
    """A client that always has another request."""

    def __init__(self) -> None:
        self.connection, self.admitted, self.answered_s, self.waiting = socket.socket(), True, 0.0, True
        self.answers = 0

    def serve(self) -> bool:
        self.answers += 1
        return True

    def warm_up(self) -> None:
        pass


def test_robots_of_this_machine_are_answered_in_every_turn_and_others_one_by_one() -> None:
    server, local, others = PolicyServer([]), [Asking(), Asking()], [Asking(), Asking(), Asking()]
    for peers, listener in ((others, SimpleNamespace(local=False)), (local, SimpleNamespace(local=True))):
        server._peers.update(dict.fromkeys(peers, cast(Listener, listener)))
    for _ in range(6):
        server._serve({*local, *others})
    assert [peer.answers for peer in local] == [6, 6]
    assert [peer.answers for peer in others] == [2, 2, 2]
    server.close()


def test_a_failure_of_the_server_itself_ends_one_connection(policy: Policy, contract: Contract, tmp_path: Path) -> None:
    """Whatever a request finds that nobody thought of, the other robots go on."""
    sessions = [Session(policy), Session(policy)]
    sessions[0].answer = lambda *_, **__: np.zeros(1)[2]  # type: ignore[method-assign, assignment]
    server = PolicyServer([PacketListener(tmp_path / "p", lambda: sessions.pop(0))])
    ended = threading.Event()
    thread = threading.Thread(target=server.run, args=(ended.is_set,))
    thread.start()
    unlucky, other = RemotePolicy(tmp_path / "p", timeout_s=10.0), RemotePolicy(tmp_path / "p", timeout_s=10.0)
    stand_at_home(other.inputs, contract)
    with pytest.raises(ShoalError, match="connection is lost"):
        unlucky.run()
    assert other.run()
    with pytest.raises(ShoalError, match=r"nothing answers|takes no more clients"):
        RemotePolicy(tmp_path / "p", timeout_s=10.0)  # no third session: a failure, too
    assert other.run()
    ended.set()
    thread.join()
    server.close()
    assert [failure.partition(":")[0] for failure in server.failures] == ["IndexError", "IndexError"]


def test_a_server_that_answers_nonsense_is_named(tmp_path: Path, contract: Contract) -> None:
    hello = Hello.of(contract).model_dump_json().encode()
    whole = HEADER.pack(MAGIC, VERSION, Kind.COMMAND, b"\0" * 8, 1) + b"\xff" * (reply_dtype(7).itemsize - HEADER.size)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(tmp_path / "p"))
        listening.listen()
        for reply, sentence in (
            (b"\0", "a reply of 1 bytes"),
            (HEADER.pack(MAGIC, VERSION, 7, b"\0" * 8, 1), "a reply of kind 7"),
            (HEADER.pack(MAGIC, VERSION, Kind.COMMAND, b"\0" * 8, 1), "a reply of kind 1 and 24 bytes"),
            (b"\0" * 5000, "a reply begins with 0x0"),
            (whole, "state 255 and reason 255"),
        ):
            threading.Thread(target=_answer_once, args=(listening, hello, reply)).start()
            with RemotePolicy(tmp_path / "p", timeout_s=10.0) as remote, pytest.raises(ShoalError, match=sentence):
                remote.infer(dict(remote.inputs))
    damaged = Hello.of(contract).model_dump(mode="json")
    for change in ({"contract_sha256": "zz"}, {"joint_names": []}, {"control_dt_s": -1.0}):
        with pytest.raises(ShoalError, match="its greeting"):
            Hello.parse(json.dumps(damaged | change).encode())


def _answer_once(listening: socket.socket, hello: bytes, reply: bytes) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.send(hello)
        connection.recv(4096)
        connection.send(reply)


def test_a_client_without_a_server_says_so(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match=r"nothing answers on .*is `runtime policy-server` running"):
        RemotePolicy(tmp_path / "none")


def test_a_server_that_goes_away_and_a_silent_one_are_errors(tmp_path: Path, policy: Policy) -> None:
    listener = PacketListener(tmp_path / "p", lambda: Session(policy))
    server = PolicyServer([listener])
    once = iter([False, True])
    thread = threading.Thread(target=server.run, args=(lambda: next(once),))
    thread.start()
    remote = RemotePolicy(tmp_path / "p", timeout_s=0.1)
    thread.join()
    with pytest.raises(ShoalError, match=r"no answer within 0.1 s"):
        remote.run()
    server.close()
    with pytest.raises(ShoalError, match="connection is lost"):
        remote.run()
    with pytest.raises(ShoalError, match="connection is lost"):
        remote.sleep_until(time.monotonic() + 0.02)
    remote.close()
    assert not (tmp_path / "p").exists()


def test_as_a_process_with_a_second_one_refused(policy_path: Path, tmp_path: Path, contract: Contract) -> None:
    command = [sys.executable, "-m", "runtime.cli", "policy-server", "--model", str(policy_path), "--no-realtime"]
    command += ["--socket", str(tmp_path / "p")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while not (line := process.stdout.readline()).startswith("listening"):
        assert line, "the server ended"
    assert "unix://" in line
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert "another server already listens" in second.stderr
    with RemotePolicy(tmp_path / "p", contract=contract) as remote:
        place, turn = ToolPose(contract)(home(contract).tolist())
        remote.inputs["joint_position"][:] = home(contract)
        remote.inputs["end_effector_position"][:], remote.inputs["end_effector_orientation"][:] = place, turn
        assert remote.run()
        # The process itself has the robot's kinematics to judge readings by.
        remote.inputs["end_effector_position"][1] += 0.3
        time.sleep(contract.timing.control_dt_s)
        assert remote.run()
        assert remote.answer()["reason"].startswith(Reason.READING_CONTRADICTS.sentence)
    process.send_signal(signal.SIGTERM)
    assert "ended by SIGTERM" in process.communicate(timeout=20)[0]
    assert process.returncode == 0


C_CLIENT = r"""
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <math.h>

struct request {
    uint32_t magic; uint16_t version, flags; uint8_t contract[8]; uint64_t sequence;
    double time_s, age_s, position[7], velocity[7];
    double tool_position[3], tool_orientation[4], effort[7];
    double goal_position[3], goal_orientation[4];
};
struct reply {
    uint32_t magic; uint16_t version, kind; uint8_t contract[8]; uint64_t sequence;
    double server_s, command[7], reachability, distance_m, angle_deg;
    uint8_t state, reason, commanding, reached, repeated, padding[3];
};

int main(int argc, char **argv) {
    struct sockaddr_un address = {AF_UNIX};
    static char hello[65536];
    struct request request = {0x504C4853, 1, 0, CONTRACT, 1};
    union { struct reply is; char bytes[1024]; } reply;
    int connection = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    if (argc != 2 || connect(connection, (struct sockaddr *)&address, sizeof address)) return 3;
    if (recv(connection, hello, sizeof hello - 1, 0) <= 0 || !strstr(hello, DIGEST)) return 4;
    for (int i = 0; i < 7; i++) { request.position[i] = HOME[i]; request.effort[i] = NAN; }
    request.tool_orientation[0] = 1;
    for (int i = 0; i < 3; i++) request.goal_position[i] = GOAL[i];
    for (int i = 0; i < 4; i++) request.goal_orientation[i] = NAN;
    send(connection, &request, sizeof request, 0);
    ssize_t size = recv(connection, &reply, sizeof reply, 0);
    if (reply.is.kind != 1) { printf("%.*s\n", (int)(size - 24), reply.bytes + 24); return 5; }
    if (size != sizeof reply.is || !reply.is.commanding) return 6;
    for (int i = 0; i < 7; i++) printf("%.17g\n", reply.is.command[i]);
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc: the documented C layout is NOT tested on this machine")
def test_a_c_client_with_the_documented_structs(path: Path, tmp_path: Path, contract: Contract) -> None:
    digest = bytes.fromhex(contract.digest)[:8]
    constants = [
        f"#define CONTRACT {{{', '.join(str(byte) for byte in digest)}}}",
        f'#define DIGEST "{contract.digest}"',
        f"static const double HOME[7] = {{{', '.join(repr(float(q)) for q in home(contract))}}};",
        f"static const double GOAL[3] = {{{', '.join(repr(value) for value in GOAL)}}};",
    ]
    source = C_CLIENT.replace("struct request {", "\n".join(constants) + "\nstruct request {", 1)
    (tmp_path / "client.c").write_text(source)
    build = ["gcc", "-Wall", "-Werror", "-o", str(tmp_path / "client"), str(tmp_path / "client.c")]
    subprocess.run(build, check=True, capture_output=True, text=True)
    done = subprocess.run([tmp_path / "client", path], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stdout
    with RemotePolicy(path) as remote:
        stand_at_home(remote.inputs, contract)
        remote.inputs["goal_position"][:] = GOAL
        assert remote.run()
        np.testing.assert_array_equal([float(line) for line in done.stdout.split()], remote.command)


def test_the_hello_describes_the_layout_completely(path: Path, contract: Contract) -> None:
    raw, hello = raw_connection(path)
    raw.close()
    assert hello.joint_names == contract.joint_names
    dtype = request_dtype(contract)
    assert hello.request.bytes == dtype.itemsize
    for field in hello.request.fields:
        assert field.meaning or field.name in ("magic", "version"), field
    rebuilt = np.dtype(
        {
            "names": [field.name for field in hello.request.fields],
            "formats": [(field.type, field.shape) for field in hello.request.fields],
            "offsets": [field.offset for field in hello.request.fields],
            "itemsize": hello.request.bytes,
        }
    )
    assert rebuilt == dtype
    with pytest.raises(ShoalError, match="speaks version 2"):
        Hello.parse(json.dumps(hello.model_dump(mode="json") | {"version": 2}).encode())
    with pytest.raises(ShoalError, match=r"speaks version 10{10,}") as refused:
        Hello.parse(json.dumps(hello.model_dump(mode="json") | {"version": 10**4000}).encode())
    assert len(str(refused.value)) < 300
