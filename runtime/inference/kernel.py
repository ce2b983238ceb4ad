"""An optional engine below ONNX Runtime: the policy's graph as a C function, compiled for this processor.

    run = make_kernel(content, inputs, outputs)       # arrays [1, size] by name, bound for good
    require_agreement(run, session_run, inputs, outputs, samples)
    run()                                             # reads the inputs, writes the outputs

ONNX Runtime spends about half a microsecond on each node, and the policy of two layers of 128 that ships has 58 of
them. The kernel is never trusted blindly: `runtime.inference.policy` compares it with ONNX Runtime at every load.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from runtime.inference.kernel_source import FUNCTION, generate
from runtime.inference.onnx_graph import read_graph
from runtime.native.build import Unsupported, compile_library, load_library

__all__ = ["KERNEL_TOLERANCE", "Unsupported", "make_kernel", "require_agreement"]

Float32 = NDArray[np.float32]
Run = Callable[[], None]
KERNEL_TOLERANCE = 1e-5
"""Largest difference to ONNX Runtime, rad for commands; what export allows between ONNX Runtime and JAX."""
_NEAR_SAMPLES = 192
_FAR_SAMPLES = 64
_ALIGNMENT = 64
"""A cache line, and a multiple of every vector register."""


def make_kernel(content: bytes, inputs: Mapping[str, Float32], outputs: Mapping[str, Float32]) -> Run:
    """Compile an ONNX file's graph, or find it compiled, and bind it: one inference in place, which allocates nothing.

    Raises `Unsupported` with the reason.
    """
    sizes = ({name: array.size for name, array in arrays.items()} for arrays in (inputs, outputs))
    code = generate(read_graph(content), *sizes)
    function = load_library(compile_library(code.source))[FUNCTION]
    function.argtypes, function.restype = (ctypes.c_void_p,), None
    weights, scratch = _aligned(code.weights.size), _aligned(code.scratch_size)
    np.copyto(weights, code.weights)
    arrays = [weights, scratch, *inputs.values(), *outputs.values()]
    pointers = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
    run = partial(function, ctypes.c_void_p(ctypes.addressof(pointers)))
    # The compiled code knows addresses only, so whoever holds the function must hold the memory too.
    vars(run)["memory"] = pointers, arrays
    return run


def require_agreement(
    kernel: Run,
    reference: Run,
    inputs: Mapping[str, Float32],
    outputs: Mapping[str, Float32],
    samples: Mapping[str, Float32],
) -> float:
    """Largest difference between two engines bound to the same arrays: over `samples`, `[N, size]` by name, over inputs
    near them and far from them, and over inputs that are not a number, which both must answer with none.

    Raises `Unsupported` above `KERNEL_TOLERANCE`. The inputs are zero afterwards.
    """
    worst = 0.0
    for sample in _check_inputs({name: samples[name] for name in inputs}):
        for name, array in inputs.items():
            array[0] = sample[name]
        answers = []
        for run in (reference, kernel):
            run()
            answers.append(np.concatenate([array[0] for array in outputs.values()]))
        finite = np.isfinite(answers[0])
        if not np.array_equal(finite, np.isfinite(answers[1])):
            raise Unsupported("it treats numbers that are not finite otherwise than ONNX Runtime")
        worst = max(worst, float(np.abs(answers[0] - answers[1])[finite].max(initial=0.0)))
    for array in inputs.values():
        array[:] = 0
    if worst > KERNEL_TOLERANCE:
        raise Unsupported(f"it differs from ONNX Runtime by {worst:.1e}, more than {KERNEL_TOLERANCE:.0e}")
    return worst


def _check_inputs(samples: Mapping[str, Float32]) -> Iterator[dict[str, Float32]]:
    rng = np.random.default_rng(0)
    rows = [
        {name: array[index] for name, array in samples.items()} for index in range(len(next(iter(samples.values()))))
    ]
    yield from rows
    for spread, count in ((0.1, _NEAR_SAMPLES), (2.0, _FAR_SAMPLES)):
        for number in range(count):
            row = rows[number % len(rows)]
            yield {n: (x + spread * rng.standard_normal(x.shape)).astype(np.float32) for n, x in row.items()}
    for damaged in samples:
        yield rows[0] | {damaged: np.full_like(rows[0][damaged], np.nan)}


def _aligned(size: int) -> Float32:
    raw = np.zeros(size * 4 + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size * 4].view(np.float32)
