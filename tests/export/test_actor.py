from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from export.actor import convert_network, main, unrolled_actor
from sim2real.contract import Contract
from sim2real.contract.interface import goal_size, observation_size, policy_inputs
from teacher.config import LearnerConfig, NetworkConfig
from teacher.learner import Learner
from teacher.networks import BlockDesign


def actor_of(design: BlockDesign, contract: Contract) -> tuple[NetworkConfig, Learner, Any]:
    """A network of three blocks with weights that are not those of its beginning, where scales are one."""
    network = NetworkConfig(actor_depth=6, critic_depth=2, block_size=2, width=16, embedding_size=8, design=design)
    learner = Learner(contract, network, LearnerConfig(batch_size=8), 1)
    inputs = jnp.zeros((1, observation_size(contract) + 2 * goal_size(contract)))
    params = jax.jit(learner.networks.actor.init)(jax.random.key(3), inputs)
    return network, learner, jax.tree.map(lambda leaf: leaf * 1.2 + 0.01, params)


@pytest.mark.parametrize("design", get_args(BlockDesign))
def test_unrolled_actor_computes_what_the_scanned_one_does(design: BlockDesign, pose_contract: Contract) -> None:
    network, learner, params = actor_of(design, pose_contract)
    rng = np.random.default_rng(0)
    observation, goal = (
        rng.normal(size=(16, size(pose_contract))).astype(np.float32) for size in (observation_size, goal_size)
    )
    wanted = np.tanh(jax.jit(learner.networks.act)(params, observation, goal)[0])
    got = jax.jit(lambda params, x: unrolled_actor(network, params, x))(
        params, policy_inputs(jnp, pose_contract, observation, goal)
    )
    np.testing.assert_allclose(got, wanted, atol=2e-5)


@pytest.mark.parametrize("design", ["scaled", "paper"])
def test_a_graph_of_the_actor_keeps_its_norms_whole(design: BlockDesign, pose_contract: Contract) -> None:
    network, _, params = actor_of(design, pose_contract)
    model = convert_network(pose_contract, lambda x: unrolled_actor(network, params, x))
    norms = sum(node.op_type == "LayerNormalization" for node in model.graph.node)
    assert norms == 1 + network.actor_depth + (design != "paper")
    assert not [node for node in model.graph.node if node.op_type in ("Loop", "Scan")]


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
