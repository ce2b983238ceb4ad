"""Reading a topic of which the newest usable message counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from cyclonedds.core import DDSException
from cyclonedds.idl import IdlStruct
from cyclonedds.qos import Policy, Qos
from cyclonedds.sub import DataReader

from sim2real.errors import ShoalError

_Message = TypeVar("_Message", bound=IdlStruct)
_KEPT = 4


def _recent(*more: object) -> Qos:
    return Qos(
        Policy.Reliability.BestEffort,
        Policy.Durability.Volatile,
        Policy.History.KeepLast(_KEPT),
        Policy.DataRepresentation(use_cdrv0_representation=True),
        *more,
    )


RECENT = _recent()
"""The last few messages, whoever sends them; writers of both reliabilities match."""
RECENT_OF_OTHERS = _recent(Policy.IgnoreLocal.Participant)
"""The same without what this participant sends itself."""


def newest_first(reader: DataReader[_Message], kind: type[_Message], say: Callable[[str], None]) -> Iterator[_Message]:
    """What has arrived since the last time, the newest first; what cannot be read is said and left out."""
    try:
        taken = reader.take(_KEPT)
    except (DDSException, ShoalError) as error:
        say(f"cannot read from DDS ({error})")
        return
    # A publisher that leaves is reported as a sample without data.
    yield from (message for message in reversed(taken) if isinstance(message, kind))
