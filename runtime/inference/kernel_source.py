"""From an ONNX graph to C: one call per node over vectors in one scratch buffer, weights packed beside it.

Only batch 1 is computed, so every tensor is a vector `[size]`, whether the graph writes it `[1, size]` or `[size]`.
The source holds sizes and offsets but no weights: two students of the same shape share one compiled kernel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.inference.onnx_graph import Graph, Node
from runtime.native.build import Unsupported
from sim2real.errors import first_line, shown

FUNCTION = "shoal_kernel"
"""`void shoal_kernel(void **buffers)`: weights, scratch, then the inputs and the outputs in the order asked for."""
_LANES = 8
_MOST_NUMBERS = 2**24
"""In a constant that is made of others, and in the scratch buffer."""
_UNARY = ("Sigmoid", "Tanh", "Relu", "Exp", "Neg", "Abs", "Sqrt", "Reciprocal")
_BINARY = ("Add", "Sub", "Mul", "Div", "Min", "Max")


@dataclass(frozen=True)
class Kernel:
    """What has to be compiled, and the buffers that it needs."""

    source: str
    weights: NDArray[np.float32]
    scratch_size: int
    """Floats."""


@dataclass(frozen=True)
class _Vector:
    pointer: str
    size: int

    def shifted(self, offset: int, size: int) -> _Vector:
        return _Vector(f"{self.pointer} + {offset}", size)


def generate(graph: Graph, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> Kernel:
    """C for a graph with these vector sizes. Raises `Unsupported`, naming the node that it does not know."""
    try:
        with np.errstate(all="ignore"):  # constants that are not finite give what the comparison of the engines refuses
            return _Generator(graph, inputs).finish(outputs)
    except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
        raise Unsupported(f"its nodes do not fit together ({first_line(error)})") from error


class _Generator:
    def __init__(self, graph: Graph, inputs: Mapping[str, int]) -> None:
        self._constants = dict(graph.constants)
        self._lines: list[str] = []
        self._weights: list[NDArray[np.float32]] = []
        self._weight_count = self._scratch_count = 0
        self._placed: dict[str, _Vector] = {}
        self._values = {name: _Vector(f"in_{index}", size) for index, (name, size) in enumerate(inputs.items())}
        self._declare("in", len(inputs), first=2, const=True)
        self._input_count = len(inputs)
        for node in graph.nodes:
            if len(node.outputs) != 1:
                raise Unsupported(f"node {node.operator} has {len(node.outputs)} outputs")
            folded = self._known(node)
            if folded is None:
                self._values[node.outputs[0]] = self._compute(node)
            else:
                self._constants[node.outputs[0]] = folded

    def finish(self, outputs: Mapping[str, int]) -> Kernel:
        self._declare("out", len(outputs), first=2 + self._input_count, const=False)
        for index, (name, size) in enumerate(outputs.items()):
            value = self._value(name)
            if value.size != size:
                raise Unsupported(f"output {name} has {value.size} numbers instead of {size}")
            self._lines.append(f"op_Copy({size}, out_{index}, {value.pointer});")
        operations = (resources.files("runtime.inference") / "operations.c").read_text()
        body = "\n".join(f"  {line}" for line in self._lines)
        head = f"void {FUNCTION}(void **buffers) {{\n  const float *w = buffers[0];\n  float *s = buffers[1];"
        weights = np.concatenate(self._weights) if self._weights else np.zeros(1, np.float32)
        return Kernel(f"{operations}\n{head}\n{body}\n}}\n", weights, max(self._scratch_count, 1))

    def _declare(self, name: str, count: int, *, first: int, const: bool) -> None:
        kind = "const float" if const else "float"
        self._lines += [f"{kind} *{name}_{index} = buffers[{first + index}];" for index in range(count)]

    def _known(self, node: Node) -> NDArray[Any] | None:
        """What a node gives whatever the inputs are: shapes, as the batch is 1, and what is made of constants alone."""
        if node.operator == "Shape" and not node.attributes and node.inputs[0] in self._values:
            return np.array([1, self._values[node.inputs[0]].size], np.int64)
        if not all(name in self._constants for name in node.inputs):
            return None
        operands = [self._constants[name] for name in node.inputs]
        if node.operator == "Gather":
            _require_small(node, operands[0].size * max(operands[1].size, 1))
            return np.asarray(np.take(operands[0], operands[1], axis=node.attributes.get("axis", 0)))
        if node.operator == "Concat":
            _require_small(node, sum(operand.size for operand in operands))
            return np.concatenate(operands, axis=node.attributes["axis"])
        if node.operator == "Expand":
            wanted = tuple(operands[1].reshape(-1).tolist())
            _require_small(node, operands[0].size * max(math.prod(wanted), 1))
            return np.array(np.broadcast_to(operands[0], np.broadcast_shapes(operands[0].shape, wanted)))
        return None

    def _compute(self, node: Node) -> _Vector:
        operator = node.operator
        if operator in _UNARY:
            source = self._value(node.inputs[0])
            return self._emit(f"op_{operator}", source.size, source.pointer)
        if operator in _BINARY:
            return self._fold(operator, [self._value(name) for name in node.inputs])
        method = getattr(self, f"_compute_{operator}", None)
        if method is None:
            raise Unsupported(f"node {operator} is not known to it")
        result: _Vector = method(node)
        return result

    def _fold(self, operator: str, operands: Sequence[_Vector]) -> _Vector:
        """Min and Max take any number of operands, the others two."""
        result = operands[0]
        for operand in operands[1:]:
            size = max(result.size, operand.size)
            if {result.size, operand.size} - {1, size}:
                raise Unsupported(f"node {operator} mixes sizes {result.size} and {operand.size}")
            pairs = ", ".join(f"{part.pointer}, {int(part.size > 1)}" for part in (result, operand))
            result = self._emit(f"op_{operator}", size, pairs)
        return result

    def _compute_Identity(self, node: Node) -> _Vector:
        return self._value(node.inputs[0])

    def _compute_Clip(self, node: Node) -> _Vector:
        result = self._value(node.inputs[0])
        for operator, name in zip(("Max", "Min"), node.inputs[1:], strict=False):
            if name:
                result = self._fold(operator, [result, self._value(name)])
        return result

    def _compute_Concat(self, node: Node) -> _Vector:
        self._require_last_axis(node, node.attributes.get("axis", 0))
        parts = [self._value(name) for name in node.inputs]
        result = self._scratch(sum(part.size for part in parts))
        offset = 0
        for part in parts:
            self._lines.append(f"op_Copy({part.size}, {result.shifted(offset, 0).pointer}, {part.pointer});")
            offset += part.size
        return result

    def _compute_Slice(self, node: Node) -> _Vector:
        source = self._value(node.inputs[0])
        start, end = (self._integer(node, name) for name in node.inputs[1:3])
        self._require_last_axis(node, self._integer(node, node.inputs[3]) if len(node.inputs) > 3 else 0)
        step = self._integer(node, node.inputs[4]) if len(node.inputs) > 4 else 1
        chosen = range(source.size)[start:end:step]
        if step != 1 or not chosen:
            raise Unsupported("node Slice is empty or has a step")
        return source.shifted(chosen.start, len(chosen))

    def _compute_MatMul(self, node: Node) -> _Vector:
        return self._product(node, np.float32(1))

    def _compute_Gemm(self, node: Node) -> _Vector:
        if node.attributes.get("transA", 0) or node.attributes.get("beta", 1.0) not in (0.0, 1.0):
            raise Unsupported("node Gemm has transA or a beta other than 0 and 1")
        return self._product(node, np.float32(node.attributes.get("alpha", 1.0)))

    def _product(self, node: Node, alpha: np.float32) -> _Vector:
        source, matrix = self._value(node.inputs[0]), self._constant(node, node.inputs[1])
        if node.attributes.get("transB", 0):
            matrix = matrix.T
        if matrix.ndim != 2 or len(matrix) != source.size:
            raise Unsupported(f"node {node.operator} multiplies {source.size} numbers by {list(matrix.shape)}")
        depth, columns = matrix.shape
        padded = _round_up(columns)
        wide = np.zeros((depth, padded), np.float32)
        wide[:, :columns] = alpha * matrix
        bias = np.zeros(padded, np.float32)
        if len(node.inputs) > 2 and node.inputs[2] and node.attributes.get("beta", 1.0):
            bias[:columns] = self._constant(node, node.inputs[2]).reshape(-1)
        weights, offsets = self._place(_blocks(wide)), self._place(bias)
        result = self._scratch(padded)
        arguments = f"{depth}, {padded}, {result.pointer}, {source.pointer}, {weights}, {offsets}"
        self._lines.append(f"op_Gemm({arguments});")
        return _Vector(result.pointer, columns)

    def _compute_LayerNormalization(self, node: Node) -> _Vector:
        self._require_last_axis(node, node.attributes.get("axis", -1))
        source, scale = self._value(node.inputs[0]), self._value(node.inputs[1])
        has_bias = len(node.inputs) > 2 and node.inputs[2]
        bias = self._value(node.inputs[2]).pointer if has_bias else self._place(np.zeros(source.size, np.float32))
        epsilon = float(np.float32(node.attributes.get("epsilon", 1e-5))).hex()
        return self._emit(
            "op_LayerNormalization", source.size, f"{source.pointer}, {scale.pointer}, {bias}, {epsilon}f"
        )

    def _emit(self, function: str, size: int, arguments: str) -> _Vector:
        result = self._scratch(size)
        self._lines.append(f"{function}({size}, {result.pointer}, {arguments});")
        return result

    def _scratch(self, size: int) -> _Vector:
        result = _Vector(f"s + {self._scratch_count}", size)
        self._scratch_count += _round_up(size)
        if self._scratch_count > _MOST_NUMBERS:
            raise Unsupported(f"it computes more than {_MOST_NUMBERS} numbers")
        return result

    def _value(self, name: str) -> _Vector:
        if name in self._values:
            return self._values[name]
        if name not in self._placed:
            constant = self._constants.get(name)
            if constant is None or constant.dtype != np.float32 or constant.size not in (1, *constant.shape[-1:]):
                raise Unsupported(f"value {shown(name)} is neither computed nor a vector of floats")
            self._placed[name] = _Vector(self._place(constant.reshape(-1)), constant.size)
        return self._placed[name]

    def _constant(self, node: Node, name: str) -> NDArray[Any]:
        if name not in self._constants:
            raise Unsupported(f"node {node.operator} multiplies two computed values")
        return self._constants[name]

    def _integer(self, node: Node, name: str) -> int:
        constant = self._constants.get(name)
        if constant is None or constant.size != 1:
            raise Unsupported(f"node {node.operator} has bounds that are not one constant each")
        return int(constant.reshape(-1)[0])

    @staticmethod
    def _require_last_axis(node: Node, axis: int) -> None:
        if axis not in (1, -1):
            raise Unsupported(f"node {node.operator} works along axis {axis}")

    def _place(self, values: NDArray[np.float32]) -> str:
        """Append constants to the weights, aligned to whole vectors, and say where."""
        where = f"w + {self._weight_count}"
        padded = np.zeros(_round_up(values.size), np.float32)
        padded[: values.size] = values
        self._weights.append(padded)
        self._weight_count += padded.size
        return where


def _blocks(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """`[K, N]` as blocks of 64, 32, 16 and 8 columns, each stored row by row: the order in which they are read."""
    parts, column = [], 0
    for width in (64, 32, 16, 8):
        count = (matrix.shape[1] - column) // width if width == 64 else int(matrix.shape[1] - column >= width)
        for _ in range(count):
            parts.append(matrix[:, column : column + width].reshape(-1))
            column += width
    return np.concatenate(parts)


def _require_small(node: Node, size: int) -> None:
    """Refuse large constants that are made of others; two dozen nodes could double one to gigabytes."""
    if size > _MOST_NUMBERS:
        raise Unsupported(f"node {node.operator} makes a constant of {size} numbers")


def _round_up(size: int) -> int:
    return -(-size // _LANES) * _LANES
