"""What a policy computes besides its network is written so that a robot's compiled kernel can do it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from jax2onnx import to_onnx

from runtime.inference.kernel_source import generate
from runtime.inference.onnx_graph import read_graph
from sim2real.contract.interface import action_size, command, goal_size, observation_size, observe, policy_inputs
from sim2real.contract.policy_file import input_sizes
from sim2real.tasks.task import load_task


@pytest.mark.parametrize("name", ["ant", "franka_pose", "two_arms"])
def test_observation_way_and_command_are_done_by_the_kernel(name: str) -> None:
    contract = load_task(name).contract
    sizes = input_sizes(contract)

    def physical(*values: jax.Array) -> tuple[jax.Array, jax.Array]:
        inputs = dict(zip(sizes, values, strict=True))
        goal = contract.goal.vector_of(jnp, contract, inputs)
        seen = policy_inputs(jnp, contract, observe(jnp, contract, inputs), goal)
        return command(jnp, contract, jnp.tanh(seen[..., : action_size(contract)]), inputs), seen

    graph = to_onnx(
        physical,
        inputs=[("batch", size) for size in sizes.values()],
        model_name="without_a_network",
        opset=21,
        input_names=list(sizes),
        output_names=["command", "seen"],
    )
    seen = observation_size(contract) + 2 * goal_size(contract)
    kernel = generate(
        read_graph(graph.SerializeToString()), sizes, {"command": len(contract.joint_names), "seen": seen}
    )
    assert "shoal_kernel" in kernel.source
