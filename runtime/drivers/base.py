"""What the served loop needs from a robot, and how a driver is found by name.

A driver of your own is any class with these members; serve it with `--robot my_package.my_module:MyDriver`.
It is called with the contract and `DriverOptions`, and must raise `ContractMismatch` when the robot is not the
contract's.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from runtime.goals.messages import ResolvedGoal
from runtime.options import RobotOptions
from runtime.process.exits import AbruptExit
from runtime.robot.readings import Float64, Readings
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError, shown

_LONGEST_CAUSE, _LONGEST_SENTENCE = 300, 2000
DRIVERS = {
    "mujoco": "runtime.drivers.mujoco:MujocoDriver",
    "randomised": "runtime.drivers.randomised:RandomisedDriver",
    "wire": "runtime.drivers.wire:WireDriver",
    "franka": "runtime.drivers.franka:FrankaDriver",
    "ros2": "runtime.ros2.driver:Ros2Driver",
    "ur": "runtime.drivers.ur.driver:UrDriver",
    "unitree": "runtime.unitree.driver:UnitreeDriver",
}
_CONFIGURED = ("ros2", "unitree")
"""Drivers that take a `--robot-config`."""


@dataclass(frozen=True)
class DriverOptions:
    """What the command line can say to a driver."""

    mjcf: Path | None = None
    """Another MJCF than the one that ships with Shoal (simulated robots)."""
    speed: float = 1.0
    """Simulated seconds per second; 0 is as fast as possible (simulated robots)."""
    host: str = ""
    """Network address of the robot (real robots)."""
    recover_reflexes: bool = False
    """Go on by itself after the robot stopped itself in a reflex (real robots)."""
    video: Path | None = None
    """Film the robot into this MP4 file (the driver `mujoco`)."""
    viewer: bool = False
    """Show the robot in a window (the driver `mujoco`)."""
    task: str = ""
    """Of the simulation, a name or a YAML file; the contract's if not given (the driver `randomised`)."""
    randomisation: str = ""
    """Preset or YAML file from which the robot is drawn (the driver `randomised`)."""
    seed: int = 0
    """Which of its robots (the driver `randomised`)."""
    config: Path | None = None
    """YAML with what the robot calls things (the drivers `ros2` and `unitree`)."""


class Driver(Protocol):
    """A robot. Joint arrays are in driver order, the order of `joint_names`; the loop maps by name."""

    joint_names: tuple[str, ...]
    """All joints of the contract, in the robot's own order."""
    owns_clock: bool
    """True when `read` itself waits for the next control period, as a fieldbus does; the loop then never sleeps."""
    period_s: float
    """Wall time between two control periods, for a loop that paces itself."""
    description: str
    """One line for the start-up report."""

    # One whose drives can be told velocities or efforts says so in the class: `modes = ("position", "velocity",
    # "effort")`. It brings those to 0 by itself where no command has come for two control periods, since nothing else
    # would.
    # One that does not keep its last target when it is closed says so there, too: `rests = "its motors damp"`.

    def read(self, out: Readings) -> None:
        """Fill in the latest readings, joint arrays in driver order, and `time_s` on the clock of `now_s`."""

    def write(self, command: Float64) -> None:
        """New joint targets `[J]` rad, or velocities rad/s or efforts N m of those joints whose drive is told one, in
        driver order, to be approached linearly over one control period.
        """

    def now_s(self) -> float:
        """The driver's clock: monotonic seconds, simulated ones in a simulation."""

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Called once per new goal; a simulation may draw a marker."""

    def close(self) -> None:
        """Release the robot, which keeps holding its last target."""


@runtime_checkable
class ServoDriver(Driver, Protocol):
    """A driver whose servo wants its reference more often than a policy runs; the loop calls it between ticks."""

    servo_steps: int
    """Steps per control period; `write` is the first of them."""

    def servo(self, fraction: float) -> None:
        """Move the reference to this fraction of the way from the previous target to the newest."""


@runtime_checkable
class RecoveringDriver(Driver, Protocol):
    """A driver that can lose control of its robot and take it again."""

    restarts: int
    """How often it did; the loop then begins anew from the measured joints."""


class DriverFailed(ShoalError):
    """A driver did something else than what was asked of it; names driver, method and cause."""


class DriverOverdue(BaseException):
    """Raised within a driver's call that must end now; no `except Exception` of a driver's should stop it."""


def what_happened(error: BaseException, module: str) -> str:
    """What a call of a driver in `module` did instead of returning, and where, in one line."""
    text = _said_by(error)
    if isinstance(error, ShoalError):
        return f"failed: {text[:_LONGEST_SENTENCE].rstrip('.')}"
    if isinstance(error, DriverOverdue):
        did = text
    elif isinstance(error, SystemExit):
        call = "os._exit" if isinstance(error, AbruptExit) else "sys.exit"
        did = f"ended the program ({call}({'' if error.code is None else shown(error.code)}))"
    else:
        text = " ".join(text.split())[:_LONGEST_CAUSE]
        did = f"raised {type(error).__name__}{': ' if text else ''}{text.rstrip('.')}"
    return did + _place(error, getattr(sys.modules.get(module), "__file__", None))


def _said_by(error: BaseException) -> str:
    """The message of somebody else's error, whose `__str__` may be wrong as well."""
    try:
        return str(error)
    except BaseException:
        return ""


def _place(error: BaseException, own: str | None) -> str:
    """The last line of the driver's own file on the way to an error, or else of any after the call itself."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    frames = [frame for frame in frames if frame.filename == own] or frames
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


class JointOrder:
    """Moves joint arrays between driver order and policy order, by name, without allocating."""

    def __init__(self, policy_names: tuple[str, ...], driver_names: tuple[str, ...]) -> None:
        if sorted(policy_names) != sorted(driver_names):
            raise ContractMismatch(
                f"robot.joints: {list(policy_names)!r} in the policy, {list(driver_names)!r} in the driver; "
                "serve the robot that the policy was trained for."
            )
        self.same = policy_names == driver_names
        """Whether both orders are one, so that nothing has to be moved."""
        self._policy_from_driver: NDArray[np.intp] = np.array([driver_names.index(name) for name in policy_names])
        self._readings_from_driver: NDArray[np.intp] | None = None
        self._driver_from_policy: NDArray[np.intp] = np.array([policy_names.index(name) for name in driver_names])

    def to_policy(self, driver_order: Float64, out_policy_order: Float64) -> None:
        """`[J]` to `[J]`."""
        np.take(driver_order, self._policy_from_driver, out=out_policy_order, mode="clip")

    def readings_to_policy(self, driver_order: Readings, out_policy_order: Readings) -> None:
        """Joint arrays moved, all other readings copied."""
        moved = self._readings_from_driver
        if moved is None:
            moved = self._readings_from_driver = self._moves(out_policy_order.contract)
        np.take(driver_order.vector, moved, out=out_policy_order.vector, mode="clip")
        self.to_policy(driver_order.joint_effort, out_policy_order.joint_effort)
        out_policy_order.time_s = driver_order.time_s

    def _moves(self, contract: Contract) -> NDArray[np.intp]:
        """Where each entry of `Readings.vector` comes from."""
        found = np.arange(contract.measured.size)
        for name, entries in contract.measured.slices.items():
            if contract.reading(name).per_joint:
                found[entries] = found[entries][self._policy_from_driver]
        return found

    def to_driver(self, policy_order: Float64, out_driver_order: Float64) -> None:
        """`[J]` to `[J]`."""
        np.take(policy_order, self._driver_from_policy, out=out_driver_order, mode="clip")


def open_driver(name: str, contract: Contract, options: DriverOptions) -> Driver:
    """The driver called `name`: one of `DRIVERS`, or `module:factory` for one of your own, whose module is installed or
    lies in the current folder. Raises `ShoalError`.
    """
    module_name, _, factory_name = DRIVERS.get(name, name).partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        # At the end, so that nothing there takes the place of an installed module.
        sys.path.append(folder)
    try:
        module = import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ShoalError(
            f"robot: no driver {name!r} ({error}); use {', '.join(DRIVERS)}, or MODULE:FACTORY of your own, with the "
            f"module installed, in {folder}, or in a folder of PYTHONPATH."
        ) from error
    factory = getattr(module, factory_name, None)
    if factory is None:
        raise ShoalError(
            f"robot: no driver {name!r}: {getattr(module, '__file__', None) or module_name} has no {factory_name!r}; "
            "give MODULE:FACTORY, with a module whose name no installed one has."
        )
    _require_factory(name, factory, contract, options)
    _require_modes(name, factory, contract)
    driver = _opened(name, factory, contract, options)
    if not hasattr(driver, "joint_names"):
        raise ShoalError(f"robot: {name} returned {type(driver).__name__}, which is no driver: it has no joint_names.")
    return cast(Driver, driver)


def _opened(name: str, factory: Any, *arguments: Any) -> object:
    try:
        return factory(*arguments)
    except (ShoalError, KeyboardInterrupt):
        raise
    except BaseException as error:
        did = what_happened(error, getattr(factory, "__module__", ""))
        raise DriverFailed(f"driver {name}: its start {did}.") from error


def _require_factory(name: str, factory: Any, *arguments: Any) -> None:
    try:
        inspect.signature(factory).bind(*arguments)
    except ValueError:  # One written in C may keep its signature to itself.
        return
    except TypeError as error:
        raise ShoalError(
            f"robot: {name} cannot be called with a contract and DriverOptions ({error}); "
            "give MODULE:FACTORY, a class or function that takes these two."
        ) from error


def _require_modes(name: str, factory: Any, contract: Contract) -> None:
    modes: tuple[str, ...] = getattr(factory, "modes", ("position",))
    others = {joint.name: joint.mode for joint in contract.robot.joints if joint.mode not in modes}
    if others:
        told = "; ".join(
            f"{mode} of {', '.join(joint for joint, its in others.items() if its == mode)}"
            for mode in sorted(set(others.values()))
        )
        raise ShoalError(
            f"robot: the driver {name} tells drives {' or '.join(modes)}, and this policy commands the {told}; serve "
            "it with the driver mujoco or randomised, or with one of your own whose class says what it can (`modes`)."
        )


def require_positions(contract: Contract, what: str) -> None:
    """Raise `ShoalError` where any drive is not told a position, because `what` moves joints by their positions."""
    others = [joint.name for joint in contract.robot.joints if joint.mode != "position"]
    if others:
        raise ShoalError(f"{what} moves joints by telling them positions, and {', '.join(others)} take none.")


def open_chosen(options: RobotOptions, contract: Contract, **more: Any) -> Driver:
    """The driver that a command line asks for; `more` are fields of `DriverOptions`. Raises `ShoalError`."""
    if options.randomisation and options.robot != "randomised":
        raise ShoalError(f"--randomisation draws a robot for the driver randomised only, not for {options.robot}.")
    if options.robot_config is not None and options.robot in DRIVERS and options.robot not in _CONFIGURED:
        raise ShoalError(f"--robot-config is for the drivers {' and '.join(_CONFIGURED)}, not for {options.robot}.")
    chosen = DriverOptions(
        mjcf=options.mjcf,
        speed=options.speed,
        host=options.host,
        task=options.task,
        randomisation=options.randomisation,
        seed=options.robot_seed,
        config=options.robot_config,
        **more,
    )
    return open_driver(options.robot, contract, chosen)
