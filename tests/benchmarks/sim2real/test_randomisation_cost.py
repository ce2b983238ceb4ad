from __future__ import annotations

from benchmarks.sim2real.randomisation_cost import settings
from sim2real.randomised_robots.dynamics import make_dynamics
from sim2real.randomised_robots.robots import Robots
from sim2real.randomised_robots.sampling import sample
from sim2real.tasks.task import load_task


def test_halves_of_the_hard_preset_are_models_and_signals() -> None:
    compared, task = settings(), load_task("franka_reach")
    assert set(compared["model"].active) | set(compared["signals"].active) == set(compared["hard"].active)
    assert not set(compared["model"].active) & set(compared["signals"].active)
    model, signals = (sample(compared[name], task, count=2, seed=0) for name in ("model", "signals"))
    robots = Robots.of(task, model, num_envs=2, seed=0, keep=True)
    assert robots is not None
    assert robots.dynamics.fields
    assert not robots.disturbances.senses
    assert not make_dynamics(task, signals).fields
