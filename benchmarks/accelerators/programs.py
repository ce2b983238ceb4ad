"""What a GPU would run, found out without one: training's programs lowered for CUDA, and an update's time on paper.

    python -m benchmarks.accelerators.programs [--quick] [--json PATH]

Lowering needs no GPU, and shows what would fail or be slow there: calls back to Python, double precision, buffers that
are not donated. The operations are StableHLO's, before XLA fuses them.

The second table is a model and no measurement: each of the update's products takes its operations at the data sheet's
rate, each array that a layer reads or writes its bytes at the memory's, and each kernel at least the time of a launch.
The longest of the three is what an update takes at least. A layer's pass is counted as so many kernels: forward its
product and the normalisation; backward both products, the normalisation's gradient and its sums over the batch.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import tyro
from jax import export
from rich.console import Console
from rich.table import Table

from benchmarks.learning.teacher_update import update_flops
from benchmarks.machine import write_numbers
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract.interface import action_size, goal_size, observation_size
from sim2real.tasks.task import load_task
from teacher import replay
from teacher.config import LearnerConfig, NetworkConfig
from teacher.learner import Learner
from teacher.policies import greedy
from teacher.run.diagnostics import diagnose


class Device(NamedTuple):
    """Rates of a data sheet."""

    name: str
    tf32_flops_per_s: float
    """Of products as JAX makes them from float32 by default there."""
    float32_flops_per_s: float
    bytes_per_s: float


H100 = Device("H100 SXM", 494.7e12, 66.9e12, 3.35e12)
LAUNCH_S = 3e-6
"""Assumed, of a kernel that follows another in one program."""
FORWARD_KERNELS, BACKWARD_KERNELS = 2, 4
FORWARD_ARRAYS, BACKWARD_ARRAYS = 4, 8
"""Arrays of the batch times the width that these read or write."""


@dataclass(frozen=True)
class Arguments:
    """Lower and reckon."""

    task: str = "franka_pose"
    depth: int = 1024
    width: int = 256
    batch_size: int = 512
    num_envs: int = 1024
    replay_steps: int = 1000
    updates: int = 40_000
    """Of the run whose hours are reckoned."""
    platform: str = "cuda"
    quick: bool = False
    """Depth 8."""
    json: JsonFile | None = None
    """Write both tables here too."""


class Program(NamedTuple):
    """A jitted function and what it is called with, as shapes."""

    jitted: Any
    arguments: tuple[Any, ...]
    donated: int
    """Arrays that it should consume."""


def make_learner(arguments: Arguments) -> Learner:
    """The learner of the deep run, which keeps the activations of blocks alone."""
    network = NetworkConfig(
        actor_depth=arguments.depth, critic_depth=arguments.depth, width=arguments.width, remat=True
    )
    contract = load_task(arguments.task).teacher_contract
    return Learner(contract, network, LearnerConfig(batch_size=arguments.batch_size), arguments.updates)


def programs(learner: Learner, arguments: Arguments) -> dict[str, Program]:
    """Those of a round: its updates, its diagnosis, and the policy that collects and is evaluated."""
    contract, envs = learner.contract, arguments.num_envs
    sizes = {
        "observation": observation_size(contract),
        "goal": goal_size(contract),
        "action": action_size(contract),
    }
    state = jax.eval_shape(learner.init, jax.random.key(0))
    buffer = jax.eval_shape(lambda: replay.create(capacity=arguments.replay_steps, num_envs=envs, **sizes))
    key = jax.eval_shape(lambda: jax.random.key(0))
    seen = jax.eval_shape(lambda: tuple(jnp.zeros((envs, sizes[name])) for name in ("observation", "goal")))

    def update(state: Any, buffer: replay.Replay, key: jax.Array) -> Any:
        return learner.update_many(state, buffer, key, 200)

    def health(state: Any, buffer: replay.Replay, key: jax.Array) -> Any:
        return diagnose(learner, state, learner.sample(buffer, key), key)

    round_ = state, buffer, key
    return {
        "updates": Program(jax.jit(update, donate_argnums=0), round_, len(jax.tree.leaves(state))),
        "diagnosis": Program(jax.jit(health), round_, 0),
        "policy": Program(jax.jit(greedy(learner.networks)), (state.actor, *seen, key), 0),
    }


def lowered(program: Program, platform: str) -> dict[str, Any]:
    """Facts about a program that is lowered for another platform."""
    made = export.export(
        program.jitted, platforms=[platform], disabled_checks=[export.DisabledSafetyCheck.custom_call("*")]
    )
    text = made(*program.arguments).mlir_module()
    operations = Counter(re.findall(r"stablehlo\.([a-z_0-9]+)", text))
    return {
        "kilobytes": len(text) / 1024,
        "operations": sum(operations.values()),
        "products": operations["dot_general"],
        "loops": operations["while"],
        "calls": sorted(set(re.findall(r"custom_call @([\w.]+)", text))),
        "double_precision": len(re.findall(r"\bf64>|xf64>", text)),
        "donated": len(re.findall(r"tf\.aliasing_output|jax\.buffer_donor", text)),
    }


def roofline(learner: Learner, arguments: Arguments, device: Device = H100) -> dict[str, float]:
    """Seconds of an update by each of the three limits, and what follows for the run."""
    state = jax.eval_shape(learner.init, jax.random.key(0))
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    depth, batch, width = arguments.depth, arguments.batch_size, arguments.width
    network = learner.objective.network
    # Forward: phi, psi, the actor, and phi of the actor's actions; each again in the backward pass, from its block's
    # input on. Products are three parts of a layer's pass with gradients, of which the last has but two.
    forward, backward = 4 * 2, 4
    flops = update_flops(learner, network, batch) + 4 * 2.0 * batch * depth * width**2
    arrays = depth * (forward * FORWARD_ARRAYS + backward * BACKWARD_ARRAYS)
    # The optimisers read and write parameters and both moments, and read the gradient.
    traffic = 4.0 * arrays * batch * width + 3 * held
    kernels = depth * (forward * FORWARD_KERNELS + backward * BACKWARD_KERNELS)
    limits = {
        "products_tf32_s": flops / device.tf32_flops_per_s,
        "products_float32_s": flops / device.float32_flops_per_s,
        "memory_s": traffic / device.bytes_per_s,
        "launches_s": kernels * LAUNCH_S,
    }
    update_s = max(limits["products_float32_s"], limits["memory_s"], limits["launches_s"])
    blocks = depth // network.block_size
    # Of phi and psi at once, the inputs of all blocks; of one block at a time, two arrays of each layer.
    kept = 4.0 * batch * width * (2 * blocks + 2 * network.block_size)
    parameters = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((state.actor, state.critic)))
    sizes = observation_size(learner.contract), goal_size(learner.contract), action_size(learner.contract)
    rings = dict(zip(("observation", "goal", "action"), sizes, strict=True))
    stored = replay.size_bytes(capacity=arguments.replay_steps, num_envs=arguments.num_envs, **rings)
    return limits | {
        "flops": flops,
        "traffic_bytes": traffic,
        "kernels": float(kernels),
        "update_s": update_s,
        "run_hours": arguments.updates * update_s / 3600,
        "state_bytes": float(held),
        "gradient_bytes": float(parameters),
        "activation_bytes": kept,
        "replay_bytes": float(stored),
        "memory_bytes": held + parameters + kept + stored,
    }


def main() -> None:
    """Print both tables, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.quick:
        arguments = Arguments(depth=8, json=arguments.json)
    learner = make_learner(arguments)
    facts = {name: lowered(program, arguments.platform) for name, program in programs(learner, arguments).items()}
    table = Table("program", *next(iter(facts.values())), title=f"lowered for {arguments.platform}")
    for name, found in facts.items():
        shown = (f"{value:.0f}" if isinstance(value, float) else value for value in found.values())
        table.add_row(name, *(", ".join(value) if isinstance(value, list) else str(value) for value in shown))
    title = f"{arguments.depth} x {arguments.width}, batch {arguments.batch_size}, on paper: {H100.name}"
    reckoned, paper = roofline(learner, arguments), Table("quantity", "value", title=title)
    for name, value in reckoned.items():
        paper.add_row(name, f"{value:,.4g}")
    for each in (table, paper):
        Console(width=140).print(each)
    write_numbers(arguments.json, {"lowered": facts, "device": H100._asdict(), "roofline": reckoned})


if __name__ == "__main__":
    with command_line():
        main()
