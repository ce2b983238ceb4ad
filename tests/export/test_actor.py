from __future__ import annotations

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from export.actor import main, unrolled_actor
from sim2real.contract.interface import goal_size, observation_size, policy_inputs
from sim2real.errors import ShoalError
from teacher.config import LearnerConfig, NetworkConfig
from teacher.learner import Learner
from teacher.train import load_teacher


def test_unrolled_actor_computes_what_the_scanned_one_does(teacher_run: Path) -> None:
    teacher = load_teacher(teacher_run)
    network = NetworkConfig(actor_depth=12, critic_depth=4, width=16)
    learner = Learner(teacher.contract, network, LearnerConfig(batch_size=8), 1)
    params = learner.init(jax.random.key(3)).actor
    rng = np.random.default_rng(0)
    observation, goal = (
        rng.normal(size=(16, size(teacher.contract))).astype(np.float32) for size in (observation_size, goal_size)
    )
    wanted = jnp.tanh(learner.networks.act(params, observation, goal)[0])
    got = unrolled_actor(network, params, policy_inputs(jnp, teacher.contract, observation, goal))
    np.testing.assert_allclose(got, wanted, atol=2e-5)
    with pytest.raises(ShoalError, match="design paper cannot be written"):
        unrolled_actor(network.model_copy(update={"design": "paper"}), params, jnp.zeros((1, 3)))


def test_policies_are_timed_in_the_order_given(
    teacher_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = Path(__file__).parents[2] / "models" / "franka_pose.onnx"
    given = ["actor", "--teachers", str(teacher_run), "--students", str(shipped), str(shipped)]
    monkeypatch.setattr(sys, "argv", given)
    main()
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 3
    assert all(0 < row["tick_us_p50"] <= row["tick_us_p99"] for row in rows)
