"""Four devices, or two processes, compute what one device computes.

Each case is a process of its own, because the number of devices is fixed when JAX starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from sim2real.child_process import free_port
from sim2real.errors import ShoalError
from teacher.devices import make_devices, require_divisible, require_memory
from teacher.run.folder import RunFolder
from tests.teacher.tiny import tiny_config

PROGRAM = Path(__file__).with_name("sharded_updates.py")
TOLERANCE = {"rtol": 2e-3, "atol": 2e-5}


def environment(devices: int) -> dict[str, str]:
    # XLA gives up a collective after 40 s, which a starved machine may need.
    patience = "--xla_cpu_collective_call_terminate_timeout_seconds=200"
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices} {patience}"
    # A collective holds a thread of XLA's pool until all devices have come to it, and two under way at once can
    # take all of a pool that has no more threads than devices: nothing moves then, for good.
    # Only where devices outnumber the cores: the pool's size also decides in which order sums are taken.
    pool = {"NPROC": "32"} if devices > 2 else {}
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"} | pool


def updates(output: Path, *options: str, devices: int) -> dict[str, np.ndarray]:
    """The weights after some updates on this many devices of one process."""
    command = [sys.executable, str(PROGRAM), str(output), *options]
    subprocess.run(command, env=environment(devices), check=True, timeout=500)
    return dict(np.load(output))


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return updates(tmp_path_factory.mktemp("single") / "weights.npz", devices=1)


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name != "replay_bytes":
            np.testing.assert_allclose(found[name], value, err_msg=name, **TOLERANCE)


def test_four_devices_equal_one(single: dict[str, np.ndarray], tmp_path: Path) -> None:
    found = updates(tmp_path / "weights.npz", "--many", devices=4)
    assert_same(found, single)
    assert found["replay_bytes"] * 3 < single["replay_bytes"], "each device should hold a quarter of the rings"


# Two devices in each process stand still now and then on two cores: XLA's pool is too small, see `environment`.
@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_two_processes_equal_one(single: dict[str, np.ndarray], tmp_path: Path, devices: int) -> None:
    port = free_port()
    processes = []
    for rank in range(2):
        variables = {
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": str(rank),
        }
        command = [sys.executable, str(PROGRAM), str(tmp_path / f"{rank}.npz"), "--distributed"]
        processes.append(subprocess.Popen(command, env=environment(devices) | variables))
    assert [process.wait(500) for process in processes] == [0, 0]
    for rank in range(2):
        assert_same(dict(np.load(tmp_path / f"{rank}.npz")), single)


def test_more_devices_than_there_are_are_refused() -> None:
    with pytest.raises(ShoalError, match=r"devices: 4096 were asked for, but JAX sees \d+ \(cpu\)"):
        make_devices(4096)


def test_uneven_splits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = make_devices(1)
    require_divisible(devices, batch_size=7)
    monkeypatch.setattr(type(devices), "size", 4)
    with pytest.raises(ShoalError, match=r"num_envs 10 cannot be split over 4 devices; use 8 or 12\."):
        require_divisible(devices, batch_size=8, num_envs=10)


def test_a_replay_larger_than_the_memory_is_refused() -> None:
    require_memory(2**20, num_envs=4, replay_steps=100)
    with pytest.raises(ShoalError, match=r"num_envs 9000000 .* needs 4096\.0 GiB .* are free; lower num_envs"):
        require_memory(2**42, num_envs=9_000_000, replay_steps=4000)


def start_pair(*arguments: str) -> list[subprocess.Popen[bytes]]:
    """`train-teacher --distributed` in two processes."""
    port, command = free_port(), [str(Path(sys.executable).with_name("train-teacher")), "--distributed", *arguments]
    variables = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": "2", "JAX_PLATFORMS": "cpu"}
    return [
        subprocess.Popen(command, env=os.environ | variables | {"JAX_PROCESS_ID": str(rank)}, stdout=subprocess.DEVNULL)
        for rank in range(2)
    ]


@pytest.mark.slow
def test_two_killed_processes_resume_to_the_same_numbers(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    config = tiny_config(devices=0, num_envs=8, updates=400, updates_per_rollout=20, eval_every_rounds=5)
    settings.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    assert [process.wait(500) for process in start_pair("--config-file", str(settings), "--run", str(alone))] == [0, 0]
    pair = start_pair("--config-file", str(settings), "--run", str(killed))
    deadline = time.monotonic() + 500
    while len(RunFolder(killed).read_metrics()) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    for process in pair:
        process.kill()
        process.wait()
    assert not (killed / "summary.json").exists()
    assert [process.wait(500) for process in start_pair("--resume", str(killed))] == [0, 0]
    losses = [[row["critic_loss"] for row in RunFolder(run).read_metrics()] for run in (alone, killed)]
    assert len(losses[0]) == 20
    assert losses[0] == losses[1]
