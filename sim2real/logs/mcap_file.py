"""What stands in an MCAP file, up to its first damage, without believing any length or compressed size that it states.

    walk = McapWalk(path)
    for item in walk: ...         # metadata and messages, in order
    walk.complete, walk.damage    # whether that was all, and if not, why

The package mcap reads the records; what it would trust is bounded here: a record is no longer than its file, and a
chunk or the sum of all chunks no larger than a recording's can be.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from sim2real.errors import ShoalError, first_line, shown

_LARGEST_CHUNK = 2**20
"""Bytes; the runtime closes its chunks at 64 KiB."""
_LARGEST_WINDOW = 2**23
_LEAST_SUM, _LARGEST_RATIO = 2**22, 64
"""Bytes of all chunks together, and their ratio to the file's size, which is 20 for a robot that stands still."""
_MAGIC_BYTES, _LEAST_MESSAGE = 8, 22


@dataclass(frozen=True)
class McapMetadata:
    """A metadata record."""

    name: str
    values: dict[str, str]


@dataclass(frozen=True)
class McapMessage:
    """A message of a channel."""

    topic: str
    data: bytes


class McapWalk:
    """One pass over a file. Raises `ShoalError` where it is no MCAP file at all."""

    def __init__(self, path: Path) -> None:
        self.complete = False
        """Whether the pass came to the end of a file that its writer closed."""
        self.damage = ""
        """What was wrong where it ended; empty for a file that merely stops, as one whose writer was killed does."""
        self._path = path
        self._room = 0

    def __iter__(self) -> Iterator[McapMetadata | McapMessage]:
        try:
            from mcap.exceptions import EndOfFile, InvalidMagic
        except ImportError as error:
            raise ShoalError(f"recordings need the package mcap: pip install 'shoal[log]' ({error}).") from error
        try:
            size = self._path.stat().st_size
            file = self._path.open("rb")
        except OSError as error:
            raise ShoalError(f"recording: cannot read {self._path}: {error.strerror or error}.") from error
        self._room = max(_LEAST_SUM, _LARGEST_RATIO * size)
        with file:
            stream = _Bounded(file, size)
            try:
                yield from self._items(stream, size)
                self.complete = True
            except InvalidMagic as error:
                if stream.position <= _MAGIC_BYTES:
                    raise ShoalError(f"{self._path}: not an MCAP file.") from error
                self.damage = "its last bytes are not those of an MCAP file"
            except (EndOfFile, struct.error):
                if stream.position < size:
                    self.damage = "a record ends before what it holds does"
                elif size < _MAGIC_BYTES:
                    raise ShoalError(f"{self._path}: not an MCAP file.") from None
            except Exception as error:  # of mcap, zstandard and text decoding, which share no base but Exception
                self.damage = first_line(error)

    def _items(self, stream: Any, size: int) -> Iterator[McapMetadata | McapMessage]:
        from mcap.records import Channel, Chunk, Message, Metadata
        from mcap.stream_reader import StreamReader

        topics: dict[int, str] = {}
        reader = StreamReader(stream, emit_chunks=True, validate_crcs=True, record_size_limit=size)
        for outer in reader.records:
            for record in _chunk_records(self._plain(outer)) if isinstance(outer, Chunk) else [outer]:
                if isinstance(record, Channel):
                    topics[record.id] = record.topic
                elif isinstance(record, Metadata):
                    yield McapMetadata(record.name, dict(record.metadata))
                elif isinstance(record, Message):
                    yield McapMessage(topics.get(record.channel_id, ""), record.data)

    def _plain(self, chunk: Any) -> bytes:
        """What a chunk holds; raises `ValueError` where that is too large or not what its checksum says."""
        from zstandard import ZstdDecompressor

        size = chunk.uncompressed_size
        self._room -= size
        if size > _LARGEST_CHUNK or self._room < 0:
            raise ValueError(f"a chunk claims to hold {size} bytes, more than a recording's can")
        data = chunk.data
        if chunk.compression == "zstd":
            with ZstdDecompressor(max_window_size=_LARGEST_WINDOW).stream_reader(BytesIO(data)) as stream:
                data = stream.read(size + 1)  # one more than stated, so that a larger one shows
        elif chunk.compression:
            raise ValueError(f"a chunk is compressed with {shown(chunk.compression)}; only zstd is read")
        if len(data) != size:
            raise ValueError(f"a chunk does not hold the {size} bytes that it claims")
        if chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
            raise ValueError("a chunk does not have the checksum that it states")
        return bytes(data)


class _Bounded:
    """A file that never makes room for more than it has left."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self.position = 0

    def read(self, length: int) -> bytes:
        """Read at most `length` bytes, and what is left where that is less."""
        data = self._file.read(min(length, self._size - self.position))
        self.position += len(data)
        return data


def _chunk_records(data: bytes) -> Iterator[Any]:
    """Schemas, channels and messages; raises `ValueError` at anything else, of which there could be millions."""
    from mcap.data_stream import ReadDataStream
    from mcap.opcode import Opcode
    from mcap.records import Channel, Message, Schema

    position = 0
    while position < len(data):
        opcode, length = struct.unpack_from("<BQ", data, position)
        position += 9
        content = ReadDataStream(BytesIO(data[position : position + length]))
        position += length
        match opcode:
            case Opcode.SCHEMA:
                yield Schema.read(content)
            case Opcode.CHANNEL:
                yield Channel.read(content)
            case Opcode.MESSAGE if length >= _LEAST_MESSAGE:
                yield Message.read(content, length)
            case _:
                raise ValueError(f"a chunk holds a record of type {opcode} and {length} bytes")
