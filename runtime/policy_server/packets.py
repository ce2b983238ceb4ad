"""The policy server's messages on a Unix socket: one packet each, fixed layout, little-endian. J is the joints' number.

A connection begins with one packet from the server, a `greeting.Hello` as JSON: version, contract digest, names, and
every field of the two messages with type, shape, byte offset, unit and frame. After that each packet of the client is
one request and is answered by one reply. All fields lie on multiples of their size and all numbers of a request are
eight bytes wide after its first eight, so a plain C struct has the same layout.

    request   magic version flags contract sequence time_s age_s readings... joint_effort[J] goal...
    reply     magic version kind contract sequence server_s command[J] reachability distance_m angle_deg
              state reason commanding reached repeated

where the readings are those of the contract under their own names, and the goal's parts those of its graph:
`joint_position[7] joint_velocity[7] end_effector_position[3] ... goal_position[3] goal_orientation[4]`, say.

`contract` is the first eight bytes of the contract's SHA-256, as they stand: a client that was built for another
policy is answered by an error. So is everything else that cannot be served: `kind` is then `Kind.ERROR`, and one
sentence in UTF-8 follows the first 24 bytes. In the same way a request with the flag `EXPLAIN` is answered: by why the
robot is in its state, with the reading that is at fault.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any

import numpy as np

from sim2real.contract import Contract

VERSION = 1
MAGIC = 0x504C4853
"""`SHLP` in memory."""
HEADER = struct.Struct("<IHH8sQ")
"""magic, version, flags or kind, contract, sequence."""
RESET = 1
"""Request flag: begin anew, from the measured joints."""
EXPLAIN = 4
"""Request flag: say in words why the robot's state is what it is; nothing is computed."""
WARM_UP = 2
"""Request flag: compute an answer and throw it away; the reply is the last one again."""
MAX_ERROR_BYTES = 500
MAX_NUMBERS = 4096
"""Of a request."""


class Kind(IntEnum):
    """What a reply is."""

    COMMAND = 1
    ERROR = 2
    EXPLANATION = 3
    """One sentence in UTF-8 after the header, as of an error."""


_HEADER_FIELDS: list[tuple[Any, ...]] = [("magic", "<u4"), ("version", "<u2")]
_IDENTITY: list[tuple[Any, ...]] = [("contract", "V8"), ("sequence", "<u8")]
REQUEST_HEAD: list[tuple[Any, ...]] = [
    *_HEADER_FIELDS,
    ("flags", "<u2"),
    *_IDENTITY,
    ("time_s", "<f8"),
    ("age_s", "<f8"),
]
"""The fields that every request begins with."""


def request_dtype(contract: Contract) -> np.dtype[np.void]:
    """Layout of one request."""
    joints = len(contract.joint_names)
    sizes = dict(contract.measured.sizes) | {"joint_effort": joints} | goal_sizes(contract)
    numbers = [(name, "<f8", (size,)) for name, size in sizes.items()]
    return np.dtype([*REQUEST_HEAD, *numbers])


def goal_sizes(contract: Contract) -> dict[str, int]:
    """Fields of a request that say the goal, name to size."""
    sizes = dict(contract.goal.layout(contract).sizes)
    # A client of a policy that only knows places sends an orientation, too, as it always did; nobody reads it.
    return sizes | {UNREAD: 4} if sizes == {"goal_position": 3} else sizes


UNREAD = "goal_orientation"
"""The field that a policy which reaches positions only takes and ignores."""


def input_names(request: np.dtype[np.void]) -> tuple[str, ...]:
    """Fields of a request that a policy or a safety rule reads."""
    names = request.names or ()
    return names[names.index("age_s") + 1 :]


def reply_dtype(joints: int) -> np.dtype[np.void]:
    """One reply of kind `COMMAND`."""
    return np.dtype(
        [
            *_HEADER_FIELDS,
            ("kind", "<u2"),
            *_IDENTITY,
            ("server_s", "<f8"),
            ("command", "<f8", joints),
            ("reachability", "<f8"),
            ("distance_m", "<f8"),
            ("angle_deg", "<f8"),
            ("state", "u1"),
            ("reason", "u1"),
            ("commanding", "u1"),
            ("reached", "u1"),
            ("repeated", "u1"),
            ("padding", "u1", 3),
        ]
    )


def memory_of(record: np.ndarray) -> memoryview:
    """The bytes of a message, writable in place."""
    return memoryview(record.data).cast("B")
