"""The rules in C against those in Python, bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.native.build import Unsupported, find_compiler
from runtime.robot.model import find_model
from runtime.robot.readings import Readings
from runtime.safety import Safety, SafetyConfig
from runtime.safety.compiled import limits as compiled_limits
from runtime.safety.compiled import watch as compiled_watch
from runtime.safety.compiled.library import LONGEST_PATH
from runtime.safety.compiled.limits import CompiledLimits
from runtime.safety.compiled.watch import CompiledWatch
from runtime.safety.geometry import Geometry
from runtime.safety.limits import NOT_FINITE, TAKEN, Limits
from runtime.safety.watch import ReadingWatch
from runtime.status import Reason
from sim2real.contract import Contract
from sim2real.tasks.task import load_task

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
CONTRACT = load_task("franka_pose").contract
HOME = np.array([joint.home_position for joint in CONTRACT.robot.joints])
PERIOD_S = CONTRACT.timing.control_dt_s
ANY = st.floats(allow_nan=True, allow_infinity=True)
NEAR = st.floats(-2.0, 2.0)
SMALL = st.floats(1e-6, 1.0)


@needs_compiler
@settings(deadline=None, max_examples=200)
@given(
    bounds=st.lists(st.tuples(SMALL, SMALL, SMALL, SMALL, NEAR), min_size=1, max_size=4),
    commands=st.lists(st.tuples(st.lists(st.one_of(NEAR, ANY), min_size=4, max_size=4), SMALL, st.booleans())),
)
def test_targets_and_paths_are_the_same(
    bounds: list[tuple[float, ...]], commands: list[tuple[list[float], float, bool]]
) -> None:
    low, high, step, change, start = np.array(bounds).T.copy()
    model, fast = Limits(-low, high, step, change), CompiledLimits(-low, high, step, change)
    for limits in (model, fast):
        limits.start(start)
    for command, share, brake in commands:
        wanted = np.array(command[: len(low)])
        found = model.propose(wanted, share)
        assert fast.propose(wanted, share) == found
        if brake or found == NOT_FINITE:
            model.brake()
            fast.brake()
        else:
            path = model.path()
            assert fast.path_in_c() == (path if len(path) <= LONGEST_PATH else [])
            model.accept()
            fast.accept()
        assert model.target.tobytes() == fast.target.tobytes()


@needs_compiler
@settings(deadline=None, max_examples=200)
@given(
    config=st.builds(
        SafetyConfig,
        frozen_after_periods=st.one_of(st.none(), st.integers(2, 4)),
        frozen_travel_rad=st.floats(1e-3, 0.1),
        clock_jump_s=st.one_of(st.none(), SMALL),
        effort_share=st.one_of(st.none(), SMALL),
        effort_for_s=st.floats(0, 0.2),
        tracking_max_rad=st.one_of(st.none(), SMALL),
        out_of_range_rad=st.floats(0, 1),
    ),
    ticks=st.lists(
        st.tuples(
            st.sampled_from([1.0, 1.0, 1.0, -1.0, 50.0, math.nan, math.inf]),
            st.sampled_from([0.0, 0.0, 1, 5, -5]),
            st.one_of(st.none(), NEAR, ANY),
            st.one_of(st.just(math.nan), st.floats(-200, 200), ANY),
            st.floats(-1.0, 1.0),
            st.booleans(),
            st.integers(0, 9),
        ),
        max_size=30,
    ),
)
def test_verdicts_are_the_same(
    config: SafetyConfig, ticks: list[tuple[float, float, float, float, float, bool, int]]
) -> None:
    model, fast = ReadingWatch(CONTRACT, config), CompiledWatch(CONTRACT, config)
    readings, target, now_s = Readings(7), HOME.copy(), 0.0
    readings.joint_position[:] = HOME
    for periods, age, value, effort, moved, started, kind in ticks:
        now_s += PERIOD_S * periods
        readings.time_s = now_s - PERIOD_S * age
        if value is not None:
            readings.vector[kind] = value
        readings.joint_effort[kind % 7 :] = effort
        target[kind % 7] = HOME[kind % 7] + moved
        flags = {"started": started or kind > 0, "yielding": kind == 9}
        assert fast.check(readings, now_s, target, **flags) is model.check(readings, now_s, target, **flags)
        assert fast.measures_effort == model.measures_effort
        if kind == 8:
            model.restart()
            fast.restart()
            now_s = 0.0


@needs_compiler
@pytest.mark.parametrize("contract", [CONTRACT, load_task("franka_push").contract], ids=["tool", "object"])
def test_the_check_at_load_meets_every_verdict(contract: Contract) -> None:
    config = SafetyConfig()
    watch = ReadingWatch(contract, config)
    found = {
        watch.check(readings, now_s, target, started=started, yielding=yielding)
        for readings, now_s, target, started, yielding in compiled_watch._check_ticks(
            contract, config, watch.stale_after_s
        )
    }
    impossible = {Reason.OBJECT_UNKNOWN} if contract.tracked is None else set()
    assert found == set(compiled_watch._REASONS) - impossible
    compiled_watch.require_agreement(contract, config)


@needs_compiler
def test_a_step_is_taken_at_once_only_when_the_look_clears_it() -> None:
    model = find_model(CONTRACT)
    assert model is not None
    geometry_checker = Geometry(model, CONTRACT, SafetyConfig())
    folded = np.array([0.0, 1.6, 0.0, -3.0, 0.0, 0.6, 0.0])
    assert geometry_checker.look is not None
    assert not geometry_checker.look([folded.tolist()])
    bounds = np.full(7, -4.0), np.full(7, 4.0), np.full(7, 0.1), np.full(7, 0.1)
    for start, taken in ((HOME, TAKEN), (folded, 0)):
        limits = CompiledLimits(*bounds)
        limits.start(start)
        assert limits.propose(start + 0.01, 1.0, geometry_checker.look) == taken
        assert (limits.target == start + 0.01 * bool(taken)).all()
        assert limits.propose(start, 1.0) == 0, "without a look nothing moves"


@needs_compiler
@pytest.mark.parametrize("module", [compiled_limits, compiled_watch])
def test_rules_that_differ_are_not_used(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    if module is compiled_limits:
        monkeypatch.setattr(Limits, "propose", lambda self, command, share: 0)
        with pytest.raises(Unsupported, match="otherwise than Python does"):
            compiled_limits.require_agreement()
    else:
        monkeypatch.setattr(ReadingWatch, "check", lambda self, *_, **__: compiled_watch._REASONS[0])
        with pytest.raises(Unsupported, match="otherwise than Python does"):
            compiled_watch.require_agreement(CONTRACT, SafetyConfig())


def test_without_a_compiler_python_is_at_work(contract: Contract, no_compiler: None) -> None:
    safety = Safety(contract)
    assert safety.engine.startswith("Python (")
    assert "no C compiler" in safety.engine
    safety.start(HOME)
    readings = Readings(7)
    readings.joint_position[:] = HOME
    assert safety.check(readings, 0.0) is Reason.FOLLOWING
    assert safety.limit(HOME + 1e-3) is Reason.FOLLOWING
    np.testing.assert_array_equal(safety.target, HOME + 1e-3)
