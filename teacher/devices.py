"""Training across devices and hosts: environments and batch are split, parameters are copied.

One mesh with one axis, over every device of every process that `jax.distributed` joined. Programs are written for the
whole batch; XLA splits them along the axis and adds the collectives, so InfoNCE sees the negatives of all devices.

    Slurm, Kubernetes, TPU pods: `train-teacher --distributed --devices 0 ...` in every process
    one machine:                 `train-teacher --devices 0 ...`
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sim2real.errors import ShoalError, first_line

AXIS = "data"


class Devices(NamedTuple):
    """Where a run computes."""

    mesh: Mesh

    @property
    def size(self) -> int:
        """Devices over all processes."""
        return int(self.mesh.devices.size)

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run's files."""
        return jax.process_index() == 0

    @property
    def replicated(self) -> NamedSharding:
        """Place an array so that every device holds all of it."""
        return NamedSharding(self.mesh, PartitionSpec())  # type: ignore[no-untyped-call]

    def split(self, axis: int) -> NamedSharding:
        """Place an array so that every device holds its part of one axis."""
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, AXIS))  # type: ignore[no-untyped-call]

    def replicate(self, tree: Any) -> Any:
        """The tree on every device; all processes must hold the same numbers."""
        return jax.tree.map(lambda leaf: jax.device_put(leaf, self.replicated), tree)

    def place(self, tree: Any, *, axis: int) -> Any:
        """Whole arrays, the same in all processes, split along `axis`; arrays without that axis go everywhere."""
        return jax.tree.map(
            lambda leaf: jax.device_put(leaf, self.split(axis) if np.ndim(leaf) > axis else self.replicated), tree
        )

    def join(self, tree: Any, *, axis: int) -> Any:
        """Arrays of this process's environments, as its part of arrays over all environments along `axis`."""
        sharding = self.split(axis)
        make: Any = jax.make_array_from_process_local_data
        return jax.tree.map(lambda leaf: make(sharding, np.asarray(leaf)), tree)

    def local(self, tree: Any) -> Any:
        """The copy of replicated arrays that this process holds, for programs that run without the other processes."""
        return jax.tree.map(lambda leaf: leaf.addressable_data(0) if self.size > 1 else leaf, tree)

    def gather(self, tree: Any) -> Any:
        """Whole arrays as NumPy in every process, whatever their sharding."""
        if jax.process_count() == 1:
            return arrays(tree)
        return multihost_utils.process_allgather(tree, tiled=True)

    def stack_processes(self, tree: Any) -> Any:
        """What each process holds on its own, NumPy, with a first axis over processes."""
        if jax.process_count() == 1:
            return jax.tree.map(lambda leaf: np.asarray(leaf)[None], tree)
        # As bytes, because JAX would turn 64-bit numbers into 32-bit ones.
        bits = jax.tree.map(lambda leaf: np.frombuffer(np.asarray(leaf).tobytes(), np.uint8), tree)
        joined = multihost_utils.process_allgather(bits, tiled=False)
        return jax.tree.map(lambda own, all_: all_.view(own.dtype).reshape(-1, *own.shape), arrays(tree), joined)


def arrays(tree: Any) -> Any:
    """The tree with every leaf as a NumPy array."""
    return jax.tree.map(np.asarray, tree)


def make_devices(count: int) -> Devices:
    """A mesh of `count` devices; 0 takes all. More processes than one always use all their devices."""
    available = jax.devices()
    if count > len(available):
        raise ShoalError(f"devices: {count} were asked for, but JAX sees {len(available)} ({available[0].platform}).")
    if count and jax.process_count() > 1 and count != len(available):
        raise ShoalError(
            f"devices: a run of {jax.process_count()} processes uses all {len(available)} devices; give 0."
        )
    return Devices(Mesh(np.array(available[: count or len(available)]), (AXIS,)))


def require_divisible(devices: Devices, **sizes: int) -> None:
    """Refuse sizes that cannot be split evenly."""
    for name, size in sizes.items():
        if size % devices.size:
            lower = max(size - size % devices.size, devices.size)
            raise ShoalError(
                f"{name} {size} cannot be split over {devices.size} devices; "
                f"use {lower} or {size - size % devices.size + devices.size}."
            )


def require_memory(needed_bytes: int, *, num_envs: int, replay_steps: int) -> None:
    """Refuse a replay that cannot fit, before the machine starts to swap or a GPU reports an allocation."""
    stats = jax.local_devices()[0].memory_stats() or {}
    free = stats.get("bytes_limit", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
    share = jax.local_device_count() if stats else 1
    if needed_bytes > free * share:
        raise ShoalError(
            f"num_envs {num_envs} with replay_steps {replay_steps} needs {needed_bytes / 2**30:.1f} GiB for the "
            f"replay, but {free * share / 2**30:.1f} GiB are free; lower num_envs or replay_steps."
        )


def start_distributed() -> None:
    """Join the other processes; address, count and rank come from Slurm, Kubernetes, MPI or the TPU's environment, or
    from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID. Must come before anything uses JAX.
    """
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    given = [os.environ.get(name) for name in names]
    try:
        if all(given):
            jax.distributed.initialize(str(given[0]), int(str(given[1])), int(str(given[2])))
        else:
            jax.distributed.initialize()
    except (RuntimeError, ValueError) as error:
        raise ShoalError(
            f"distributed: could not join the other processes ({first_line(error)}); start under Slurm, "
            f"Kubernetes or MPI, or set {', '.join(names)}."
        ) from error
