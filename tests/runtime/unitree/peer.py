"""A second process on the robot's topics, with message types and a checksum of its own.

python -m tests.runtime.unitree.peer robot

is a wooden robot: joints go where they are told within 30 ms or so, and it stands at (1, 2) and faces along y. It says
`ready`, and at the end of its input prints as JSON what it was told.

python -m tests.runtime.unitree.peer commander POSTURE SECONDS [--spoiled]

tells every leg a posture, `hip,thigh,calf`, for that long. It says `commanding` when there is a robot, and at the end
prints as JSON the last state that it saw.
"""

import json
import math
import os
import struct
import sys
import threading
import time
from dataclasses import dataclass, fields, is_dataclass

from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct, annotations, types
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic

LEGS, LAG_S = 12, 0.03


@dataclass
@annotations.final
@annotations.autoid("sequential")
class Inertial(IdlStruct, typename="unitree_go::msg::dds_::IMUState_"):
    quaternion: types.array[types.float32, 4]
    gyroscope: types.array[types.float32, 3]
    accelerometer: types.array[types.float32, 3]
    rpy: types.array[types.float32, 3]
    temperature: types.uint8


@dataclass
@annotations.final
@annotations.autoid("sequential")
class Moved(IdlStruct, typename="unitree_go::msg::dds_::MotorState_"):
    mode: types.uint8
    q: types.float32
    dq: types.float32
    ddq: types.float32
    tau_est: types.float32
    q_raw: types.float32
    dq_raw: types.float32
    ddq_raw: types.float32
    temperature: types.uint8
    lost: types.uint32
    reserve: types.array[types.uint32, 2]


@dataclass
@annotations.final
@annotations.autoid("sequential")
class Battery(IdlStruct, typename="unitree_go::msg::dds_::BmsState_"):
    version_high: types.uint8
    version_low: types.uint8
    status: types.uint8
    soc: types.uint8
    current: types.int32
    cycle: types.uint16
    bq_ntc: types.array[types.uint8, 2]
    mcu_ntc: types.array[types.uint8, 2]
    cell_vol: types.array[types.uint16, 15]


@dataclass
@annotations.final
@annotations.autoid("sequential")
class State(IdlStruct, typename="unitree_go::msg::dds_::LowState_"):
    head: types.array[types.uint8, 2]
    level_flag: types.uint8
    frame_reserve: types.uint8
    sn: types.array[types.uint32, 2]
    version: types.array[types.uint32, 2]
    bandwidth: types.uint16
    imu_state: Inertial
    motor_state: types.array[Moved, 20]
    bms_state: Battery
    foot_force: types.array[types.int16, 4]
    foot_force_est: types.array[types.int16, 4]
    tick: types.uint32
    wireless_remote: types.array[types.uint8, 40]
    bit_flag: types.uint8
    adc_reel: types.float32
    temperature_ntc1: types.uint8
    temperature_ntc2: types.uint8
    power_v: types.float32
    power_a: types.float32
    fan_frequency: types.array[types.uint16, 4]
    reserve: types.uint32
    crc: types.uint32


@dataclass
@annotations.final
@annotations.autoid("sequential")
class Told(IdlStruct, typename="unitree_go::msg::dds_::MotorCmd_"):
    mode: types.uint8
    q: types.float32
    dq: types.float32
    tau: types.float32
    kp: types.float32
    kd: types.float32
    reserve: types.array[types.uint32, 3]


@dataclass
@annotations.final
@annotations.autoid("sequential")
class BatteryOff(IdlStruct, typename="unitree_go::msg::dds_::BmsCmd_"):
    off: types.uint8
    reserve: types.array[types.uint8, 3]


@dataclass
@annotations.final
@annotations.autoid("sequential")
class Command(IdlStruct, typename="unitree_go::msg::dds_::LowCmd_"):
    head: types.array[types.uint8, 2]
    level_flag: types.uint8
    frame_reserve: types.uint8
    sn: types.array[types.uint32, 2]
    version: types.array[types.uint32, 2]
    bandwidth: types.uint16
    motor_cmd: types.array[Told, 20]
    bms_cmd: BatteryOff
    wireless_remote: types.array[types.uint8, 40]
    led: types.array[types.uint8, 12]
    fan: types.array[types.uint8, 2]
    gpio: types.uint8
    reserve: types.uint32
    crc: types.uint32


@dataclass
@annotations.final
@annotations.autoid("sequential")
class Stamp(IdlStruct, typename="unitree_go::msg::dds_::TimeSpec_"):
    sec: types.int32
    nanosec: types.uint32


@dataclass
@annotations.final
@annotations.autoid("sequential")
class Along(IdlStruct, typename="unitree_go::msg::dds_::PathPoint_"):
    t_from_start: types.float32
    x: types.float32
    y: types.float32
    yaw: types.float32
    vx: types.float32
    vy: types.float32
    vyaw: types.float32


@dataclass
@annotations.final
@annotations.autoid("sequential")
class Where(IdlStruct, typename="unitree_go::msg::dds_::SportModeState_"):
    stamp: Stamp
    error_code: types.uint32
    imu_state: Inertial
    mode: types.uint8
    progress: types.float32
    gait_type: types.uint8
    foot_raise_height: types.float32
    position: types.array[types.float32, 3]
    body_height: types.float32
    velocity: types.array[types.float32, 3]
    yaw_speed: types.float32
    range_obstacle: types.array[types.float32, 4]
    foot_force: types.array[types.int16, 4]
    foot_position_body: types.array[types.float32, 12]
    foot_speed_body: types.array[types.float32, 12]
    path_point: types.array[Along, 10]


_CODES = {
    "bool": "?",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "float32": "f",
}
_WIDTHS = {"B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4}


def packed(message: object) -> bytes:
    """As a C compiler lays it out, with its padding as zeros."""
    data = bytearray()
    _pack(message, data)
    return bytes(data)


def _pack(message: object, data: bytearray) -> int:
    """Returns the widest alignment in it, to which a structure is padded."""
    widest, hints = 1, type(message).__annotations__
    start_alignment = _alignment(type(message))
    data.extend(bytes(-len(data) % start_alignment))
    for field in fields(message):
        value, kind = getattr(message, field.name), hints[field.name]
        inner = getattr(kind, "__metadata__", (None,))[0]
        items = list(value) if isinstance(value, list | tuple | bytes) else [value]
        for item in items:
            if is_dataclass(item):
                widest = max(widest, _pack(item, data))
                continue
            code = _CODES[inner.subtype.__metadata__[0]] if not isinstance(inner, str) else _CODES[inner]
            width = _WIDTHS[code]
            data.extend(bytes(-len(data) % width))
            data.extend(struct.pack(f"<{code}", item))
            widest = max(widest, width)
    data.extend(bytes(-len(data) % widest))
    return widest


def _alignment(kind: type) -> int:
    return 1 if kind is BatteryOff else 4


def checksum(message: object) -> int:
    """Bit by bit, as it is defined."""
    content = packed(message)[:-4]
    register = 0xFFFFFFFF
    for (word,) in struct.iter_unpack("<I", content):
        for bit in range(31, -1, -1):
            feedback = (register >> 31) ^ (word >> bit & 1)
            register = (register << 1) & 0xFFFFFFFF
            if feedback:
                register ^= 0x04C11DB7
    return register


def blank_inertial(yaw: float = 0.0) -> Inertial:
    turn = [math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)]
    return Inertial(turn, [0.0] * 3, [0.0, 0.0, 9.81], [0.0, 0.0, yaw], 30)


def blank_state() -> State:
    motors = [Moved(1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 25, 0, [0, 0]) for _ in range(20)]
    return State(
        [0xFE, 0xEF], 0xFF, 0, [1, 2], [3, 4], 5, blank_inertial(), motors,
        Battery(1, 2, 3, 80, -1500, 17, [20, 21], [22, 23], [3900 + i for i in range(15)]),
        [10, -20, 30, -40], [1, 2, 3, 4], 0, list(range(40)), 1, 3.5, 30, 31, 28.5, 1.5, [100, 200, 300, 400], 0, 0,
    )  # fmt: skip


def blank_command() -> Command:
    motors = [Told(1, 2.146e9, 16000.0, 0.0, 0.0, 0.0, [0, 0, 0]) for _ in range(20)]
    return Command(
        [0xFE, 0xEF], 0xFF, 0, [0, 0], [0, 0], 0, motors, BatteryOff(0, [0, 0, 0]), [0] * 40, [0] * 12, [0, 0], 0, 0, 0
    )


def blank_where(x: float, y: float, yaw: float) -> Where:
    points = [Along(*[0.0] * 7) for _ in range(10)]
    return Where(
        Stamp(0, 0), 0, blank_inertial(yaw), 0, 0.0, 0, 0.0, [x, y, 0.3], 0.3, [0.0] * 3, 0.0, [0.0] * 4, [0] * 4,
        [0.0] * 12, [0.0] * 12, points,
    )  # fmt: skip


PLAIN = Policy.DataRepresentation(use_cdrv0_representation=True)
WRITES = Qos(Policy.Reliability.Reliable(max_blocking_time=100_000_000), Policy.History.KeepLast(1), PLAIN)
READS = Qos(Policy.Reliability.BestEffort, Policy.History.KeepLast(1), PLAIN)


class Robot:
    """Made of wood."""

    def __init__(self, participant: DomainParticipant) -> None:
        self.states = DataWriter(participant, Topic(participant, "rt/lowstate", State), qos=WRITES)
        self.places = DataWriter(participant, Topic(participant, "rt/sportmodestate", Where), qos=WRITES)
        self.commands = DataReader(participant, Topic(participant, "rt/lowcmd", Command), qos=READS)
        self.state = blank_state()
        for slot in range(LEGS):
            # Distinct, so that two motors in each other's place are seen.
            self.state.motor_state[slot].q = (0.0, 1.2, -2.4)[slot % 3] + 0.01 * slot
        self.targets = [motor.q for motor in self.state.motor_state[:LEGS]]
        self.seen: dict = {"commands": 0, "damaged": 0, "stiff": None, "last": None}

    def step(self, tick: int) -> None:
        for motor, target in zip(self.state.motor_state, self.targets, strict=False):
            motor.dq = (target - motor.q) / LAG_S
            motor.q += (target - motor.q) * (1 - math.exp(1e-3 * (self.state.tick - tick) / LAG_S))
        for command in self.commands.take(1):
            if not isinstance(command, Command):
                continue
            self.seen["commands"] += 1
            if command.crc != checksum(command):
                self.seen["damaged"] += 1
            self.obey(command)
        self.state.tick = tick
        self.state.crc = checksum(self.state)
        self.states.write(self.state)
        self.places.write(blank_where(1.0, 2.0, math.pi / 2))

    def obey(self, command: Command) -> None:
        told = [
            {name: getattr(motor, name) for name in ("mode", "q", "dq", "tau", "kp", "kd")}
            for motor in command.motor_cmd
        ]
        self.seen["last"] = told
        for slot in range(LEGS):
            if told[slot]["kp"] > 0:
                self.seen["stiff"] = told
                self.targets[slot] = told[slot]["q"]


def be_a_robot(participant: DomainParticipant) -> None:
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    robot, begun = Robot(participant), time.monotonic()
    print("ready", flush=True)
    while not ended.is_set():
        robot.step(int(1e3 * (time.monotonic() - begun)))
        time.sleep(0.01)
    print(json.dumps(robot.seen))


def command_one(participant: DomainParticipant, posture: str, seconds: str, *more: str) -> None:
    hip_thigh_calf = [float(value) for value in posture.split(",")]
    states = DataReader(participant, Topic(participant, "rt/lowstate", State), qos=READS)
    places = DataReader(participant, Topic(participant, "rt/sportmodestate", Where), qos=READS)
    commands = DataWriter(participant, Topic(participant, "rt/lowcmd", Command), qos=WRITES)
    command = blank_command()
    for slot in range(LEGS):
        motor = command.motor_cmd[slot]
        motor.q, motor.dq, motor.kp, motor.kd = hip_thigh_calf[slot % 3], 0.0, 60.0, 3.0
    command.crc = checksum(command) ^ ("--spoiled" in more)
    deadline = time.monotonic() + 60
    while not (commands.get_matched_subscriptions() and states.get_matched_publications()):
        assert time.monotonic() < deadline, "no robot"
        time.sleep(0.01)
    print("commanding", flush=True)
    end, seen, place = time.monotonic() + float(seconds), None, None
    while time.monotonic() < end or seen is None:
        commands.write(command)
        for state in states.take(1):
            seen = state if isinstance(state, State) else seen
        for where in places.take(1):
            place = where if isinstance(where, Where) else place
        time.sleep(0.005)
    print(
        json.dumps(
            {
                "q": [seen.motor_state[slot].q for slot in range(20)],
                "mode": [seen.motor_state[slot].mode for slot in range(20)],
                "quaternion": list(seen.imu_state.quaternion),
                "tick": seen.tick,
                "whole": seen.crc == checksum(seen),
                "position": list(place.position) if place is not None else None,
            }
        )
    )


def main() -> None:
    participant = DomainParticipant(int(os.environ["ROS_DOMAIN_ID"]))
    role, *arguments = sys.argv[1:]
    if role == "robot":
        be_a_robot(participant)
    else:
        command_one(participant, *arguments)


if __name__ == "__main__":
    main()
