"""Nodes and constants of an ONNX file, read without the `onnx` package, which a robot does not have.

ONNX Runtime runs a graph but does not hand out its weights, so this reads the few protobuf messages that hold them,
by the field numbers of onnx.proto: ModelProto, GraphProto, NodeProto, AttributeProto and TensorProto. Whatever it
does not understand raises `Unsupported`; nothing is guessed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.native.build import Unsupported
from sim2real.errors import printable, shown

_FLOAT, _INT64 = 1, 7
_DTYPES: dict[Any, np.dtype[Any]] = {_FLOAT: np.dtype("<f4"), _INT64: np.dtype("<i8")}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Node:
    """One operation of the graph's default domain; inputs that were left out have an empty name."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    """Floats, integers and lists of integers by name."""


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can be computed, and the constants, by name."""

    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]


def read_graph(content: bytes) -> Graph:
    """The graph of an ONNX file's bytes. Raises `Unsupported` for what is not plain float or integer data in it."""
    try:
        model = _fields(memoryview(content))
        graph = _fields(_one(model, 7))
        nodes = tuple(_node(item) for item in graph.get(1, []))
        constants = dict(_tensor(item) for item in graph.get(5, []))
    except (ArithmeticError, IndexError, KeyError, TypeError, ValueError, struct.error) as error:
        raise Unsupported(f"its protobuf cannot be read ({type(error).__name__})") from error
    return Graph(nodes, constants)


def _node(data: Any) -> Node:
    fields = _fields(data)
    operator = printable(_text(_one(fields, 4)))
    if 7 in fields and _text(fields[7][0]) not in ("", "ai.onnx"):
        raise Unsupported(f"node {operator} is of the domain {shown(_text(fields[7][0]))}")
    attributes = dict(_attribute(operator, item) for item in fields.get(5, []))
    inputs, outputs = (tuple(_text(item) for item in fields.get(number, [])) for number in (1, 2))
    return Node(operator, inputs, outputs, attributes)


def _attribute(operator: str, data: Any) -> tuple[str, Any]:
    fields = _fields(data)
    name, kind = _text(_one(fields, 1)), fields.get(20, [0])[0]
    if kind == 1:  # a missing number is zero in protobuf
        return name, struct.unpack("<f", fields[2][0])[0] if 2 in fields else 0.0
    if kind == 2:
        return name, _signed(fields[3][0]) if 3 in fields else 0
    if kind == 7:
        return name, [_signed(value) for value in _integers(fields.get(8, []))]
    raise Unsupported(f"node {operator} has an attribute {shown(name)} that is neither number nor list of integers")


def _tensor(data: Any) -> tuple[str, NDArray[Any]]:
    fields = _fields(data)
    name, kind = _text(_one(fields, 8)), fields.get(2, [0])[0]
    shape = [_signed(value) for value in _integers(fields.get(1, []))]
    if kind not in _DTYPES:
        raise Unsupported(
            f"constant {shown(name)} is of ONNX type {kind}, and the kernel computes vectors of floats only, by "
            "indices of int64; onnxruntime does this graph"
        )
    if fields.get(14, [0])[0] or 13 in fields:
        raise Unsupported(f"constant {shown(name)} lies in another file")
    if 9 in fields:
        flat = np.frombuffer(fields[9][0], _DTYPES[kind])
    elif kind == _FLOAT:
        flat = np.frombuffer(b"".join(bytes(item) for item in fields.get(4, [])), _DTYPES[kind])
    else:
        flat = np.array([_signed(value) for value in _integers(fields.get(7, []))], np.int64)
    return name, flat.reshape(shape)


def _fields(data: Any) -> dict[int, list[Any]]:
    """Field number to values, in order: integers for varints, memoryviews for everything else."""
    found: dict[int, list[Any]] = {}
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            found.setdefault(number, []).append(value)
            continue
        if kind == _BYTES:
            size, position = _varint(data, position)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        if position + size > len(data):
            raise IndexError("a field is longer than its message")
        found.setdefault(number, []).append(data[position : position + size])
        position += size
    return found


def _varint(data: Any, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("an integer has more than 64 bits")


def _integers(values: list[Any]) -> Iterator[int]:
    """Repeated integers, packed into one field or written one by one."""
    for value in values:
        if isinstance(value, int):
            yield value
            continue
        position = 0
        while position < len(value):
            number, position = _varint(value, position)
            yield number


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _one(fields: dict[int, list[Any]], number: int) -> Any:
    return fields[number][0]


def _text(data: Any) -> str:
    return bytes(data).decode()
