from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.drivers.base import Driver, DriverOptions, open_driver
from runtime.drivers.conformance import assert_conforms
from runtime.drivers.mujoco import MujocoDriver
from runtime.drivers.randomised import RandomisedDriver
from runtime.options import ServeOptions
from runtime.robot.readings import Readings
from runtime.server.control_process import serve
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError

STEP_RAD = 0.02


def robot(contract: Contract, randomisation: str | Path, seed: int = 0) -> Driver:
    return open_driver("randomised", contract, DriverOptions(speed=0, randomisation=str(randomisation), seed=seed))


def written(folder: Path, text: str) -> Path:
    path = folder / "robot.yaml"
    path.write_text(text)
    return path


def positions(contract: Contract, driver: Driver, ticks: int = 12) -> np.ndarray:
    """Joint positions `[T, J]` rad while all targets move away from home."""
    readings, seen = Readings.of(contract), []
    for _ in range(ticks):
        driver.read(readings)
        if not seen:
            target = readings.joint_position.copy()
        target += STEP_RAD
        driver.write(target)
        seen.append(readings.joint_position.copy())
    return np.array(seen)


def test_nothing_randomised_is_the_model(contract: Contract) -> None:
    nominal = positions(contract, MujocoDriver(contract, DriverOptions(speed=0)))
    np.testing.assert_allclose(positions(contract, robot(contract, "off")), nominal, atol=1e-6)


def test_same_number_same_robot_and_another_another(contract: Contract) -> None:
    first = positions(contract, robot(contract, "hard", 3))
    np.testing.assert_array_equal(positions(contract, robot(contract, "hard", 3)), first)
    assert np.abs(positions(contract, robot(contract, "hard", 4)) - first).max() > 1e-3


@pytest.mark.parametrize("term", ["action_delay_s", "observation_delay_s"])
def test_delays_are_delays(contract: Contract, tmp_path: Path, term: str) -> None:
    periods = 3
    late = written(tmp_path, f"{term}: {periods * contract.timing.control_dt_s}")
    nominal, delayed = positions(contract, robot(contract, "off")), positions(contract, robot(contract, late))
    np.testing.assert_allclose(delayed[:periods], nominal[:1].repeat(periods, 0), atol=1e-6)
    np.testing.assert_allclose(delayed[periods:], nominal[:-periods], atol=1e-3)


def test_conforms_and_says_which_robot_it_is(contract: Contract, tmp_path: Path) -> None:
    driver = robot(contract, written(tmp_path, "payload_mass_kg: 1.5\naction_delay_s: 0.01"))
    assert "payload_mass_kg 1.5, action_delay_s 0.01, 0 terms more" in driver.description
    assert_conforms(driver, contract)


def test_what_is_missing_is_named(contract: Contract, policy_path: Path) -> None:
    with pytest.raises(ShoalError, match="needs --randomisation"):
        RandomisedDriver(contract, DriverOptions())
    with pytest.raises(ShoalError, match="nowhere"):
        robot(contract, "nowhere.yaml")
    with pytest.raises(ShoalError, match="elsewhere"):
        RandomisedDriver(contract, DriverOptions(randomisation="mild", task="elsewhere.yaml"))
    with pytest.raises(ContractMismatch):
        RandomisedDriver(contract, DriverOptions(randomisation="mild", task="franka_reach"))
    with pytest.raises(ShoalError, match="for the driver randomised only, not for mujoco"):
        serve(ServeOptions(policy_path, randomisation="mild"))
