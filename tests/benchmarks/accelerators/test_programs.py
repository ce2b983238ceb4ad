from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.accelerators.programs import (
    H100,
    Arguments,
    Program,
    lowered,
    make_learner,
    programs,
    roofline,
)
from student.distillation.distill import Distiller
from teacher.run.folder import RunFolder
from teacher.trained import load_teacher
from tests.student.tiny import tiny_distill_config

SMALL = Arguments(depth=8, width=16, batch_size=16, num_envs=4, replay_steps=50)
SOLVERS = {"cuda": {"cusolver_syevd_ffi"}, "tpu": {"Eigh"}}
"""Libraries that the diagnosis, once a round, takes eigenvalues with."""


def require_ready(found: dict[str, Any], program: Program, calls: set[str]) -> None:
    """Nothing in double precision, no call to anything that is not expected, and what can be given up is."""
    assert found["double_precision"] == 0
    assert set(found["calls"]) <= calls
    assert found["donated"] == program.donated
    assert found["operations"] > 0


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("name", ["updates", "diagnosis", "policy"])
def test_programs_of_training_and_evaluation_are_ready(name: str, platform: str) -> None:
    program = programs(make_learner(SMALL), SMALL)[name]
    require_ready(lowered(program, platform), program, SOLVERS[platform] if name == "diagnosis" else set())


def test_the_program_does_not_grow_with_depth() -> None:
    shallow, deep = (
        lowered(programs(make_learner(sizes), sizes)["updates"], "cuda") for sizes in (SMALL, replace(SMALL, depth=256))
    )
    assert deep["operations"] == shallow["operations"]
    assert deep["loops"] == shallow["loops"]


def test_programs_of_distillation_are_ready(teacher_run: Path, tmp_path: Path) -> None:
    distiller = Distiller(load_teacher(teacher_run), tiny_distill_config(), RunFolder(tmp_path / "student"))
    arguments = distiller.state, distiller.data, jax.random.key(0), jnp.zeros((), jnp.int32)

    def update(*given: Any) -> Any:
        return distiller._update_many(*given)

    program = Program(jax.jit(update, donate_argnums=0), arguments, len(jax.tree.leaves(distiller.state)))
    require_ready(lowered(program, "cuda"), program, set())


def test_what_is_not_ready_is_seen() -> None:
    """Else the tests above would show nothing."""
    shape = jax.ShapeDtypeStruct((3,), np.float32)
    with jax.enable_x64(True):
        double = lowered(Program(jax.jit(lambda x: x * jnp.float64(2)), (shape,), 0), "cuda")
    assert double["double_precision"] > 0
    kept = lowered(Program(jax.jit(lambda x: x * 2), (shape,), 1), "cuda")
    assert kept["donated"] == 0

    def asks(x: jax.Array) -> jax.Array:
        return jnp.asarray(jax.pure_callback(np.sin, shape, x))

    try:
        calls = lowered(Program(jax.jit(asks), (shape,), 0), "cuda")["calls"]
    except (NotImplementedError, ValueError):
        return  # which is also how the programs above would fail
    assert calls


def test_the_reckoning_follows_the_sizes() -> None:
    learner, deeper = make_learner(SMALL), replace(SMALL, depth=16)
    once, twice = roofline(learner, SMALL), roofline(make_learner(deeper), deeper)
    state = learner.init(jax.random.key(0))
    assert once["state_bytes"] == sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    assert once["gradient_bytes"] == sum(leaf.nbytes for leaf in jax.tree.leaves((state.actor, state.critic)))
    assert twice["kernels"] == 2 * once["kernels"]
    assert once["update_s"] == max(once[name] for name in ("products_float32_s", "memory_s", "launches_s"))
    slow = roofline(learner, SMALL, H100._replace(float32_flops_per_s=1e6))
    assert slow["update_s"] == slow["products_float32_s"] > once["update_s"]
    assert slow["run_hours"] == pytest.approx(SMALL.updates * slow["update_s"] / 3600)
