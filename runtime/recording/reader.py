"""Reading recordings, also ones whose writer was killed: everything up to the last complete chunk."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from runtime.recording.schemas import METADATA, number
from sim2real.contract import Contract
from sim2real.errors import ShoalError


@dataclass(frozen=True)
class Recording:
    """A whole recording in memory."""

    path: Path
    contract: Contract
    facts: dict[str, str]
    """What made it: policy file, driver, options."""
    messages: list[tuple[str, dict[str, Any]]]
    """Topic and message of `/tick` and `/event`, in order."""
    complete: bool
    """False when the writer did not close the file."""

    @property
    def ticks(self) -> list[dict[str, Any]]:
        """Messages of `/tick`."""
        return [message for topic, message in self.messages if topic == "/tick"]

    def column(self, name: str) -> np.ndarray:
        """One field of all ticks, `[T]` or `[T, size]`, float64; unknown numbers are NaN."""
        values = [message[name] for message in self.ticks]
        rows = [[number(x) for x in value] if isinstance(value, list) else number(value) for value in values]
        return np.array(rows, np.float64)


def read_recording(path: Path) -> Recording:
    """Read a recording; `ShoalError` when the file is none."""
    if not path.is_file():
        raise ShoalError(f"recording: no file at {path}.")
    facts: dict[str, str] | None = None
    messages: list[tuple[str, dict[str, Any]]] = []
    complete = False
    for kind, content in _records(path):
        if kind == "metadata":
            facts = content
        elif kind == "end":
            complete = bool(content)
        else:
            messages.append((kind, content))
    if facts is None or "contract" not in facts:
        raise ShoalError(f"{path}: not a recording of runtime serve (no metadata record {METADATA!r}).")
    try:
        contract = Contract.model_validate_json(facts.pop("contract"))
    except ValidationError as error:
        raise ShoalError(f"{path}: the contract inside is damaged; {len(messages)} messages were read.") from error
    return Recording(path, contract, facts, messages, complete)


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        from mcap import exceptions, records
        from mcap.stream_reader import StreamReader
    except ImportError as error:
        raise ShoalError(f"recordings need the package mcap: pip install 'shoal[log]' ({error}).") from error
    topics: dict[int, str] = {}
    with path.open("rb") as file:
        try:
            for record in StreamReader(file, record_size_limit=None).records:
                if isinstance(record, records.Channel):
                    topics[record.id] = record.topic
                elif isinstance(record, records.Metadata) and record.name == METADATA:
                    yield "metadata", dict(record.metadata)
                elif isinstance(record, records.Message) and topics.get(record.channel_id) in ("/tick", "/event"):
                    yield topics[record.channel_id], json.loads(record.data)
            yield "end", True
        except exceptions.InvalidMagic as error:
            raise ShoalError(f"{path}: not an MCAP file.") from error
        except (exceptions.McapError, struct.error, ValueError, OSError):
            # The writer was killed in the middle of a record; what came before it is whole.
            yield "end", False
