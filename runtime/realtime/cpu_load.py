"""Competing load for measurements: processes that take all they can get, one on each core."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from sim2real.child_process import python_program

# Ends by itself when whoever started it is gone, however that happened. An ordinary process, whatever its parent is:
# libfranka makes the thread that connects a real-time one, and children inherit that.
_HOG = """
import os, sys, numpy
parent, core = int(sys.argv[1]), int(sys.argv[2])
if hasattr(os, "sched_setscheduler"):
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
if core >= 0:
    os.sched_setaffinity(0, {core})
matrix = numpy.ones((600, 600), numpy.float32)
print("ready", flush=True)
while os.getppid() == parent:
    matrix @ matrix
"""
_END_S = 5.0


@contextmanager
def competing_load() -> Iterator[int]:
    """Multiplies matrices on every core that this process may use, until the block is left; gives their number."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [-1] * (os.cpu_count() or 1)
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    hogs: list[subprocess.Popen[str]] = []
    try:
        for core in cores:
            command = python_program(_HOG, str(os.getpid()), str(core))
            hogs.append(subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True))
        for hog in hogs:
            assert hog.stdout is not None
            hog.stdout.readline()
        yield len(hogs)
    finally:
        for hog in hogs:
            hog.kill()
        for hog in hogs:
            hog.wait(_END_S)
            if hog.stdout is not None:
                hog.stdout.close()
