"""NumPy arrays in MessagePack, as openpi's clients and servers write them.

An array is a map with the four byte-string keys `__ndarray__` (true), `data` (its bytes, C order), `dtype`
(NumPy's type string, `<f4` say) and `shape`; a NumPy scalar has `__npgeneric__`, `data` and `dtype`. Nothing here can
run code: only numbers and booleans are taken, and an array must have exactly the bytes that its shape needs.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np

from sim2real.errors import ShoalError

_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"
_KINDS = "biuf"
_MAX_DIMENSIONS = 8


def pack(message: dict[str, Any]) -> bytes:
    """One message."""
    packed = msgpack.packb(message, default=_encode)
    assert isinstance(packed, bytes)
    return packed


def unpack(data: bytes) -> Any:
    """The message in `data`; raises `ShoalError` when it is none. Arrays are views on `data`, and read-only."""
    try:
        return msgpack.unpackb(data, object_hook=_decode)
    except ShoalError:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        reason = str(error) or type(error).__name__
        raise ShoalError(f"message: not MessagePack as openpi writes it ({reason[:100]}).") from error


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in _KINDS:
        return {_ARRAY: True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic) and value.dtype.kind in _KINDS:
        return {_SCALAR: True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"cannot send {type(value).__name__}")


def _decode(value: dict[Any, Any]) -> Any:
    if _ARRAY in value:
        return _array(value.get(b"data"), _dtype(value.get(b"dtype")), value.get(b"shape"))
    if _SCALAR in value:
        return _dtype(value.get(b"dtype")).type(value.get(b"data"))
    return value


def _array(data: Any, dtype: np.dtype[Any], shape: Any) -> np.ndarray:
    if not isinstance(data, bytes) or not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS:
        raise ShoalError("message: an array needs the keys data, dtype and shape.")
    if not all(type(size) is int and size >= 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(data):
        raise ShoalError(f"message: an array of shape {shape} and type {dtype.str} has {len(data)} bytes.")
    return np.frombuffer(data, dtype).reshape(shape)


def _dtype(text: Any) -> np.dtype[Any]:
    try:
        dtype = np.dtype(text) if isinstance(text, str) and len(text) <= 4 else None
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind not in _KINDS:
        raise ShoalError(f"message: arrays of type {str(text)[:20]!r} are not taken, only numbers and booleans.")
    return dtype
