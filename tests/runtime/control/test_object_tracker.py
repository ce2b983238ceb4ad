"""Policies that bring an object to a place: what they are told about it, by whom, and when nobody knows."""

from __future__ import annotations

import math
import re
import signal
import threading
import time
from pathlib import Path

import mujoco
import numpy as np
import pytest

from runtime.control.loop import Loop
from runtime.control.mujoco_controller import Controller
from runtime.control.object_tracker import Tracker
from runtime.control.policy_controller import PolicyController
from runtime.control.telemetry import Telemetry
from runtime.drivers.base import DriverOptions, open_driver
from runtime.drivers.conformance import assert_conforms
from runtime.drivers.mujoco import MujocoDriver
from runtime.gateway.gateway import Gateway
from runtime.goals.messages import GoalObject, GoalPose, GoalRefused, parse_any_goal
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.ipc.shared_memory import SharedSlots
from runtime.ipc.telemetry_ring import Ring
from runtime.monitoring.telemetry_reader import TelemetryReader
from runtime.policy_server.client import RemotePolicy
from runtime.policy_server.server import PacketListener, PolicyServer
from runtime.policy_server.session import Session
from runtime.protocol.client import Client
from runtime.protocol.messages import Accepted, ObjectReport, Refused, TelemetryReply, TelemetryRequest
from runtime.recording.replay import replay
from runtime.recording.writer import Recorder
from runtime.robot.readings import Readings
from runtime.safety import SafetyConfig
from runtime.safety.rules.base import Layer
from runtime.safety.rules.targets import Workspace
from runtime.status import Reason, State
from sim2real.contract import Contract
from sim2real.logs.recording import read_recording
from sim2real.tasks.task import Task, load_task
from tests.runtime.drivers.blind import WHERE, BlindDriver
from tests.runtime.drivers.test_wire import WIRE, Running
from tests.runtime.server.test_server import PATIENCE_S, Server
from tests.runtime.small_policy import write_policy

PLACE = (0.5, 0.1, 0.04)


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("franka_push")


@pytest.fixture(scope="module")
def contract(task: Task) -> Contract:
    return task.contract


@pytest.fixture(scope="module")
def policy_path(contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_policy(tmp_path_factory.mktemp("push") / "push.onnx", contract)


class NoExchange:
    def before_tick(self, core: PolicyController, driver: object) -> None:
        pass

    def after_tick(self, core: PolicyController, missed_periods: int) -> None:
        pass


def follow(core: PolicyController, goal: GoalPose) -> None:
    core.set_goal(validate_goal(core.contract, goal, time.time()), number=1, now_s=0.0)


def test_progress_is_that_of_the_object(policy: Policy) -> None:
    driver, core = MujocoDriver(policy.contract, DriverOptions(speed=0)), PolicyController(policy)
    follow(core, GoalPose(position=PLACE))
    Loop(driver, core, NoExchange()).tick(time.perf_counter_ns())
    assert core.safety.reason is Reason.FOLLOWING
    np.testing.assert_allclose(policy.inputs["object_position"], driver.data.body("puck").xpos, atol=1e-7)
    assert core.distance_m == pytest.approx(math.dist(driver.data.body("puck").xpos, PLACE))


def test_a_goal_about_the_object_is_where_it_should_be(contract: Contract) -> None:
    goal = parse_any_goal({"object_position": list(PLACE), "id": "there", "position_tolerance_m": 0.02})
    assert isinstance(goal, GoalObject)
    resolved = validate_goal(contract, goal, 0.0)
    assert (resolved.request, resolved.id, resolved.position_tolerance_m) == (PLACE, "there", 0.02)
    with pytest.raises(GoalRefused, match=r"standoff_m or goal.approach was given, but this policy brings 'puck'"):
        validate_goal(contract, goal.model_copy(update={"standoff_m": 0.1}), 0.0)
    with pytest.raises(GoalRefused, match="outside the workspace"):
        validate_goal(contract, GoalPose(position=(0.5, 0.1, 0.4)), 0.0)


class Tracked:
    """A loop whose driver does not see the object, with the gateway's and the loop's ends of the shared memory."""

    def __init__(self, policy: Policy, stale_s: float = 0.5) -> None:
        contract = policy.contract
        self.slots = SharedSlots.create(contract)
        self.ring = Ring.create(contract)
        gateways = SharedSlots(self.slots.descriptor, contract)
        self.gateway = Gateway(contract, gateways, TelemetryReader(Ring.create(contract), contract))
        self.driver, self.core = BlindDriver(contract, DriverOptions(speed=0)), PolicyController(policy)
        self.loop = Loop(
            self.driver,
            self.core,
            NoExchange(),
            telemetry=Telemetry(self.ring, self.core),
            tracker=Tracker(contract, self.slots.object, stale_s),
        )
        follow(self.core, GoalPose(position=PLACE))

    def tick(self) -> Reason:
        self.loop.tick(time.perf_counter_ns())
        return self.core.safety.reason

    def report(self, **fields: object) -> Accepted | Refused:
        reply = self.gateway.answer(ObjectReport.model_validate({"position": PLACE} | fields))
        assert isinstance(reply, Accepted | Refused)
        return reply


def test_a_robot_waits_until_a_tracker_tells_and_again_when_it_is_silent(policy: Policy) -> None:
    tracked = Tracked(policy, stale_s=0.2)
    assert tracked.tick() is Reason.OBJECT_UNKNOWN
    assert tracked.core.safety.state is State.HOLD
    assert isinstance(tracked.report(position=(0.45, -0.1, 0.04)), Accepted)
    assert tracked.tick() is Reason.FOLLOWING
    np.testing.assert_allclose(policy.inputs["object_position"], (0.45, -0.1, 0.04), atol=1e-7)
    assert tracked.core.distance_m == pytest.approx(math.dist((0.45, -0.1, 0.04), PLACE))
    time.sleep(0.25)
    before = tracked.core.safety.target.copy()
    assert tracked.tick() is Reason.OBJECT_UNKNOWN
    np.testing.assert_array_equal(tracked.core.safety.target, before)
    assert isinstance(tracked.report(), Accepted)
    assert tracked.tick() is Reason.FOLLOWING


def test_an_old_sighting_is_no_sighting(policy: Policy) -> None:
    tracked = Tracked(policy, stale_s=0.2)
    assert isinstance(tracked.report(stamp=time.time() - 1.0), Accepted)
    assert tracked.tick() is Reason.OBJECT_UNKNOWN


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "other"}, "'camera' reports already; 'other' may once that one is silent"),
        ({"source": "camera", "frame": "camera_link"}, "object.frame is 'camera_link', but .* in 'world'"),
        ({"source": "camera", "stamp": time.time() + 3600}, "object.stamp is .* s in the future"),
        ({"source": "camera", "position": (400.0, 200.0, 40.0)}, "object: object_position x is 400 m, .* millimetres"),
    ],
)
def test_reports_that_are_refused(policy: Policy, fields: dict[str, object], message: str) -> None:
    tracked = Tracked(policy)
    assert isinstance(tracked.report(source="camera"), Accepted)
    reply = tracked.report(**{"position": (0.4, 0.2, 0.04), **fields})
    assert isinstance(reply, Refused)
    assert re.search(message, reply.reason), reply.reason
    tracked.tick()
    np.testing.assert_allclose(policy.inputs["object_position"], PLACE, atol=1e-7)


def test_a_policy_for_the_tool_wants_no_reports() -> None:
    contract = load_task("franka_reach").contract
    slots = SharedSlots.create(contract)
    reply = Gateway(contract, slots, TelemetryReader(Ring.create(contract), contract)).answer(
        ObjectReport(position=PLACE)
    )
    assert isinstance(reply, Refused)
    assert "about the robot" in reply.reason


def test_a_driver_that_sees_the_object_is_believed(policy: Policy) -> None:
    slots = SharedSlots.create(policy.contract)
    driver, core = MujocoDriver(policy.contract, DriverOptions(speed=0)), PolicyController(policy)
    loop = Loop(driver, core, NoExchange(), tracker=Tracker(policy.contract, slots.object, 0.5))
    follow(core, GoalPose(position=PLACE))
    for _ in range(3):
        loop.tick(time.perf_counter_ns())
        assert core.safety.reason is Reason.FOLLOWING


def test_recordings_hold_the_object_and_replay_bit_for_bit(policy: Policy, policy_path: Path, tmp_path: Path) -> None:
    tracked = Tracked(policy, stale_s=0.05)
    for tick in range(60):
        if not 20 <= tick < 30:
            tracked.report(position=(0.45, -0.1 + 0.001 * tick, 0.04))
        elif tick == 20:
            time.sleep(0.1)
        tracked.tick()
    facts = {"safety": SafetyConfig().model_dump_json(), "engine": policy.engine}
    recorder = Recorder(tmp_path / "push.mcap", policy.contract, facts)
    recorder.write(tracked.ring.drain())
    recorder.close()
    recording = read_recording(tmp_path / "push.mcap")
    assert {tick["reason"] for tick in recording.ticks} == {"following", "object_unknown"}
    seen = recording.column("object_position")
    assert seen.shape == (60, 3)
    assert np.isnan(seen[25]).all()
    np.testing.assert_allclose(seen[40], (0.45, -0.06, 0.04))
    result = replay(tmp_path / "push.mcap", policy_path)
    assert (result.ticks, result.different, result.lost) == (60, 0, 0)


def test_clients_see_where_the_object_is(policy: Policy) -> None:
    tracked, contract = Tracked(policy), policy.contract
    tracked.report()
    tracked.tick()
    watch = TelemetryReader(Ring(tracked.ring.descriptor, contract), contract)
    reply = Gateway(contract, SharedSlots(tracked.slots.descriptor, contract), watch).answer(TelemetryRequest())
    assert isinstance(reply, TelemetryReply)
    assert reply.telemetry.object_position == pytest.approx(PLACE)


def test_the_controller_reads_the_object_from_the_model(policy_path: Path, task: Task) -> None:
    model = mujoco.MjModel.from_xml_path(str(task.mjcf_path))
    model.opt.timestep = task.contract.timing.physics_dt_s
    data, controller = mujoco.MjData(model), Controller(policy_path)
    mujoco.mj_resetDataKeyframe(model, data, model.key("push_home").id)
    data.joint("puck_x").qpos[0] = 0.05
    controller.set_goal(GoalPose(position=PLACE))
    data.ctrl[:] = controller.step(data)
    assert controller.status.state in ("ramp-in", "active")
    assert controller.status.distance_m == pytest.approx(math.dist((0.55, 0.0, 0.04), PLACE))


def test_a_remote_policy_is_told_with_the_readings(policy: Policy, contract: Contract, tmp_path: Path) -> None:
    server = PolicyServer([PacketListener(tmp_path / "policy.sock", lambda: Session(policy))])
    ended = threading.Event()
    thread = threading.Thread(target=server.run, args=(ended.is_set,))
    thread.start()
    try:
        with RemotePolicy(tmp_path / "policy.sock", contract=contract) as remote:
            assert remote.hello.object_body == "puck"
            remote.inputs["joint_position"][:] = [joint.home_position for joint in contract.robot.joints]
            remote.inputs["end_effector_orientation"][:] = (0, 1, 0, 0)
            remote.inputs["goal_position"][:] = PLACE
            assert not remote.run(0.0)
            assert remote.answer()["reason"] == Reason.OBJECT_UNKNOWN.sentence
            remote.inputs["object_position"][:] = (0.5, 0.0, 0.04)
            assert remote.run(contract.timing.control_dt_s)
            assert remote.answer()["distance_m"] == pytest.approx(0.1)
    finally:
        ended.set()
        thread.join()
        server.close()


def test_a_simulation_over_the_wire_sends_the_object(task: Task, tmp_path: Path) -> None:
    running = Running(task, tmp_path / "s")
    try:
        driver = open_driver(WIRE, task.contract, DriverOptions(host=str(tmp_path / "s")))
        readings = Readings.of(task.contract)
        driver.read(readings)
        np.testing.assert_allclose(readings.object_position, (0.5, 0.0, 0.04), atol=1e-6)
        driver.close()
    finally:
        running.end()


def test_a_served_robot_follows_what_a_camera_says(
    policy_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / "object"
    monkeypatch.setenv(WHERE, str(where))
    server = Server(policy_path, tmp_path, "--robot", "tests.runtime.drivers.blind:BlindDriver", "--speed", "4")
    try:
        with server.client() as client, Client(str(server.socket), timeout_s=PATIENCE_S) as camera:
            client.send_goal(GoalObject(object_position=PLACE, id="push"))
            assert client.status().reason == Reason.OBJECT_UNKNOWN.sentence
            for _ in range(10):
                x, y, z = (float(value) for value in where.read_text().split())
                camera.report_object((x, y, z), source="camera", stamp=time.time())
                time.sleep(0.05)
            status = client.status()
            assert status.state in ("ramp-in", "active")
            assert status.distance_m == pytest.approx(math.dist((x, y, z), PLACE), abs=0.05)
            assert client.telemetry().object_position == pytest.approx((x, y, z), abs=0.05)
            with pytest.raises(GoalRefused, match="'camera' reports already"):
                client.report_object(PLACE, source="other")
    finally:
        output = server.end(signal.SIGTERM)
    assert "lost object" in output


def test_a_randomised_robot_has_the_object_where_its_model_has_it(contract: Contract) -> None:
    options = DriverOptions(speed=0, randomisation="mild", seed=1)
    driver, readings = open_driver("randomised", contract, options), Readings.of(contract)
    driver.read(readings)
    np.testing.assert_allclose(readings.object_position, (0.5, 0.0, 0.04), atol=1e-6)
    assert_conforms(driver, contract)


def test_the_goal_box_of_an_object_does_not_bound_the_tool(contract: Contract) -> None:
    assert SafetyConfig().workspace(contract) is None
    given = SafetyConfig(workspace_min_m=(0.0, -0.8, 0.0), workspace_max_m=(1.0, 0.8, 1.0))
    assert given.workspace(contract) == ((0.0, -0.8, 0.0), (1.0, 0.8, 1.0))
    assert "set workspace_min_m and workspace_max_m" in Workspace.off(Layer(contract, SafetyConfig(), None))
