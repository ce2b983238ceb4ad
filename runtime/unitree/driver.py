"""A quadruped of Unitree's by its low-level interface: `runtime serve --robot unitree --robot-config robot.yaml`.

    rt/lowstate          in    unitree_go/LowState      encoders and inertial unit
    rt/sportmodestate    in    unitree_go/SportModeState, or another topic with nav_msgs/Odometry: where the base is
    rt/lowcmd            out   unitree_go/LowCmd        positions with the contract's gains

At the start the robot stands up from where it lies (`runtime.unitree.stand_up`), and holds that posture until the loop
commands it; at the end its motors damp. When states stop coming, the readings grow old and the loop holds; when it is
odometry that stops, the readings that follow from it are NaN, and the robot holds its stance. While somebody else
commands the robot nothing is sent. Whenever the motors may have let go, the loop begins anew from the measured joints.
"""

from __future__ import annotations

import math
import sys
import time

from runtime.drivers.base import DriverOptions
from runtime.goals.messages import ResolvedGoal
from runtime.robot.readings import Float64, Readings
from runtime.ros2.domain import Participant
from runtime.unitree.body import Body, tilt_deg
from runtime.unitree.commands import Holding, MotorCommands
from runtime.unitree.config import load_config
from runtime.unitree.dds.messages import LOW_COMMAND_TOPIC, LOW_STATE_TOPIC, LowCmd
from runtime.unitree.dds.newest import RECENT_OF_OTHERS, newest_first
from runtime.unitree.motors import MotorMap
from runtime.unitree.odometry import Odometry
from runtime.unitree.stand_up import way
from runtime.unitree.states import LowStates
from sim2real.contract import Contract
from sim2real.errors import ShoalError

_SILENT_S = 1.0
"""After which a robot that comes back may stand elsewhere."""
_LISTEN_S = 0.3
"""For others that command the robot, before it is taken over."""
_FOREIGN_READS = 3
"""So often in a row others' commands must be seen: one that strays harms less than to let go of the robot."""
_LOOK_AGAIN_S = 0.005
_MOST_SAID = 30


class UnitreeDriver:
    """A `ServoDriver` and `RecoveringDriver` of `runtime.drivers.base`. Raises `ShoalError` when no robot answers, when
    somebody else commands it, or when it does not stand up.
    """

    rests = "its motors damp, and it sinks to the ground"

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        self._config = config = load_config(options.config)
        motors = MotorMap.of(contract, config.joint_names, config.reversed)
        self._body = Body(contract, options)
        self.model = self._body.model
        self.joint_names = contract.joint_names
        self.owns_clock = False
        self.period_s = contract.timing.control_dt_s
        self.restarts = self._reboots = self._foreign = 0
        self._said: set[str] = set()
        self._holding: Holding | None = None
        self._participant = participant = Participant(network=False, interface=config.interface)
        self._states = LowStates(participant, motors, self._say)
        self._odometry = Odometry(participant, config.odometry, self._say) if self._body.by_odometry else None
        self._others = participant.reader(LOW_COMMAND_TOPIC, LowCmd, qos=RECENT_OF_OTHERS)
        self._commands = commands = MotorCommands(
            participant, LOW_COMMAND_TOPIC, motors, contract, command_hz=config.command_hz
        )
        self.servo_steps = commands.steps
        self._motors = motors
        try:
            self._wait_for_robot()
            self._stand_up(contract)
        except BaseException:
            self._leave()
            raise
        told = f"odometry from {self._odometry.topic}" if self._odometry is not None else "no odometry"
        self.description = (
            f"unitree_go, rt/{LOW_COMMAND_TOPIC} at {config.command_hz:g} Hz, {told}, {participant.description}"
        )

    def read(self, out: Readings) -> None:
        """The newest state that has arrived; without any, `out` stays as it is and grows old."""
        now_s = time.monotonic()
        was_s = self._states.measured_s
        fresh = self._states.take(now_s)
        self._watch_others()
        self._watch_motors(now_s, was_s)
        if self._odometry is not None and self._odometry.take(now_s):
            self._body.place_base(self._odometry.position, self._odometry.heading_rad, self._states)
        if self._commands.silent or not (fresh or out.time_s != self._states.measured_s):
            return
        self._body.read(self._states, out)
        if self._odometry is not None and not self._odometry.is_known(now_s):
            self._say(f"nothing comes on {self._odometry.topic}, which tells where the base is")
            for name in self._body.by_odometry:
                out[name][:] = math.nan
        out.time_s = self._states.measured_s

    def write(self, command: Float64) -> None:
        """Targets `[J]` rad for the coming control period."""
        if self._holding is not None:
            self._holding.end()
            self._holding = None
        self._say(self._commands.send(command))

    def servo(self, fraction: float) -> None:
        """The reference on the way to the newest target."""
        if self._holding is None:
            self._say(self._commands.send_between(fraction))

    def now_s(self) -> float:
        """Monotonic time."""
        return time.monotonic()

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Nothing to show."""

    def close(self) -> None:
        """Let all motors damp, so that the robot sinks to the ground, and leave the domain."""
        self._leave()

    def _leave(self) -> None:
        config = self._config
        if self._holding is not None:
            self._holding.end()
        if self._commands.sent_s > -math.inf and not self._commands.silent:
            end_s = time.monotonic() + config.damp_for_s
            while time.monotonic() < end_s:
                self._commands.damp(config.damping)
                time.sleep(1 / config.command_hz)
        del self._commands, self._states, self._odometry, self._others
        self._participant.close()

    def _watch_others(self) -> None:
        """Stop commanding while somebody else does; go on from where the robot stands when they have left."""
        seen = any(True for _ in newest_first(self._others, LowCmd, self._say))
        if not self._commands.silent:
            self._foreign = self._foreign + 1 if seen else 0
            if self._foreign >= _FOREIGN_READS:
                self._commands.silent = True
                self._say("somebody else commands the robot; nothing is sent until they leave it", again=True)
        else:
            self._foreign = 0 if seen else self._foreign + 1
            if self._foreign * self.period_s >= _SILENT_S:
                self._commands.silent, self._foreign = False, 0
                self._begin_anew("nobody else commands the robot any more")

    def _watch_motors(self, now_s: float, was_s: float) -> None:
        """Begin anew where the motors may have let go of the robot."""
        gap_s = now_s - self._commands.sent_s
        if self._states.reboots != self._reboots:
            self._reboots = self._states.reboots
            self._begin_anew("the robot counts its time anew")
        elif self._holding is None and gap_s > self._config.motor_watchdog_s and not self._commands.silent:
            self._begin_anew(f"no command went out for {gap_s:.2g} s, after which motors let go")
        elif self._states.measured_s - was_s > _SILENT_S:
            self._begin_anew("states come again")

    def _begin_anew(self, why: str) -> None:
        self.restarts += 1
        self._hold(self._states.position)
        self._say(f"{why}; going on from where the robot stands", again=True)

    def _wait_for_robot(self) -> None:
        """Until everything that is needed has come, and some time more, in which nobody else may command the robot."""
        deadline = time.monotonic() + self._config.wait_s
        while missing := self._missing():
            if time.monotonic() > deadline:
                raise ShoalError(f"--robot unitree: {missing} in {self._participant.description}.")
            time.sleep(_LOOK_AGAIN_S)
            self._take()
        listened_s = time.monotonic() + _LISTEN_S
        while time.monotonic() < listened_s:
            if any(True for _ in newest_first(self._others, LowCmd, self._say)):
                raise ShoalError(
                    f"--robot unitree: somebody else commands the robot on rt/{LOW_COMMAND_TOPIC}; end them, the "
                    "robot's own motion service among them (in its app, or by MotionSwitcherClient.ReleaseMode)."
                )
            time.sleep(_LOOK_AGAIN_S)
            self._take()
        if self._states.reboots:
            raise ShoalError(
                f"--robot unitree: time on rt/{LOW_STATE_TOPIC} goes back and forth; do two robots, or a robot and a "
                "simulated one, tell their states there?"
            )

    def _missing(self) -> str:
        if self._states.measured_s == -math.inf:
            refused = f" ({self._states.refused} could not be believed)" if self._states.refused else ""
            reach = "" if self._config.interface else "; name the network interface in --robot-config"
            return f"no usable state came on rt/lowstate{refused}; is the robot on, and connected{reach}?"
        if self._odometry is not None and self._odometry.measured_s == -math.inf:
            return (
                f"nothing usable came on {self._odometry.topic}, which tells where the base is; name another source in "
                "--robot-config, as odometry: {kind: odometry, topic: utlidar/robot_odom}"
            )
        return "" if self._commands.listeners() else f"nobody listens on rt/{LOW_COMMAND_TOPIC}"

    def _take(self) -> None:
        now_s = time.monotonic()
        self._states.take(now_s)
        if self._odometry is not None and self._odometry.take(now_s):
            self._body.place_base(self._odometry.position, self._odometry.heading_rad, self._states)

    def _stand_up(self, contract: Contract) -> None:
        period_s = 1 / self._config.command_hz
        self._require_upright()
        reference, due = self._states.position.copy(), time.monotonic()
        for reference in way(contract, self._motors, self._config.stand_up, self._states.position, period_s):
            self._say(self._commands.send_now(reference))
            due += period_s
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic() - period_s)  # what a suspended process missed is not sent in a burst
            self._take()
            self._require_upright()
            self._require_following(reference)
        self._hold(reference)

    def _hold(self, posture: Float64) -> None:
        """Until the loop commands the robot."""
        if self._holding is not None:
            self._holding.end()
        self._commands.begin(posture)
        self._holding = Holding(self._commands, posture, 1 / self._config.command_hz)

    def _require_upright(self) -> None:
        leans, most = tilt_deg(self._states.orientation), self._config.stand_up.tilt_max_deg
        if leans > most:
            raise ShoalError(
                f"--robot unitree: the base leans by {leans:.0f} deg, and may by {most:g} to stand up; lay the robot "
                "on its belly."
            )

    def _require_following(self, reference: Float64) -> None:
        age_s = time.monotonic() - self._states.measured_s
        if age_s > self._config.stand_up.max_age_s:
            raise ShoalError(f"--robot unitree: while standing up no state came for {age_s:.2g} s; the motors damp.")
        error = abs(self._states.position - reference)
        worst = int(error.argmax())
        if error[worst] > self._config.stand_up.error_max_rad:
            raise ShoalError(
                f"--robot unitree: while standing up {self._motors.names[worst]} was {error[worst]:.2g} rad from where "
                "it was sent; the motors damp. Is a leg caught, or the robot too heavy?"
            )

    def _say(self, sentence: str, *, again: bool = False) -> None:
        """On standard error, once."""
        if sentence and (again or sentence not in self._said) and len(self._said) < _MOST_SAID:
            self._said.add(sentence)
            print(f"unitree: {sentence}", file=sys.stderr, flush=True)
