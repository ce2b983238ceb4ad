"""One update of the teacher against the same mathematics in the form of the published code, in one run.

    python -m benchmarks.learning.teacher_update [--depths 4 16 64] [--quick] [--json PATH]

Both forms have the same networks, batch and losses (tests/benchmarks/learning/test_published_update.py holds them
together).
The published code makes 800 updates from one relabelling of a 1000-step window of 512 environments; that relabelling is
timed for `--envs` environments, on which it depends linearly, and its share of an update is a column of its own. Ours
draws each batch from the replay inside the timed update. Times are medians over interleaved repeats. The last
column is the share of this machine's rate in a large float32 matrix product that our update's matrix products reach.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.learning.published_update import PublishedUpdate
from benchmarks.machine import machine
from sim2real.backends.base import Rollout
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract.interface import goal_size, observation_size
from sim2real.files import write_json
from sim2real.tasks.task import load_task
from teacher import replay
from teacher.config import LearnerConfig, NetworkConfig
from teacher.learner import Learner

_PUBLISHED_WINDOW, _PUBLISHED_ENVS, _PUBLISHED_UPDATES = 1000, 512, 800
"""Steps of a relabelled window, environments, and updates made from one relabelling, in the published code."""


@dataclass(frozen=True)
class Arguments:
    """Time updates of both forms."""

    depths: tuple[int, ...] = ()
    """4, 16 and 64 by default; up to 1024 where JAX sees an accelerator."""
    width: int = 64
    batch_size: int = 256
    envs: int = 64
    updates: int = 25
    """Updates in one timed call."""
    repeats: int = 7
    compile_limit_s: float = 240.0
    """The published form is left out of a depth when its compile time at the last depth says that it would take
    longer than this; the table says so."""
    quick: bool = False
    """Depth 4, fewer environments."""
    json: JsonFile | None = None
    """Write the rows here too."""


def rollout(contract: Any, steps: int, envs: int) -> Rollout:
    """Random data in the shape of a rollout with episodes of 50 steps."""
    rng = np.random.default_rng(0)
    sizes = observation_size(contract), goal_size(contract), len(contract.robot.joints)
    observation, achieved, action = (rng.normal(size=(steps, envs, size)).astype(np.float32) for size in sizes)
    last = np.zeros((steps, envs), bool)
    last[49::50] = True
    return Rollout(observation, achieved, achieved, np.tanh(action), last, np.zeros_like(last))


def our_step(learner: Learner, data: Rollout, updates: int) -> Callable[[], Any]:
    """A compiled call that makes `updates` of our updates."""
    sizes = {"observation": data.observation.shape[-1], "goal": data.goal.shape[-1], "action": data.action.shape[-1]}
    steps, envs = data.last.shape
    buffer = replay.insert(replay.create(capacity=steps, num_envs=envs, **sizes), data)
    state = [learner.init(jax.random.key(0))]

    def call() -> Any:
        state[0], metrics = learner.update_many(state[0], buffer, jax.random.key(1), updates)
        return jax.tree.map(np.asarray, metrics)

    return call


def published_step(learner: Learner, data: Rollout, updates: int, batch_size: int) -> Callable[[], Any]:
    """A compiled call that makes `updates` updates of the published form from batches that are there already."""
    published = PublishedUpdate(learner)
    batches = replay.Batch(
        *(
            jnp.asarray(x).reshape(-1, x.shape[-1])[: updates * batch_size].reshape(updates, batch_size, -1)
            for x in (data.observation, data.action, data.achieved)
        )
    )

    def step(state: Any, key: jax.Array) -> Any:
        def one(state: Any, batch_and_key: Any) -> Any:
            return published.update(state, *batch_and_key)

        return jax.lax.scan(one, state, (batches, jax.random.split(key, updates)))

    jitted = jax.jit(step, donate_argnums=0)
    state = [published.init(jax.random.key(0))]

    def call() -> Any:
        state[0], metrics = jitted(state[0], jax.random.key(1))
        return jax.tree.map(np.asarray, metrics)

    return call


def relabelling_ms(learner: Learner, envs: int, repeats: int) -> float:
    """Milliseconds of relabelling for each update, at the published sizes, measured on `envs` environments."""
    data = rollout(learner.contract, _PUBLISHED_WINDOW, envs)
    window = replay.Batch(*(jnp.asarray(x) for x in (data.observation, data.action, data.achieved)))
    last, relabel = jnp.asarray(data.last, jnp.int32), jax.jit(PublishedUpdate(learner).relabel)

    def call() -> Any:
        return jax.tree.map(np.asarray, relabel(window, last, jax.random.key(1)))

    call()
    seconds = float(np.median([timed(call) for _ in range(repeats)]))
    return 1e3 * seconds * _PUBLISHED_ENVS / envs / _PUBLISHED_UPDATES


def matmul_flops_per_s(size: int = 2048, repeats: int = 5) -> float:
    """The machine's rate in a float32 product of `size` x `size` matrices."""
    a = jnp.ones((size, size))
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        product(a).block_until_ready()
        times.append(time.perf_counter() - start)
    return float(2 * size**3 / np.median(times))


def update_flops(learner: Learner, network: NetworkConfig, batch_size: int) -> float:
    """Floating point operations of the matrix products of one of our updates.

    A forward pass costs 2 B in out a layer, gradients to parameters and to inputs as much again each. The critic's
    two encoders and the actor take all three; phi under the actor takes forward and input gradients.
    """
    contract, width = learner.contract, network.width
    observation, goal, joints = observation_size(contract), goal_size(contract), len(contract.robot.joints)

    def forward(inputs: int, depth: int, outputs: int) -> float:
        return 2.0 * batch_size * (inputs * width + depth * width * width + width * outputs)

    phi = forward(observation + joints, network.critic_depth, network.embedding_size)
    psi = forward(goal, network.critic_depth, network.embedding_size)
    actor = forward(observation + 2 * goal, network.actor_depth, 2 * joints)
    energy = 2.0 * batch_size * batch_size * network.embedding_size
    return 3 * (phi + psi + actor + energy) + 2 * phi


def timed(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(depth: int, arguments: Arguments, *, with_published: bool) -> dict[str, Any]:
    """Times of both forms at one depth."""
    contract = load_task("franka_pose").contract
    network = NetworkConfig(actor_depth=depth, critic_depth=depth, width=arguments.width)
    learner = Learner(contract, network, LearnerConfig(batch_size=arguments.batch_size), 10_000)
    updates = arguments.updates
    data = rollout(contract, max(100, -(-updates * arguments.batch_size // arguments.envs)), arguments.envs)
    calls = {"ours": our_step(learner, data, updates)}
    if with_published:
        calls["published"] = published_step(learner, data, updates, arguments.batch_size)
    compiled = {name: timed(call) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(arguments.repeats):
        for name, call in calls.items():
            times[name].append(timed(call) / updates)
    row: dict[str, Any] = {
        "relabelling_ms": relabelling_ms(learner, arguments.envs, 3),
        "depth": depth,
        "flops": update_flops(learner, network, arguments.batch_size),
    }
    for name in calls:
        row |= {f"{name}_ms": 1e3 * float(np.median(times[name])), f"{name}_first_call_s": compiled[name]}
    return row


def measure_all(arguments: Arguments) -> list[dict[str, Any]]:
    """All depths, shallow first; leaves the published form out where it would compile too long."""
    on_cpu = jax.default_backend() == "cpu"
    depths = arguments.depths or ((4, 16, 64) if on_cpu else (4, 16, 64, 256, 1024))
    rows: list[dict[str, Any]] = []
    expected_s = 0.0
    for depth in sorted(depths):
        row = measure(depth, arguments, with_published=expected_s <= arguments.compile_limit_s)
        row["expected_compile_s"] = expected_s
        if "published_first_call_s" in row:
            expected_s = 4 * row["published_first_call_s"]
        rows.append(row)
    return rows


def main() -> None:
    """Print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.quick:
        arguments = Arguments(depths=(4,), envs=16, repeats=3, json=arguments.json)
    rate = matmul_flops_per_s()
    rows = measure_all(arguments)
    table = Table(
        "depth",
        "ours, ms",
        "published, ms",
        "+ relabelling",
        "ratio",
        "without",
        "compile, s",
        "published",
        "matmul",
        title=f"one update, width {arguments.width}, batch {arguments.batch_size}, {jax.devices()[0].device_kind}",
    )
    for row in rows:
        row["matmul_share"] = row["flops"] / (1e-3 * row["ours_ms"]) / rate
        relabelling = f"{row['relabelling_ms']:.2f}"
        shown = ["not run", relabelling, "", "", f"over {arguments.compile_limit_s:.0f}"]
        if "published_ms" in row:
            row["ratio_updates_only"] = row["published_ms"] / row["ours_ms"]
            row["ratio"] = (row["published_ms"] + row["relabelling_ms"]) / row["ours_ms"]
            ratios = f"{row['ratio']:.2f}", f"{row['ratio_updates_only']:.2f}"
            shown = [f"{row['published_ms']:.2f}", relabelling, *ratios, f"{row['published_first_call_s']:.1f}"]
        ours = f"{row['ours_ms']:.2f}", f"{row['ours_first_call_s']:.1f}"
        table.add_row(str(row["depth"]), ours[0], *shown[:4], ours[1], shown[4], f"{row['matmul_share']:.0%}")
    Console().print(table)
    if arguments.json:
        report = {
            "machine": machine(),
            "device": jax.devices()[0].device_kind,
            "matmul_flops_per_s": rate,
            "rows": rows,
        }
        write_json(arguments.json, report)


if __name__ == "__main__":
    with command_line():
        main()
