"""A robot as ros2_control shows it, in a process of its own and in MuJoCo: a joint_state_broadcaster, and a controller.

    python -m benchmarks.transport.ros2_controller TASK [--kind trajectory] [--rename PREFIX] [--silent-after SECONDS]
                                                        [--sim-time-at SPEED]

It shares nothing with `runtime.ros2`: its message types are its own. Joints are told in another order than the
policy's, among them one that is not the policy's. The trajectory controller goes in a straight line from where it last
wanted to be to the point, as ros2_control's does for points without velocities; the forward one jumps. An object of
the task, and a floating base, are told as a tracker, an odometry and an inertial unit would. In simulated time it
publishes /clock, and stamps with that. Ends when its standard input does.
"""

import math
import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal

import mujoco
import numpy as np
import tyro
from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct, annotations
from cyclonedds.idl import types as idl_types
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic

from sim2real.console import command_line
from sim2real.tasks.task import Task, load_task

types: Any = idl_types


def struct(typename: str, /, **fields: Any) -> Any:
    """A final DDS struct under a ROS name."""
    made = type(typename.rsplit("::", 1)[-1], (IdlStruct,), {"__annotations__": fields}, typename=typename)
    return annotations.final(dataclass(made))


Float, Floats = types.float64, types.sequence[types.float64]
Time = struct("builtin_interfaces::msg::dds_::Time_", sec=types.int32, nanosec=types.uint32)
Duration = struct("builtin_interfaces::msg::dds_::Duration_", sec=types.int32, nanosec=types.uint32)
Header = struct("std_msgs::msg::dds_::Header_", stamp=Time, frame_id=str)
Clock = struct("rosgraph_msgs::msg::dds_::Clock_", clock=Time)
JointState = struct(
    "sensor_msgs::msg::dds_::JointState_",
    header=Header,
    name=types.sequence[str],
    position=Floats,
    velocity=Floats,
    effort=Floats,
)
TrajectoryPoint = struct(
    "trajectory_msgs::msg::dds_::JointTrajectoryPoint_",
    positions=Floats,
    velocities=Floats,
    accelerations=Floats,
    effort=Floats,
    time_from_start=Duration,
)
Trajectory = struct(
    "trajectory_msgs::msg::dds_::JointTrajectory_",
    header=Header,
    joint_names=types.sequence[str],
    points=types.sequence[TrajectoryPoint],
)
Dimension = struct("std_msgs::msg::dds_::MultiArrayDimension_", label=str, size=types.uint32, stride=types.uint32)
Layout = struct("std_msgs::msg::dds_::MultiArrayLayout_", dim=types.sequence[Dimension], data_offset=types.uint32)
Array = struct("std_msgs::msg::dds_::Float64MultiArray_", layout=Layout, data=Floats)
Point = struct("geometry_msgs::msg::dds_::Point_", x=Float, y=Float, z=Float)
Vector = struct("geometry_msgs::msg::dds_::Vector3_", x=Float, y=Float, z=Float)
Quaternion = struct("geometry_msgs::msg::dds_::Quaternion_", x=Float, y=Float, z=Float, w=Float)
Pose = struct("geometry_msgs::msg::dds_::Pose_", position=Point, orientation=Quaternion)
PoseStamped = struct("geometry_msgs::msg::dds_::PoseStamped_", header=Header, pose=Pose)
Twist = struct("geometry_msgs::msg::dds_::Twist_", linear=Vector, angular=Vector)
SomePose = struct("geometry_msgs::msg::dds_::PoseWithCovariance_", pose=Pose, covariance=types.array[Float, 36])
SomeTwist = struct("geometry_msgs::msg::dds_::TwistWithCovariance_", twist=Twist, covariance=types.array[Float, 36])
Odometry = struct("nav_msgs::msg::dds_::Odometry_", header=Header, child_frame_id=str, pose=SomePose, twist=SomeTwist)
Imu = struct(
    "sensor_msgs::msg::dds_::Imu_",
    header=Header,
    orientation=Quaternion,
    orientation_covariance=types.array[Float, 9],
    angular_velocity=Vector,
    angular_velocity_covariance=types.array[Float, 9],
    linear_acceleration=Vector,
    linear_acceleration_covariance=types.array[Float, 9],
)

CLOCK = Qos(
    Policy.Reliability.BestEffort,
    Policy.Durability.Volatile,
    Policy.History.KeepLast(1),
    Policy.DataRepresentation(use_cdrv0_representation=True),
)
SYSTEM_DEFAULT = Qos(
    Policy.Reliability.Reliable(max_blocking_time=100_000_000),
    Policy.Durability.Volatile,
    Policy.History.KeepLast(10),
    Policy.DataRepresentation(use_cdrv0_representation=True),
)
UPDATES_HZ, STATES_HZ, OTHERS_HZ = 250, 100, 50


@dataclass
class Arguments:
    """A simulated robot of ros2_control."""

    task: tyro.conf.Positional[str]
    kind: Literal["trajectory", "forward"] = "trajectory"
    rename: str = ""
    """Before every joint's name."""
    silent_after: float = math.inf
    """Stop telling joint states after this time, s, for two seconds."""
    sim_time_at: float | None = None
    """Publish /clock, with so many simulated seconds per second."""


class Robot:
    """MuJoCo behind the topics."""

    def __init__(self, task: Task, arguments: Arguments) -> None:
        self.contract, self.model, self.arguments = task.contract, task.model, arguments
        self.addresses = task.scene.addresses
        self.data = self.addresses.home_data(self.model)
        self.names = [arguments.rename + name for name in reversed(self.contract.joint_names)]
        self.start = self.goal = self.addresses.joint_position(self.data.qpos[None])[0]
        self.began_s, self.due_s = 0.0, 1e-9

    def desired(self) -> np.ndarray:
        """Where the controller wants the joints to be now, policy order."""
        share = min(1.0, (self.data.time - self.began_s) / self.due_s)
        return np.asarray(self.start + (self.goal - self.start) * share)

    def take(self, positions: list[float], names: list[str], due_s: float) -> None:
        """A new point, joints in the order of `names`."""
        place = {self.arguments.rename + name: i for i, name in enumerate(self.contract.joint_names)}
        self.start, self.began_s, self.due_s = self.desired(), self.data.time, max(due_s, 1e-9)
        self.goal = self.goal.copy()
        for name, position in zip(names, positions, strict=True):
            self.goal[place[name]] = position

    def header(self, frame: str = "") -> Any:
        """Stamped with the system's clock, or the simulation's."""
        simulated = self.arguments.sim_time_at is not None
        sec, nanosec = divmod(round(1e9 * self.data.time) if simulated else time.time_ns(), 1_000_000_000)
        return Header(Time(sec, nanosec), frame)

    def advance(self, until_s: float) -> None:
        """Physics up to a simulated time."""
        while self.data.time < until_s:
            self.data.ctrl[self.addresses.actuator] = self.addresses.control(self.desired())
            mujoco.mj_step(self.model, self.data)


def main() -> None:
    """Until standard input ends."""
    arguments = tyro.cli(Arguments, description=__doc__)
    robot = Robot(load_task(arguments.task), arguments)
    participant = DomainParticipant(int(os.environ.get("ROS_DOMAIN_ID", "0")))

    def topic(name: str, kind: Any) -> Any:
        return Topic(participant, f"rt/{name}", kind)

    states = DataWriter(participant, topic("joint_states", JointState), qos=SYSTEM_DEFAULT)
    if arguments.kind == "trajectory":
        name, kind = "joint_trajectory_controller/joint_trajectory", Trajectory
    else:
        name, kind = "forward_position_controller/commands", Array
    commands: Any = DataReader(participant, topic(name, kind), qos=SYSTEM_DEFAULT)
    clock = DataWriter(participant, topic("clock", Clock), qos=CLOCK)
    others = others_of(robot, participant, topic)
    ended = threading.Event()

    def until_input_ends() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=until_input_ends, daemon=True).start()
    print("ready", flush=True)
    began, tick = time.monotonic(), 0
    while not ended.is_set():
        for message in commands.take(100):
            take(robot, message, arguments)
        robot.advance((time.monotonic() - began) * (arguments.sim_time_at or 1.0))
        if arguments.sim_time_at is not None:
            clock.write(Clock(robot.header().stamp))
        passed_s = time.monotonic() - began
        silent = arguments.silent_after < passed_s < arguments.silent_after + 2.0
        if tick % (UPDATES_HZ // STATES_HZ) == 0 and not silent:
            states.write(state_of(robot))
        if tick % (UPDATES_HZ // OTHERS_HZ) == 0:
            for tell in others:
                tell()
        tick += 1
        ended.wait(max(0.0, began + tick / UPDATES_HZ - time.monotonic()))


def take(robot: Robot, message: Any, arguments: Arguments) -> None:
    """A command, as a controller of the kind takes it."""
    if arguments.kind == "forward":
        # Its joints are those of its own parameters, in the order in which it tells their states.
        if hasattr(message, "data"):
            robot.take(list(message.data), robot.names, 0.0)
    elif hasattr(message, "points"):
        point = message.points[0]
        due = point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec
        robot.take(list(point.positions), list(message.joint_names), due)


def state_of(robot: Robot) -> Any:
    """Every joint and a gripper's, the policy's last joint first."""
    position = robot.addresses.joint_position(robot.data.qpos[None])[0][::-1].tolist()
    velocity = robot.addresses.joint_velocity(robot.data.qvel[None])[0][::-1].tolist()
    return JointState(
        robot.header(), ["gripper", *robot.names], [0.04, *position], [0.0, *velocity], [math.nan] * (len(position) + 1)
    )


def others_of(robot: Robot, participant: DomainParticipant, topic: Any) -> list[Any]:
    """What tells of an object and of a floating base, where the task has them."""
    tellers = []
    model, data = robot.model, robot.data
    if robot.contract.tracked_body is not None:
        body = model.body(robot.contract.tracked_body).id
        objects = DataWriter(participant, topic("object_pose", PoseStamped), qos=SYSTEM_DEFAULT)
        tellers.append(lambda: objects.write(PoseStamped(robot.header("world"), pose_of(data, body))))
    base = int(model.body_rootid[robot.addresses.body])
    joint = int(model.body_jntadr[base])
    if joint >= 0 and model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
        odometry = DataWriter(participant, topic("odom", Odometry), qos=SYSTEM_DEFAULT)
        imu = DataWriter(participant, topic("imu", Imu), qos=SYSTEM_DEFAULT)
        dof = int(model.jnt_dofadr[joint])

        def tell() -> None:
            linear = data.xmat[base].reshape(3, 3).T @ data.qvel[dof : dof + 3]
            angular = Vector(*data.qvel[dof + 3 : dof + 6].tolist())
            pose = SomePose(pose_of(data, base), [0.0] * 36)
            odometry.write(
                Odometry(
                    robot.header("odom"), "base", pose, SomeTwist(Twist(Vector(*linear.tolist()), angular), [0.0] * 36)
                )
            )
            turn = pose.pose.orientation
            imu.write(Imu(robot.header("base"), turn, [0.0] * 9, angular, [0.0] * 9, Vector(0.0, 0.0, 9.81), [0.0] * 9))

        tellers.append(tell)
    return tellers


def pose_of(data: mujoco.MjData, body: int) -> Any:
    """A body's pose, its quaternion in ROS's order."""
    w, x, y, z = data.xquat[body].tolist()
    return Pose(Point(*data.xpos[body].tolist()), Quaternion(x, y, z, w))


if __name__ == "__main__":
    with command_line():
        main()
