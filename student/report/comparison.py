"""What the deep teacher bought: its student beside a policy that was trained directly, on the same goals.

A teacher is worth its training where a network of the size that is deployed does better by way of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from sim2real.contract import require_same_interface
from student.report.measure import Measured
from teacher.networks import count_parameters
from teacher.run.folder import RunFolder
from teacher.trained import Teacher, load_teacher

_CHANCE = 0.05


@dataclass(frozen=True)
class Comparison:
    """A teacher, a finished run of `train-teacher` whose actor could be deployed as it is, and what both cost."""

    teacher: Teacher
    direct: Teacher
    teacher_s: float
    direct_s: float

    @classmethod
    def load(cls, teacher: Teacher, teacher_run: Path, run: Path) -> Comparison:
        """`ShoalError` where one of the runs has not ended, or their tasks differ."""
        seconds = [float(RunFolder(path).read_summary()["wall_s"]) for path in (teacher_run, run)]
        direct = load_teacher(run)
        require_same_interface(
            teacher.contract, direct.contract, left_name="the teacher's run", right_name=f"--compare-with {run.name}"
        )
        return cls(teacher, direct, *seconds)

    def sentence(self, measured: Measured, summary: dict[str, Any]) -> str:
        """What the teacher bought the student of `summary`, in coarse successes."""
        assert measured.direct is not None
        student, direct = measured.student.coarse, measured.direct.coarse
        teacher, own = self.teacher, self.direct.config.network
        told = teacher.networks.contract.readings != teacher.contract.readings
        return (
            f"By way of a teacher of depth {teacher.config.network.actor_depth}, the student of "
            f"{summary['parameters']:,} parameters reaches {student.mean():.1%} of {student.size} goals (coarse), and "
            f"a policy of depth {own.actor_depth} with {count_parameters(self.direct.actor):,} parameters that was "
            f"trained directly{', told what only teachers are,' if told else ''} {direct.mean():.1%}: "
            f"{verdict(student, direct)}. Training took {self.teacher_s + summary['wall_s']:,.0f} s by way of the "
            f"teacher and {self.direct_s:,.0f} s directly."
        )


def verdict(student: np.ndarray, direct: np.ndarray) -> str:
    """Whether more than chance tells them apart, from who reached which goal, `[N]` bool each."""
    gain, chance = 100 * float(student.mean() - direct.mean()), sign_test(student, direct)
    if chance > _CHANCE:
        return f"{gain:+.1f} percentage points, which chance explains (p = {chance:.2g})"
    return f"the deep teacher {'bought' if gain > 0 else 'cost'} {abs(gain):.1f} percentage points (p = {chance:.2g})"


def sign_test(left: np.ndarray, right: np.ndarray) -> float:
    """Two-sided p of a difference as large between policies that are equally good, from who reached which goal, `[N]`
    bool each: an exact test on the goals that only one of them reached (McNemar 1947).
    """
    only_left, only_right = int(np.sum(left & ~right)), int(np.sum(right & ~left))
    decided = only_left + only_right
    return float(binomtest(only_left, decided).pvalue) if decided else 1.0
