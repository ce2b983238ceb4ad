"""`runtime simulate`: a robot in C MuJoCo, driven over a socket; see `runtime.drivers.wire` for the messages.

Simulated time follows wall time times `speed`. One driver at a time: a second one is turned away. Between two
targets the servos' reference moves linearly over one control period, one increment per physics step, as in training;
without a driver they hold the last target.
"""

from __future__ import annotations

import math
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import mujoco
import numpy as np

from runtime.drivers.wire import (
    COMMAND_MAGIC,
    STATE_MAGIC,
    Records,
    SimulationHello,
    command_dtype,
    simulation_address,
    state_dtype,
)
from runtime.inference.policy import Policy
from runtime.process.signals import EndingSignals
from runtime.protocol.address import Address
from runtime.protocol.listening import Listening
from runtime.robot.model import load_model, shipped_mjcf
from runtime.robot.mujoco_robot import MujocoRobot, interpolate, require_rate
from runtime.robot.readings import Readings
from sim2real.contract import Contract
from sim2real.errors import ShoalError

_MAX_CATCH_UP_S = 0.25
_LONGEST_WAIT_S = 0.1
_GOAL_BODY = "goal"


class Simulation:
    """The contract's robot with servos that move to each target within one control period, started at home."""

    def __init__(self, model: mujoco.MjModel, contract: Contract) -> None:
        self.model = model
        model.opt.timestep = contract.timing.physics_dt_s
        self.substeps = require_rate(model.opt.timestep, contract)
        self._robot = MujocoRobot(model, contract)
        home = np.array([joint.home_position for joint in contract.robot.joints])
        self.data = self._robot.addresses.home_data(model)
        self._previous, self._target, self._between = home.copy(), home.copy(), home.copy()
        self._step = self.substeps
        self._readings = Readings.of(contract)
        self.state = np.zeros(1, state_dtype(contract))
        """What is sent after every step."""
        self.state["magic"] = STATE_MAGIC
        body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, _GOAL_BODY)
        self._goal_mocap = int(model.body_mocapid[body]) if body >= 0 else -1
        self.measure()

    def advance(self) -> None:
        """One physics step."""
        if self._step < self.substeps:
            self._step += 1
            interpolate(self._previous, self._target, self._step / self.substeps, self._between)
            self.data.ctrl[self._robot.addresses.actuator] = self._robot.addresses.control(self._between)
        mujoco.mj_step(self.model, self.data)

    def measure(self) -> None:
        """Bring `state` up to date."""
        self._robot.read(self.data, self._readings)
        self._robot.read_simulated(self.data, self._readings)
        state = self.state[0]
        state["readings"], state["joint_effort"] = self._readings.vector, self._readings.joint_effort
        self.state["time_s"] = self.data.time

    def command(self, record: np.void) -> None:
        """Take a driver's command; numbers that are not finite are ignored, as a robot's own controller would."""
        if np.isfinite(record["target"]).all():
            np.copyto(self._previous, self._between)
            np.copyto(self._target, record["target"])
            self._step = 0
        if self._goal_mocap >= 0 and np.isfinite(record["goal_position"]).all():
            self.data.mocap_pos[self._goal_mocap] = record["goal_position"]
            self.data.mocap_quat[self._goal_mocap] = record["goal_orientation"]


class SimulationServer:
    """Runs a simulation in real time times `speed` and serves one driver."""

    def __init__(self, simulation: Simulation, hello: SimulationHello, address: Address) -> None:
        self._simulation, self._hello = simulation, hello
        self._listening = Listening(address, option="--address")
        self._connection: socket.socket | None = None
        self._commands = Records(command_dtype(len(hello.joint_names)), COMMAND_MAGIC)

    def run(self, should_end: Callable[[], bool]) -> None:
        """Serve until `should_end()`, which is asked at least once per control period's steps.

        Where the machine simulates more slowly than `speed` asks for, simulated time falls behind.
        """
        step_s = self._simulation.model.opt.timestep / self._hello.speed
        due = time.perf_counter()
        while not should_end():
            for _ in range(self._simulation.substeps):
                if due > time.perf_counter():
                    break
                self._simulation.advance()
                due += step_s
            # After a suspended process there is no use in simulating the whole pause.
            due = max(due, time.perf_counter() - _MAX_CATCH_UP_S)
            self._simulation.measure()
            self._send()
            self._receive_until(due, should_end)

    def close(self) -> None:
        """End the connection and stop listening."""
        self._drop()
        self._listening.close()

    def _receive_until(self, due: float, should_end: Callable[[], bool]) -> None:
        """Also what is there already when `due` is over."""
        remaining = due - time.perf_counter()
        while True:
            sockets = [*self._listening.sockets, *([] if self._connection is None else [self._connection])]
            ready, _, _ = select.select(sockets, [], [], min(max(remaining, 0.0), _LONGEST_WAIT_S))
            if self._connection in ready:
                self._receive()
            elif ready:
                self._accept(ready[0])
            remaining = due - time.perf_counter()
            if remaining <= 0 or should_end():
                return

    def _accept(self, listening: socket.socket) -> None:
        connection, _ = listening.accept()
        if self._connection is not None:
            connection.close()
            return
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self._connection = connection
        self._commands = Records(self._commands.newest.dtype, COMMAND_MAGIC)
        self._send(self._hello.model_dump_json().encode() + b"\n")

    def _receive(self) -> None:
        assert self._connection is not None
        try:
            data = self._connection.recv(65536)
            if not data:
                self._drop()
            elif self._commands.take(data):
                self._simulation.command(self._commands.newest[0])
        except (OSError, ValueError):
            self._drop()

    def _send(self, data: bytes | None = None) -> None:
        if self._connection is None:
            return
        data = data or self._simulation.state.tobytes()
        try:
            # Half a record would put all that follow out of step.
            if self._connection.send(data) != len(data):
                self._drop()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def simulate(policy: Path, address: str, *, mjcf: Path | None = None, speed: float = 1.0) -> None:
    """Simulate the robot of a policy file's contract until a signal asks for the end.

    Raises `ShoalError` when policy, model or address do not fit.
    """
    if not (speed > 0 and math.isfinite(speed)):
        raise ShoalError(f"--speed must be positive, got {speed:g}.")
    contract = Policy(policy).contract
    path = mjcf or shipped_mjcf(contract.robot.name)
    model = load_model(contract, path)
    hello = SimulationHello(
        joint_names=contract.joint_names,
        mjcf_sha256=contract.robot.mjcf_sha256,
        end_effector_frame=contract.robot.end_effector_frame,
        readings=dict(contract.measured.sizes),
        speed=speed,
        description=f"mujoco {mujoco.__version__}, {path.name}, {speed:g} x real time",
    )
    with ExitStack() as stack:
        ending = stack.enter_context(EndingSignals())
        place = simulation_address(address)
        server = SimulationServer(Simulation(model, contract), hello, place)
        stack.callback(server.close)
        print(f"simulating {hello.description}\nlistening  {place}", flush=True)
        server.run(ending)
