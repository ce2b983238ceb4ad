"""The messages of the package `unitree_go` that a low-level controller speaks, as records and as DDS types.

    LowCmd_           rt/lowcmd            to the robot: of each motor where to (q, dq), how hard (kp, kd), and a torque
    LowState_         rt/lowstate          from it: each motor, the inertial unit, the battery, feet
    SportModeState_   rt/sportmodestate    from its own motion service, while that runs: where the base is, how it moves

Names, order and types of the fields are those of the robot's published interface definition
(github.com/unitreerobotics/unitree_sdk2, BSD-3-Clause; the types `unitree_go::msg::dds_`): final types in plain CDR.
Angles are in rad, rates in rad/s, torques in N m, accelerations in m/s²; quaternions are wxyz. `motor_cmd` and
`motor_state` have 20 slots, of which a quadruped has 12; see `runtime.unitree.motors` for which is which.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cyclonedds.idl import IdlStruct, make_idl_struct, types
from cyclonedds.idl.annotations import autoid, final

LOW_COMMAND_TOPIC, LOW_STATE_TOPIC = "lowcmd", "lowstate"
"""Without `rt/`, as ROS calls them."""
SLOTS = 20
"""Of motors in a message."""
HEAD, LOW_LEVEL = (0xFE, 0xEF), 0xFF
"""With which commands begin, and what says that they are for the motors."""
SERVO_MODE, NO_MODE = 0x01, 0x00
"""Of a motor that does what it is told, and of one that is off."""
NO_POSITION, NO_VELOCITY = 2.146e9, 16000.0
"""What `q` and `dq` are where nothing is asked of them."""

MOTOR_CMD = np.dtype(
    [("mode", "u1"), ("q", "<f4"), ("dq", "<f4"), ("tau", "<f4"), ("kp", "<f4"), ("kd", "<f4"), ("reserve", "<u4", 3)],
    align=True,
)
BMS_CMD = np.dtype([("off", "u1"), ("reserve", "u1", 3)], align=True)
LOW_CMD = np.dtype(
    [
        ("head", "u1", 2),
        ("level_flag", "u1"),
        ("frame_reserve", "u1"),
        ("sn", "<u4", 2),
        ("version", "<u4", 2),
        ("bandwidth", "<u2"),
        ("motor_cmd", MOTOR_CMD, SLOTS),
        ("bms_cmd", BMS_CMD),
        ("wireless_remote", "u1", 40),
        ("led", "u1", 12),
        ("fan", "u1", 2),
        ("gpio", "u1"),
        ("reserve", "<u4"),
        ("crc", "<u4"),
    ],
    align=True,
)
IMU_STATE = np.dtype(
    [
        ("quaternion", "<f4", 4),
        ("gyroscope", "<f4", 3),
        ("accelerometer", "<f4", 3),
        ("rpy", "<f4", 3),
        ("temperature", "u1"),
    ],
    align=True,
)
MOTOR_STATE = np.dtype(
    [
        ("mode", "u1"),
        ("q", "<f4"),
        ("dq", "<f4"),
        ("ddq", "<f4"),
        ("tau_est", "<f4"),
        ("q_raw", "<f4"),
        ("dq_raw", "<f4"),
        ("ddq_raw", "<f4"),
        ("temperature", "u1"),
        ("lost", "<u4"),
        ("reserve", "<u4", 2),
    ],
    align=True,
)
BMS_STATE = np.dtype(
    [
        ("version_high", "u1"),
        ("version_low", "u1"),
        ("status", "u1"),
        ("soc", "u1"),
        ("current", "<i4"),
        ("cycle", "<u2"),
        ("bq_ntc", "u1", 2),
        ("mcu_ntc", "u1", 2),
        ("cell_vol", "<u2", 15),
    ],
    align=True,
)
LOW_STATE = np.dtype(
    [
        ("head", "u1", 2),
        ("level_flag", "u1"),
        ("frame_reserve", "u1"),
        ("sn", "<u4", 2),
        ("version", "<u4", 2),
        ("bandwidth", "<u2"),
        ("imu_state", IMU_STATE),
        ("motor_state", MOTOR_STATE, SLOTS),
        ("bms_state", BMS_STATE),
        ("foot_force", "<i2", 4),
        ("foot_force_est", "<i2", 4),
        ("tick", "<u4"),
        ("wireless_remote", "u1", 40),
        ("bit_flag", "u1"),
        ("adc_reel", "<f4"),
        ("temperature_ntc1", "u1"),
        ("temperature_ntc2", "u1"),
        ("power_v", "<f4"),
        ("power_a", "<f4"),
        ("fan_frequency", "<u2", 4),
        ("reserve", "<u4"),
        ("crc", "<u4"),
    ],
    align=True,
)
"""`tick` counts the robot's milliseconds."""
TIME_SPEC = np.dtype([("sec", "<i4"), ("nanosec", "<u4")], align=True)
PATH_POINT = np.dtype([(name, "<f4") for name in ("t_from_start", "x", "y", "yaw", "vx", "vy", "vyaw")], align=True)
SPORT_MODE_STATE = np.dtype(
    [
        ("stamp", TIME_SPEC),
        ("error_code", "<u4"),
        ("imu_state", IMU_STATE),
        ("mode", "u1"),
        ("progress", "<f4"),
        ("gait_type", "u1"),
        ("foot_raise_height", "<f4"),
        ("position", "<f4", 3),
        ("body_height", "<f4"),
        ("velocity", "<f4", 3),
        ("yaw_speed", "<f4"),
        ("range_obstacle", "<f4", 4),
        ("foot_force", "<i2", 4),
        ("foot_position_body", "<f4", 12),
        ("foot_speed_body", "<f4", 12),
        ("path_point", PATH_POINT, 10),
    ],
    align=True,
)
_NAMES = {
    MOTOR_CMD: "MotorCmd_",
    BMS_CMD: "BmsCmd_",
    IMU_STATE: "IMUState_",
    MOTOR_STATE: "MotorState_",
    BMS_STATE: "BmsState_",
    TIME_SPEC: "TimeSpec_",
    PATH_POINT: "PathPoint_",
}
_array: Any = types.array
_IDL_TYPES: dict[str, Any] = {
    "u1": types.uint8,
    "i2": types.int16,
    "u2": types.uint16,
    "i4": types.int32,
    "u4": types.uint32,
    "f4": types.float32,
}


class Message(IdlStruct):
    """What the topics below carry, for type checkers: cyclonedds would take a common base class for a part of them."""

    data: bytes
    """As on the wire, with the encapsulation's header."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def _dds_type(name: str, dtype: np.dtype[np.void]) -> type[Any]:
    """The DDS type of these fields, which knows nothing of bytes itself."""
    fields = {field: _field_type(dtype[field]) for field in dtype.names or ()}
    kind: type[Any] = make_idl_struct(name, f"unitree_go.msg.dds_.{name}", fields, dataclassify=False)
    return autoid("sequential")(final(kind))


def _field_type(dtype: np.dtype[Any]) -> Any:
    if dtype.subdtype is not None:
        base, (count,) = dtype.subdtype
        return _array[_field_type(base), count]
    return _dds_type(_NAMES[dtype], dtype) if dtype.fields is not None else _IDL_TYPES[dtype.str[1:]]


def _message(name: str, dtype: np.dtype[np.void]) -> type[Message]:
    """The DDS type of a topic, of which only the bytes are kept: cyclonedds' own way, number by number, takes a third
    of a millisecond, and most states that arrive are never looked at.
    """
    kind = _dds_type(name, dtype)

    def serialize(self: Message, *_: object, **__: object) -> bytes:
        return self.data

    def deserialize(data: bytes, *_: object, **__: object) -> Message:
        return kind(data)  # type: ignore[no-any-return]

    kind.__init__, kind.serialize = Message.__init__, serialize
    # The latter for what tells of a publisher that leaves.
    kind.deserialize = kind.deserialize_key = staticmethod(deserialize)
    return kind


LowCmd = _message("LowCmd_", LOW_CMD)
LowState = _message("LowState_", LOW_STATE)
SportModeState = _message("SportModeState_", SPORT_MODE_STATE)
