"""NumPy arrays in MessagePack, as openpi's clients and servers write them.

An array is a map with the four byte-string keys `__ndarray__` (true), `data` (its bytes, C order), `dtype`
(NumPy's type string, `<f4` say) and `shape`; a NumPy scalar has `__npgeneric__`, `data` and `dtype`. Nothing here can
run code: only the types of `DTYPES` are taken, and an array must have exactly the bytes that its shape needs.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

import msgpack  # type: ignore[import-untyped]
import numpy as np

from sim2real.errors import ShoalError, shown

_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"
_NAMES = ("|b1", "|i1", "|u1", *(f"{order}{kind}{size}" for order in "<>" for kind in "iu" for size in (2, 4, 8)))
_FLOATS = tuple(f"{order}f{size}" for order in "<>" for size in (2, 4, 8))
DTYPES = {name: np.dtype(name) for name in (*_NAMES, *_FLOATS)}
"""What is taken, by NumPy's `dtype.str`. A table, because `numpy.dtype` itself understands a small language."""
_MAX_DIMENSIONS = 8


def pack(message: dict[str, Any]) -> bytes:
    """Encode one message."""
    packed = msgpack.packb(message, default=_encode)
    assert isinstance(packed, bytes)
    return packed


def unpack(data: bytes) -> Any:
    """The message in `data`; raises `ShoalError` when it is none. Arrays are views on `data`, and read-only."""
    try:
        return msgpack.unpackb(data, object_pairs_hook=_decode, ext_hook=_refuse_extension)
    except ShoalError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.exceptions.UnpackException) as error:
        reason = str(error) or type(error).__name__
        raise ShoalError(f"message: not MessagePack as openpi writes it ({reason[:100]}).") from error


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.str in DTYPES:
        return {_ARRAY: True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic) and value.dtype.str in DTYPES:
        return {_SCALAR: True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"cannot send {type(value).__name__}")


def _decode(pairs: list[tuple[Any, Any]]) -> Any:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ShoalError(f"message: the key {shown(twice)} is there more than once.")
    if _ARRAY in value:
        return _array(value.get(b"data"), _dtype(value.get(b"dtype")), value.get(b"shape"))
    if _SCALAR in value:
        return _scalar(value.get(b"data"), _dtype(value.get(b"dtype")))
    return value


def _array(data: Any, dtype: np.dtype[Any], shape: Any) -> np.ndarray:
    if not isinstance(data, bytes) or not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS:
        raise ShoalError("message: an array needs the keys data, dtype and shape.")
    # None larger than its bytes: beside a zero, NumPy would try to count the others' product.
    fits = all(type(size) is int and 0 <= size <= len(data) for size in shape)
    if not fits or math.prod(shape) * dtype.itemsize != len(data):
        raise ShoalError(f"message: an array of shape {shown(shape)} and type {dtype.str} has {len(data)} bytes.")
    return np.frombuffer(data, dtype).reshape(shape)


def _scalar(data: Any, dtype: np.dtype[Any]) -> np.generic:
    whole = isinstance(data, int)
    if not whole and not (isinstance(data, float) and dtype.kind == "f"):
        raise ShoalError(f"message: {shown(data)} is no number of the type {dtype.str}.")
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= data <= np.iinfo(dtype).max:
        raise ShoalError(f"message: {data} does not fit the type {dtype.str}.")
    with np.errstate(over="ignore"):  # too large for a float of this size is infinite, as everywhere
        value: np.generic = dtype.type(data)
    return value


def _dtype(text: Any) -> np.dtype[Any]:
    dtype = DTYPES.get(text) if isinstance(text, str) else None
    if dtype is None:
        raise ShoalError(f"message: arrays of type {shown(text)} are not taken, only numbers and booleans.")
    return dtype


def _refuse_extension(code: int, data: bytes) -> NoReturn:
    raise ShoalError(f"message: extension type {code} is not taken.")
