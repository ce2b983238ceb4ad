"""A client of `runtime serve` on one side, a ROS 2 node's topics on the other.

    goal_pose          in    geometry_msgs/PoseStamped          go there, or bring the object there
    object_pose        in    geometry_msgs/PoseStamped          where a tracker sees the object
    /tf, /tf_static    in    tf2_msgs/TFMessage                 frames in which both of these may come
    /clock             in    rosgraph_msgs/Clock                a simulation's time, with --use-sim-time
    joint_states       out   sensor_msgs/JointState             measured joints
    joint_trajectory   out   trajectory_msgs/JointTrajectory    the targets sent to the robot, one point
    tool_pose          out   geometry_msgs/PoseStamped          measured tool
    goal_status        out   std_msgs/String                    JSON: the status, and why the last goal, or the last
                                                                sighting of the object, was refused

The server may be started later and may be restarted: the bridge says so and goes on. It never waits for a subscriber.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable

from cyclonedds.core import DDSException, Listener
from cyclonedds.sub import DataReader

from runtime.goals.messages import GoalRefused
from runtime.options import Ros2Options, require_numbers
from runtime.process.signals import EndingSignals
from runtime.protocol.client import Client
from runtime.protocol.snapshot import Snapshot
from runtime.ros2 import messages as ros
from runtime.ros2.clock import Clock, SimulatedClock, SystemClock, seconds
from runtime.ros2.convert import base_pose_of, goal_of, joint_state_of, sighting_of, tool_pose_of, trajectory_of
from runtime.ros2.domain import LATCHED, Participant
from runtime.ros2.tf.listener import Frames
from runtime.status import GoalStatus
from sim2real.contract import Contract
from sim2real.errors import ShoalError

_RETRY_S = 1.0
_MOST_TAKEN = 16
_MOST_SAID = 20


class _Arrival(Listener):
    """Wakes the bridge when a goal has arrived, so that it need not poll."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.event = threading.Event()

    def on_data_available(self, reader: DataReader[ros.PoseStamped]) -> None:
        """Called from a thread of cyclonedds."""
        self.event.set()


class Bridge:
    """Carries goals to `client` and what it tells to the topics, which begin with `options.namespace`."""

    def __init__(self, client: Client, options: Ros2Options) -> None:
        self._client, self._options = client, options
        self._contract: Contract | None = None
        self._frame, self._period_s = options.frame or "", 0.0
        self._participant = participant = Participant(network=options.network)
        self.description = participant.description
        prefix = f"{options.namespace.strip('/')}/" if options.namespace.strip("/") else ""
        self._arrival = _Arrival()
        self._goals = participant.reader(f"{prefix}goal_pose", ros.PoseStamped, self._arrival)
        self._objects = participant.reader(f"{prefix}object_pose", ros.PoseStamped, self._arrival)
        self._joint_states = participant.writer(f"{prefix}joint_states", ros.JointState)
        self._trajectories = participant.writer(f"{prefix}joint_trajectory", ros.JointTrajectory)
        self._tool_poses = participant.writer(f"{prefix}tool_pose", ros.PoseStamped)
        self._base_poses = participant.writer(f"{prefix}base_pose", ros.PoseStamped)
        self._statuses = participant.writer(f"{prefix}goal_status", ros.String, LATCHED)
        self._tick, self._refusal, self._said = 0, "", ""
        self._said_once: set[str] = set()
        self._clock: Clock = SimulatedClock(participant, self._say_once) if options.use_sim_time else SystemClock()
        self._frames = None
        if options.tf:
            self._frames = Frames(participant, self._clock, max_age_s=options.tf_max_age_s, say=self._say_once)
        self._carry = None if self._frames is None else self._frames.carry

    def run(self, should_end: Callable[[], bool]) -> None:
        """Run until `should_end()`, which is asked at every round."""
        round_s = 1 / self._options.rate_hz
        while not should_end():
            started = time.monotonic()
            try:
                self.step()
                wait_s = round_s
                self._say("connected")
            except ShoalError as error:
                wait_s = _RETRY_S
                self._say(str(error))
            if self._arrival.event.wait(max(0.0, started + wait_s - time.monotonic())):
                self._arrival.event.clear()

    def step(self) -> None:
        """One round: the newest goal in, what is new out. Raises `ShoalError` when server or DDS cannot be reached."""
        if self._contract is None:
            self._contract = self._client.describe().contract
            self._frame = self._options.frame or self._contract.goal.frame
            self._period_s = self._contract.timing.control_dt_s
        self._clock.take()
        if self._frames is not None:
            self._frames.take()
        if (seen := self._newest(self._objects)) is not None:
            self._report(seen, self._contract)
        if (goal := self._newest(self._goals)) is not None:
            self._forward(goal, self._contract)
        self._publish(self._client.telemetry(), self._contract)

    def close(self) -> None:
        """Leave the domain."""
        self._participant.close()

    def _newest(self, reader: DataReader[ros.PoseStamped]) -> ros.PoseStamped | None:
        """The latest message that can be read; one that cannot shows in the status as refused."""
        newest = None
        for _ in range(_MOST_TAKEN):
            try:
                # One at a time: what cannot be read must not take others with it.
                samples = reader.take(1)
            except DDSException as error:
                raise ShoalError(f"cannot read from DDS ({error.msg}).") from error
            except ShoalError as error:
                self._refusal = str(error)
                continue
            if not samples:
                break
            # A publisher that leaves is reported as a sample without data.
            newest = samples[0] if isinstance(samples[0], ros.PoseStamped) else newest
        return newest

    def _forward(self, message: ros.PoseStamped, contract: Contract) -> None:
        options = self._options
        try:
            self._require_clock(message)
            goal = goal_of(
                message,
                contract,
                frame=self._frame,
                now=self._clock.stamp_s(),
                max_age_s=options.max_age_s,
                timeout_s=options.goal_timeout_s,
                carry=self._carry,
                to_unix_s=self._to_unix_s(),
            )
            self._client.send_goal(goal)
            self._refusal = ""
        except GoalRefused as error:
            self._refusal = str(error)

    def _report(self, message: ros.PoseStamped, contract: Contract) -> None:
        try:
            self._require_clock(message)
            position, turn, stamp = sighting_of(
                message,
                frame=self._frame,
                stamped=self._options.max_age_s > 0,
                carry=self._carry,
                to_unix_s=self._to_unix_s(),
            )
            told = any(reading.turned for reading in contract.readings if reading.source == "tracker")
            self._client.report_object(
                position,
                orientation_wxyz=turn if told else None,
                stamp=stamp,
                source="ros2",
                frame=contract.goal.frame,
            )
        except GoalRefused as error:
            self._refusal = str(error)

    def _to_unix_s(self) -> float:
        """What stamps are behind Unix time."""
        return time.time() - self._clock.stamp_s() if self._options.use_sim_time else 0.0

    def _require_clock(self, message: ros.PoseStamped) -> None:
        stamped = seconds(message.header.stamp) and self._options.max_age_s
        if stamped and not self._clock.known:
            raise GoalRefused("header.stamp says nothing while nothing comes on /clock; does the simulation run?")

    def _publish(self, snapshot: Snapshot, contract: Contract) -> None:
        if self._options.use_sim_time:
            snapshot = snapshot.model_copy(update={"stamp": self._clock.stamp_s()})
        self._statuses.write(ros.String(data=self._status_text(snapshot.status)))
        if snapshot.tick == self._tick or not snapshot.joint_position:
            return
        self._tick = snapshot.tick
        self._joint_states.write(joint_state_of(snapshot, self._frame))
        for writer, pose in (
            (self._tool_poses, tool_pose_of(snapshot, contract, self._frame)),
            (self._base_poses, base_pose_of(snapshot, contract, self._frame)),
        ):
            if pose is not None:
                writer.write(pose)
        if snapshot.joint_position_target:
            self._trajectories.write(trajectory_of(snapshot, self._frame, self._period_s))

    def _status_text(self, status: GoalStatus) -> str:
        return json.dumps(status.model_dump(mode="json") | {"refused": self._refusal})

    def _say(self, sentence: str) -> None:
        """Say it on standard error, once."""
        if sentence != self._said:
            self._said = sentence
            print(f"ros2: {sentence}", file=sys.stderr, flush=True)

    def _say_once(self, sentence: str) -> None:
        """On standard error, never again; at most so many of them."""
        if sentence and sentence not in self._said_once and len(self._said_once) < _MOST_SAID:
            self._said_once.add(sentence)
            print(f"ros2: {sentence}", file=sys.stderr, flush=True)


def run(options: Ros2Options) -> None:
    """Bridge until a signal asks for the end."""
    require_numbers(options)
    if not options.rate_hz > 0:
        raise ShoalError(f"--rate-hz must be positive, got {options.rate_hz:g}.")
    with EndingSignals() as ending, Client(options.address) as client:
        bridge = Bridge(client, options)
        print(f"ros2       {bridge.description}", flush=True)
        bridge.run(ending)
        bridge.close()
