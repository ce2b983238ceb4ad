"""A quadruped in C MuJoCo behind its low-level messages: `runtime simulate --protocol unitree`.

Every motor does what the newest command says: a torque of `kp (q* - q) + kd (dq* - dq) + tau`, within the limit of its
drive. Commands with a wrong checksum are left out, as are those with numbers that are none. Where none has come for
`WATCHDOG_S` the motors damp, and do so at the start, in which the robot lies on its belly. Out come a state after every
physics step, and where the base is, as from the robot's own motion service, 50 times a second. Time is wall time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import mujoco
import numpy as np
from cyclonedds.core import DDSException

from runtime.inference.policy import Policy
from runtime.process.signals import EndingSignals
from runtime.robot.model import load_model
from runtime.ros2.domain import RELIABLE, Participant
from runtime.unitree.config import OdometrySource, UnitreeConfig, load_config
from runtime.unitree.dds.messages import (
    HEAD,
    LOW_CMD,
    LOW_COMMAND_TOPIC,
    LOW_LEVEL,
    LOW_STATE,
    LOW_STATE_TOPIC,
    NO_MODE,
    SERVO_MODE,
    SPORT_MODE_STATE,
    LowCmd,
    LowState,
    SportModeState,
)
from runtime.unitree.dds.newest import RECENT, newest_first
from runtime.unitree.dds.packets import Packet
from runtime.unitree.motors import MotorMap
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.robots.kinematics import Addresses
from sim2real.terms import Scene

WATCHDOG_S = 0.1
"""Without a command for so long the motors let go. The robot's own time is not published."""
DAMPING = 3.0
"""N m s/rad, of motors that have let go."""
_ODOMETRY_HZ = 50
_LYING = "crouched"
"""The keyframe in which the robot lies on its belly."""
_MAX_CATCH_UP_S = 0.25
_POWER_V = 28.0


class SimulatedRobot:
    """The contract's robot, its motors, its inertial unit and where it is."""

    def __init__(self, model: mujoco.MjModel, contract: Contract, motors: MotorMap) -> None:
        self.model = model
        model.opt.timestep = contract.timing.physics_dt_s
        self._motors = motors
        self._addresses = addresses = Addresses.of(model, contract.robot)
        scene = Scene(model, contract.robot, addresses.rest_qpos, contract.timing.control_dt_s)
        joint = scene.free_joint(int(model.body_rootid[addresses.body]))
        if joint is None:
            raise ShoalError("--protocol unitree: this policy's robot has no floating base; serve it with another one.")
        self._base, self._base_dof = int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])
        model.actuator_ctrllimited[addresses.actuator] = 0
        model.actuator_gainprm[addresses.actuator, 0] = 1.0
        self.data = addresses.home_data(model)
        if (key := mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_KEY, _LYING)) >= 0:
            self.data.qpos[:] = model.key_qpos[key]
        self.driven = False
        """Whether the motors do what they are told."""
        self.let_go()

    def command(self, packet: Packet) -> bool:
        """Take a command; False, leaving everything as it is, where it is none."""
        slots = packet["motor_cmd"][self._motors.slots]
        numbers = [slots[name] for name in ("q", "dq", "tau", "kp", "kd")]
        for_motors = packet["level_flag"] == LOW_LEVEL and tuple(packet["head"]) == HEAD
        if not (for_motors and packet.is_whole and np.isfinite(numbers).all()):
            return False
        q, dq, tau, kp, kd = np.asarray(numbers, np.float64)
        signs = self._motors.signs
        on = slots["mode"] == SERVO_MODE
        self._tell(np.where(on, kp * q + kd * dq + tau, 0.0) * signs, np.where(on, kp, 0.0), np.where(on, kd, 0.0))
        self.driven = True
        return True

    def let_go(self) -> None:
        """All motors damp."""
        self._tell(0.0, 0.0, DAMPING)
        self.driven = False

    def advance(self) -> None:
        """One physics step."""
        mujoco.mj_step(self.model, self.data)

    def low_state(self) -> Packet:
        """What encoders and inertial unit measure, sealed."""
        data, signs, packet = self.data, self._motors.signs, Packet(LOW_STATE)
        packet["head"], packet["level_flag"], packet["power_v"] = HEAD, LOW_LEVEL, _POWER_V
        packet["tick"] = round(1e3 * data.time)
        states, slots = packet["motor_state"], self._motors.slots
        states["q"][slots] = self._addresses.joint_position(data.qpos) * signs
        states["dq"][slots] = self._addresses.joint_velocity(data.qvel) * signs
        states["tau_est"][slots] = data.qfrc_actuator[self._addresses.dof] * signs
        states["mode"][slots] = SERVO_MODE if self.driven else NO_MODE
        imu = packet["imu_state"]
        imu["quaternion"] = data.qpos[self._base + 3 : self._base + 7]
        imu["gyroscope"] = data.qvel[self._base_dof + 3 : self._base_dof + 6]
        packet.seal()
        return packet

    def sport_mode_state(self) -> Packet:
        """Where the base is, and how fast it moves there."""
        data, packet = self.data, Packet(SPORT_MODE_STATE)
        seconds = math.floor(data.time)
        packet["stamp"]["sec"], packet["stamp"]["nanosec"] = seconds, int(1e9 * (data.time - seconds))
        packet["position"] = data.qpos[self._base : self._base + 3]
        packet["velocity"] = data.qvel[self._base_dof : self._base_dof + 3]
        packet["body_height"] = data.qpos[self._base + 2]
        packet["yaw_speed"] = data.qvel[self._base_dof + 5]
        packet["imu_state"]["quaternion"] = data.qpos[self._base + 3 : self._base + 7]
        packet["imu_state"]["gyroscope"] = data.qvel[self._base_dof + 3 : self._base_dof + 6]
        return packet

    @property
    def base(self) -> tuple[float, np.ndarray]:
        """How high it is, m, and how it is turned, wxyz."""
        turn: np.ndarray = self.data.qpos[self._base + 3 : self._base + 7].copy()
        return float(self.data.qpos[self._base + 2]), turn

    def _tell(self, force: np.ndarray | float, kp: np.ndarray | float, kd: np.ndarray | float) -> None:
        """MuJoCo's actuators then do `force - kp q - kd dq`."""
        where, model = self._addresses.actuator, self.model
        self.data.ctrl[where] = force
        model.actuator_biasprm[where, 1], model.actuator_biasprm[where, 2] = -np.asarray(kp), -np.asarray(kd)


class SimulatedTopics:
    """The robot's side of the topics. What is set to False or above 0 goes wrong on purpose."""

    def __init__(self, robot: SimulatedRobot, config: UnitreeConfig) -> None:
        self.robot = robot
        self.states, self.odometry, self.checksums = True, True, True
        """Whether states are sent, poses are, and checksums are right."""
        self.lost_share = 0.0
        """Of the states, at random."""
        self.watchdog_s = WATCHDOG_S
        self.refused = self.released = 0
        """Commands that were none, and how often the motors let go."""
        self._random = np.random.default_rng(0)
        self._participant = participant = Participant(network=False, interface=config.interface)
        self.description = participant.description
        self._commands = participant.reader(LOW_COMMAND_TOPIC, LowCmd, qos=RECENT)
        self._states = participant.writer(LOW_STATE_TOPIC, LowState, RELIABLE)
        self._poses = participant.writer(config.odometry.topic_name, SportModeState, RELIABLE)
        self._commanded_s = -math.inf
        self._every = max(1, round(1 / (_ODOMETRY_HZ * robot.model.opt.timestep)))
        self._step = 0

    def run(self, should_end: Callable[[], bool]) -> None:
        """Simulate until `should_end()`, which is asked at every step. Where the machine is too slow for that,
        simulated time falls behind.
        """
        due = time.monotonic()
        while not should_end():
            self.step(time.monotonic())
            due = max(due + self.robot.model.opt.timestep, time.monotonic() - _MAX_CATCH_UP_S)
            time.sleep(max(0.0, due - time.monotonic()))

    def step(self, now_s: float) -> None:
        """Take the newest command, move, and tell."""
        robot = self.robot
        for message in newest_first(self._commands, LowCmd, lambda _: None):
            if self._take(message.data):
                self._commanded_s = now_s
                break
        if robot.driven and now_s - self._commanded_s > self.watchdog_s:
            self.released += 1
            robot.let_go()
        robot.advance()
        self._step += 1
        try:
            self._tell()
        except DDSException:  # nobody takes what is sent
            return

    def close(self) -> None:
        """Leave the domain."""
        del self._commands, self._states, self._poses
        self._participant.close()

    def _take(self, data: bytes) -> bool:
        try:
            taken = self.robot.command(Packet.from_cdr(LOW_CMD, data, "unitree_go/LowCmd"))
        except ShoalError:
            taken = False
        self.refused += not taken
        return taken

    def _tell(self) -> None:
        if self.states and not self._random.random() < self.lost_share:
            packet = self.robot.low_state()
            if not self.checksums:
                packet["crc"] ^= 1
            self._states.write(LowState(packet.cdr()))
        if self.odometry and self._step % self._every == 0:
            self._poses.write(SportModeState(self.robot.sport_mode_state().cdr()))


def simulated(contract: Contract, config: UnitreeConfig, mjcf: Path | None = None) -> SimulatedTopics:
    """A robot that lies on its belly, and its topics. Raises `ShoalError` for a policy of another robot."""
    if config.odometry.kind != OdometrySource().kind:
        raise ShoalError("--robot-config: the simulated robot tells where it is by odometry: {kind: sport_mode_state}.")
    motors = MotorMap.of(contract, config.joint_names, config.reversed)
    return SimulatedTopics(SimulatedRobot(load_model(contract, mjcf), contract, motors), config)


def simulate(policy: Path, *, mjcf: Path | None = None, config: Path | None = None) -> None:
    """Simulate the robot of a policy file's contract until a signal asks for the end."""
    contract = Policy(policy).contract
    with ExitStack() as stack:
        ending = stack.enter_context(EndingSignals())
        topics = simulated(contract, load_config(config), mjcf)
        stack.callback(topics.close)
        print(
            f"simulating mujoco {mujoco.__version__}, {contract.robot.name}, behind unitree_go's messages\n"
            f"listening  rt/{LOW_COMMAND_TOPIC}, {topics.description}",
            flush=True,
        )
        topics.run(ending)
