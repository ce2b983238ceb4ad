"""Options of what runs for long; light, so that the command line can show them without loading the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from sim2real.errors import ShoalError

Engine = Literal["auto", "onnxruntime", "kernel"]
"""What computes a policy: ONNX Runtime, a C kernel compiled from the policy file, or `auto`, the kernel where it can be
had and ONNX Runtime elsewhere. See `runtime.inference.kernel`."""


@dataclass(frozen=True, kw_only=True)
class RobotOptions:
    """Options that say which robot."""

    robot: str = "mujoco"
    """mujoco, randomised, wire, franka, ur, ros2, unitree, or MODULE:FACTORY of your own driver."""
    host: str = ""
    """Network address of a real robot."""
    mjcf: Path | None = None
    """Another MJCF than the one that ships with Shoal; it must compile to the contract's digest."""
    speed: float = 1.0
    """Simulated seconds per second; 0 is as fast as possible."""
    randomisation: str = ""
    """With --robot randomised: a preset (mild, hard) or a YAML file from which the simulated robot is drawn, with its
    payload, friction, delays and noise."""
    robot_seed: int = 0
    """With --robot randomised: another number draws another robot."""
    robot_config: Path | None = None
    """With --robot ros2 or unitree: YAML with topics, joint names and so on, where they aren't the usual ones."""
    task: str = ""
    """With --robot randomised: the task's YAML, where the policy's task does not ship with Shoal."""


@dataclass(frozen=True)
class ServeOptions(RobotOptions):
    """Drive a robot with a policy file and take goal poses from clients."""

    model: Path
    """The policy file, written by export-onnx."""
    engine: Engine = "auto"
    """auto is a C kernel compiled from the file where that is possible, and ONNX Runtime elsewhere; both are compared
    at every start."""
    recover_reflexes: bool = False
    """Go on by itself after a real robot stopped itself in a reflex, a collision say."""
    goals: Path | None = None
    """YAML list of goals to visit first, one after the other."""
    exit_after_goals: bool = False
    """End when the last goal of --goals is reached or given up."""
    duration: float | None = None
    """End after this time, s on the robot's clock."""
    socket: Path | None = None
    """Unix socket to listen on; a private path of this user if not given."""
    listen: str | None = None
    """Also listen on HOST:PORT; beyond the loopback interface only with --token-file."""
    token_file: Path | None = None
    """Clients must show the token in this file before anything else, except on the Unix socket."""
    reachability_gate: float | Literal["off"] = "off"
    """Refuse goals to which the policy gives a reachability below this, before moving."""
    stall_after_s: float | Literal["off"] | None = None
    """Give a goal up when it comes no closer for this time and its reachability is low; an episode if not given."""
    on_lease_lost: Literal["hold", "keep"] = "hold"
    """What becomes of the goals of a client whose lease runs out: hold position, or keep following them."""
    json: Path | None = None
    """Write the summary here."""
    record: Path | None = None
    """Record everything into this MCAP file, for runtime replay, Foxglove and sim2real."""
    video: Path | None = None
    """Film the simulated robot into this MP4 file, in a process of its own; needs EGL or OSMesa, no display."""
    viewer: bool = False
    """Show the simulated robot in a window of MuJoCo's viewer."""
    metrics: int | None = None
    """Serve Prometheus metrics on this port of the loopback interface."""
    page: int | None = None
    """Serve a page with the robot live in a browser on this port, 8080 say."""
    page_host: str = "127.0.0.1"
    """Interface to serve the page on; beyond loopback, it asks for a code, which is printed."""
    page_code: bool = False
    """Have the page ask for a code, which is printed: for computers that others have an account on."""
    realtime: bool = True
    """Try SCHED_FIFO, locked memory and no deep sleep of processors, which costs power; says what was permitted."""
    priority: int = 50
    """SCHED_FIFO priority."""
    cpu: int | None = None
    """Pin the control loop to this core."""
    spin_us: float | None = None
    """Busy waiting before each deadline; 100 with SCHED_FIFO if not given, and 0 without, where it is of no use."""
    safety: Path | None = None
    """YAML with limits and fault responses; runtime safety prints its schema and the rules in force."""
    stale_after_periods: float | None = None
    """Readings older than this many control periods make the robot hold; overrides the one in --safety."""
    estop_key: bool = True
    """Emergency stop by the space key of the terminal, released by r."""
    estop_file: Path | None = None
    """Emergency stop while this file (a GPIO's value, say) does not begin with 0."""
    estop_fd: int | None = None
    """Emergency stop when this inherited descriptor (a pipe's end) brings a byte or ends."""
    quiet: bool = False
    """No status display."""


@dataclass(frozen=True)
class PolicyServerOptions:
    """Answer readings with commands, for people who keep their own control loop."""

    model: Path
    """The policy file, written by export-onnx."""
    socket: Path | None = None
    """Unix socket to listen on; a private path of this user if not given."""
    websocket: str | None = None
    """Also listen on HOST:PORT, for openpi's clients. Loopback only, unless there is a token."""
    token_file: Path | None = None
    """File with the token that clients of the websocket must send as their API key, readable by you alone."""
    safety: Path | None = None
    """YAML with limits and fault responses; runtime safety prints its schema."""
    mjcf: Path | None = None
    """The robot's model for the workspace and self-collision rules, instead of the one that ships with Shoal."""
    engine: Engine = "auto"
    """What computes the policy: onnxruntime, a kernel compiled from its weights, or the faster that works."""
    realtime: bool = True
    """Try SCHED_FIFO, locked memory and no deep sleep of processors, which costs power; says what was permitted."""
    priority: int = 40
    """SCHED_FIFO priority, below a control loop's."""
    cpu: int | None = None
    """Pin the server to this core."""


@dataclass(frozen=True)
class Ros2Options:
    """Bridge a running server to ROS 2 topics over DDS; needs no ROS installation, respects ROS_DOMAIN_ID."""

    address: str | None = None
    """The server: socket path, unix:///path or tcp://127.0.0.1:PORT."""
    namespace: str = ""
    """Before every topic's name."""
    frame: str | None = None
    """What ROS calls the policy's goal frame (fr3_link0, say); the contract's own name if not given."""
    rate_hz: float = 50.0
    """How often joint states are looked for; each control tick is published once."""
    max_age_s: float = 1.0
    """Goals with an older stamp are refused; 0 takes any."""
    use_sim_time: bool = False
    """Stamps are those of a simulation's /clock."""
    tf: bool = True
    """Take goals in other frames, too, which the transforms on /tf and /tf_static lead to --frame."""
    tf_max_age_s: float = 1.0
    """How long a transform on /tf counts after it came; those on /tf_static count always."""
    goal_timeout_s: float | None = None
    """Goals expire after this time; the robot then holds."""
    network: bool = False
    """Let other machines take part. Without this, only the loopback interface is used."""


def require_numbers(options: ServeOptions | Ros2Options) -> None:
    """Raise `ShoalError` for times, rates and shares that are negative or no numbers, all of them at once."""
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    wrong = [
        f"--{name.replace('_', '-')} {value:g}"
        for name, value in values.items()
        if isinstance(value, float) and not (math.isfinite(value) and value >= 0)
    ]
    if wrong:
        raise ShoalError(f"{', '.join(wrong)}: give a number of 0 or more.")
