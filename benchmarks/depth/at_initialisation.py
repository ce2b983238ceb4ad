"""What depth does to a network before training: is every block design trainable at 1024 layers?

    python -m benchmarks.depth.at_initialisation [--quick] [--json PATH]

For each design and depth: share of saturated actions (|mean before tanh| > 2), RMS of the trunk's output, spread of
that output across inputs (standard deviation over the batch), its effective rank, and the ratio of the largest to
the smallest gradient norm among blocks for the loss |mean|^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_numbers
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from teacher.networks import Actor, BlockDesign, Trunk, apply
from teacher.run.diagnostics import effective_rank, gradient_norm_by_block

_INPUTS, _ACTIONS, _BATCH = 48, 7, 256


@dataclass(frozen=True)
class Arguments:
    """Measure networks of every design at initialisation."""

    depths: tuple[int, ...] = (4, 16, 64, 256, 1024)
    width: int = 64
    seed: int = 0
    quick: bool = False
    """Depths 4 and 256 only."""
    json: JsonFile | None = None
    """Write the rows here too."""


def measure(design: BlockDesign, depth: int, width: int, seed: int) -> dict[str, Any]:
    """Statistics of a freshly initialised actor on standard normal inputs."""
    actor = Actor(Trunk(depth, width, design=design), _ACTIONS)
    key, input_key = jax.random.split(jax.random.key(seed))
    inputs = jax.random.normal(input_key, (_BATCH, _INPUTS))
    params = jax.jit(actor.init)(key, inputs)

    def loss(params: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        mean, _, features = apply(actor, params, inputs)
        return jnp.mean(mean**2), (mean, features)

    gradient, (mean, features) = jax.jit(jax.grad(loss, has_aux=True))(params)
    by_block = gradient_norm_by_block(gradient)
    return {
        "design": design,
        "depth": depth,
        "saturated": float(jnp.mean(jnp.abs(mean) > 2)),
        "trunk_rms": float(jnp.sqrt(jnp.mean(features**2))),
        "input_spread": float(jnp.mean(jnp.std(features, axis=0))),
        "effective_rank": float(effective_rank(features)),
        "gradient_ratio": float(jnp.max(by_block) / jnp.maximum(jnp.min(by_block), 1e-30)),
    }


def main() -> None:
    """Print the table, write JSON."""
    arguments = tyro.cli(Arguments)
    depths = (4, 256) if arguments.quick else arguments.depths
    rows = [
        measure(design, depth, arguments.width, arguments.seed) for design in get_args(BlockDesign) for depth in depths
    ]
    table = Table(*rows[0], title=f"at initialisation, width {arguments.width}")
    for row in rows:
        table.add_row(*(value if isinstance(value, str) else f"{value:.3g}" for value in row.values()))
    Console().print(table)
    write_numbers(arguments.json, {"rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
