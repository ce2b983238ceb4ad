"""Which readings a robot can have: no policy may be trained on what no sensor measures.

Simulation knows everything. A policy that reads what only simulation knows learns well and cannot be deployed, and
nobody notices before the robot. A task may declare an estimator for such a reading; then somebody has thought of it.
What only a simulation knows belongs to `teacher_readings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sim2real.terms import Reading


def unmeasurable(readings: Sequence[Reading], estimators: Mapping[str, str]) -> list[str]:
    """What is wrong with completed readings that no sensor measures and that no estimator is declared for."""
    names = [reading.name for reading in readings]
    unknown = [name for name in estimators if name not in names]
    said = [f"estimators: {name!r} is no reading of the task; it has {', '.join(names)}" for name in unknown]
    return said + [
        f"readings: {reading.name!r} cannot be measured on a robot: {reading.unmeasured}. If your robot has an "
        f"estimator for it, say which under `estimators: {{{reading.name}: ...}}`; what only a teacher needs goes "
        "under `teacher_readings`"
        for reading in readings
        if reading.source in (None, "simulation")
    ]
