"""Messages of a fixed size as NumPy records: their bytes on the wire, and the checksum that they carry.

    packet = Packet(LOW_COMMAND)
    packet["motor_cmd"]["q"][:12] = targets
    packet.seal()
    packet.cdr()

A record lies in memory as the robot's own C structure does, over which the checksum is computed. On the wire it is
plain CDR, where each number is aligned as in C, but a structure is not padded at its end: the bytes are the same in
another place. Messages are little-endian here, whose encapsulation is `00 01` (CDR) or `00 07` (CDR version 2, which
for numbers of at most four bytes is the same).
"""

from __future__ import annotations

import sys
import zlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim2real.errors import ShoalError

_HEADER = b"\x00\x01\x00\x00"
_ENCAPSULATIONS = (b"\x00\x01", b"\x00\x07")
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits the other way round."""
_ONES = 0xFFFFFFFF
assert sys.byteorder == "little", "records are laid out for little-endian machines"


class Packet:
    """One message; `packet[field]` is a view, to be read and written. Its last field, `crc`, where it has one, is its
    checksum.
    """

    __slots__ = ("_bytes", "_dtype", "record")

    def __init__(self, dtype: np.dtype[np.void]) -> None:
        self._dtype = dtype
        # The byte more is what padding on the wire is filled with.
        self._bytes = np.zeros(dtype.itemsize + 1, np.uint8)
        self.record: NDArray[np.void] = self._bytes[:-1].view(dtype)

    def __getitem__(self, field: str) -> NDArray[Any]:
        return self.record[field][0]  # type: ignore[no-any-return]

    def __setitem__(self, field: str, value: object) -> None:
        self.record[field] = value

    def cdr(self) -> bytes:
        """What goes over the wire, with the encapsulation's header."""
        return _HEADER + self._bytes[_places(self._dtype)].tobytes()

    @classmethod
    def from_cdr(cls, dtype: np.dtype[np.void], data: bytes, name: str) -> Packet:
        """The message `name` in these bytes; `ShoalError` where they are none."""
        places = _places(dtype)
        require(dtype, data, name)
        packet = cls(dtype)
        packet._bytes[places] = np.frombuffer(data, np.uint8, len(places), len(_HEADER))
        packet._bytes[-1] = 0
        return packet

    def checksum(self) -> int:
        """Of everything before the field `crc`."""
        return _crc(self._bytes[: self._dtype.itemsize - 4].view(np.uint32).byteswap().tobytes())

    def seal(self) -> None:
        """Write the checksum into `crc`."""
        self["crc"] = self.checksum()

    @property
    def is_whole(self) -> bool:
        """Whether `crc` is the checksum."""
        return bool(self["crc"] == self.checksum())


class Numbers:
    """Some numbers of 32 bits of every message of a kind, straight from its bytes, as a control loop wants them.

    A path is a field, or a field and one in it, and then the indices where there are several:
    `("motor_state", "q", slots)`.
    """

    def __init__(self, dtype: np.dtype[np.void], *paths: tuple[Any, ...]) -> None:
        places = [place for path in paths for place in _bytes_of(dtype, path)]
        self._positions = _positions(dtype)[places]

    def floats(self, data: bytes) -> NDArray[np.float64]:
        """`[N]` in the order of the paths, of a message that `require` has seen."""
        return np.frombuffer(data, np.uint8)[self._positions].view("<f4").astype(np.float64)

    def integer(self, data: bytes) -> int:
        """The only one, where it is one without a sign."""
        return int(np.frombuffer(data, np.uint8)[self._positions].view("<u4")[0])


def require(dtype: np.dtype[np.void], data: bytes, name: str) -> None:
    """Raise `ShoalError` where these bytes are no message `name`."""
    size = len(_places(dtype))
    if data[:2] not in _ENCAPSULATIONS:
        raise ShoalError(f"not a {name}: it is encapsulated as {data[:2].hex() or 'nothing'}, not 0001.")
    if len(data) - len(_HEADER) < size:
        raise ShoalError(f"not a {name}: it has {len(data) - len(_HEADER)} bytes, not {size}.")


def checksum(dtype: np.dtype[np.void], data: bytes) -> int:
    """Of a message that `require` has seen, as `Packet.checksum`."""
    return _crc(np.frombuffer(data, np.uint8)[_swapped_words(dtype)].tobytes())


def _crc(words: bytes) -> int:
    """CRC-32/MPEG-2 (polynomial 04C11DB7, begun with ones, nothing reflected) of the robot's words of 32 bits, whose
    bytes come here with the highest first.

    zlib's CRC-32 is the same with all bits the other way round, and inverted at the end.
    """
    backwards = zlib.crc32(words.translate(_REVERSED)) ^ _ONES
    return int(f"{backwards:032b}"[::-1], 2)


def _bytes_of(dtype: np.dtype[Any], path: tuple[Any, ...]) -> list[int]:
    """Places of a path's bytes in the record."""
    name, *rest = path
    field, offset = (dtype.fields or {})[name][:2]
    if field.subdtype is not None and field.subdtype[0].fields is not None:
        inner, slots = rest
        base = field.subdtype[0]
        starts = [offset + int(slot) * base.itemsize for slot in slots]
        within = _bytes_of(base, (inner,))
        return [start + place for start in starts for place in within]
    if rest:
        return [offset + place for place in _bytes_of(field, tuple(rest))]
    return [*range(offset, offset + field.itemsize)]


@cache
def _positions(dtype: np.dtype[np.void]) -> NDArray[np.intp]:
    """For each byte of the record, which byte of a message it is; 0, which is one of value 0, for padding."""
    positions = np.zeros(dtype.itemsize + 1, np.intp)
    positions[_places(dtype)] = np.arange(len(_places(dtype))) + len(_HEADER)
    positions[-1] = 0
    return positions[:-1]


@cache
def _swapped_words(dtype: np.dtype[np.void]) -> NDArray[np.intp]:
    """The same of everything before the checksum, the highest byte of each word first."""
    words: NDArray[np.intp] = _positions(dtype)[: dtype.itemsize - 4].reshape(-1, 4)[:, ::-1].ravel()
    return words


@cache
def _places(dtype: np.dtype[np.void]) -> NDArray[np.intp]:
    """For each byte on the wire, which byte of the record it is; one past the record's end for padding."""
    places: list[int] = []
    _lay_out(dtype, 0, places, dtype.itemsize)
    return np.array(places)


def _lay_out(dtype: np.dtype[Any], offset: int, places: list[int], padding: int) -> None:
    """Append the bytes of what lies at `offset` of the record."""
    if dtype.fields is not None:
        for name in dtype.names or ():
            field, at = dtype.fields[name][:2]
            _lay_out(field, offset + at, places, padding)
    elif dtype.subdtype is not None:
        base, shape = dtype.subdtype
        for index in range(shape[0]):
            _lay_out(base, offset + index * base.itemsize, places, padding)
    else:
        places.extend([padding] * (-len(places) % dtype.alignment))
        places.extend(range(offset, offset + dtype.itemsize))
