"""A simulated robot that is not quite its model: one drawn from a randomisation, as a policy meets it in training.

It has a payload, friction, gains and encoder biases of its own, its readings are late and noisy, its commands arrive
late. Served with the same policy, gateway and safety layer as a real one, it shows what they make of that.

    runtime serve --model student.onnx --robot randomised --randomisation hard --robot-seed 3
"""

from __future__ import annotations

import mujoco
import numpy as np

from runtime.drivers.base import DriverOptions
from runtime.drivers.mujoco import HEARD_FOR
from runtime.drivers.pace import Pace
from runtime.goals.messages import ResolvedGoal
from runtime.robot.readings import Float64, Readings
from sim2real.backends.native import NativeEnvironment
from sim2real.contract import Contract, require_same_interface
from sim2real.contract.interface import request_size
from sim2real.errors import ShoalError
from sim2real.randomisation.config import load_randomisation
from sim2real.randomised_robots.sampling import Draws, sample
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import load_task

_ONE = np.array([0])
_SHOWN = ("payload_mass_kg", "observation_delay_s", "action_delay_s")


class RandomisedDriver:
    """See `runtime.drivers.base.Driver`. Starts at the contract's home.

    A reading is stamped when it arrives, as it is on a robot that does not know how old its readings are.
    """

    modes = ("position", "velocity", "effort")

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        if not options.randomisation:
            raise ShoalError("--robot randomised needs --randomisation: a preset (mild, hard) or a YAML file.")
        self._pace = Pace(options.speed, contract.timing.control_dt_s)
        task = load_task(options.task or contract.task)
        require_same_interface(contract, task.contract, left_name="the policy", right_name="the task")
        draws = sample(load_randomisation(options.randomisation), task, count=1, seed=options.seed)
        self._environment = NativeEnvironment(
            task,
            num_envs=1,
            seed=options.seed,
            pool=sample_goal_pool(task, size=1, seed=0),
            draws=draws,
            keep_robots=True,
            threads=1,
        )
        self._environment.place(_ONE, task.scene.home[None], np.zeros((1, request_size(contract))))
        self._target = np.array(self._environment.readings()[contract.action.previous])
        self._at_zero = [i for i, joint in enumerate(contract.robot.joints) if joint.mode != "position"]
        self._unheard = 0
        self._control_dt_s, self._periods = contract.timing.control_dt_s, 0
        self.joint_names, self._measured = contract.joint_names, contract.measured.sizes
        self.owns_clock, self.period_s = self._pace.owns_clock, self._pace.period_s
        self.description = (
            f"mujoco {mujoco.__version__}, robot {options.seed} of {options.randomisation} ({_words(draws)}), "
            f"{self._pace.description}"
        )

    def read(self, out: Readings) -> None:
        """Advance to the present, then measure."""
        due = self._pace.due_periods()
        for _ in range(due):
            self._unheard += 1
            if self._unheard > HEARD_FOR:
                self._target[:, self._at_zero] = 0.0
            self._environment.advance(self._target)
        if due or not self._periods:
            # Once in a period: noise belongs to the reading, not to the looking.
            for name, value in self._environment.readings().items():
                if name in self._measured:
                    out[name][:] = value[0]
        self._periods += due
        out.time_s = self.now_s()

    def write(self, command: Float64) -> None:
        """Targets `[J]` rad, rad/s or N m for the coming control period."""
        self._target[0] = command
        self._unheard = 0

    def now_s(self) -> float:
        """Simulated time."""
        return self._periods * self._control_dt_s

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Do nothing: there is no picture."""

    def close(self) -> None:
        """Do nothing: no resources are held."""


def _words(draws: Draws) -> str:
    shown = [f"{name} {getattr(draws, name)[0]:.3g}" for name in _SHOWN if draws.changes(name)]
    return ", ".join([*shown, f"{len(draws.active) - len(shown)} terms more"])
