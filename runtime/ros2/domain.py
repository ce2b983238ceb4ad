"""The DDS domain, its topics and their quality of service, following ROS 2's environment variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from cyclonedds.core import DDSException, Listener
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy, Qos
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic

from sim2real.errors import ShoalError

_MAX_DOMAIN = 232
_MOST_TAKEN = 20
_Message = TypeVar("_Message", bound=IdlStruct)

LOOPBACK_CONFIG = """
<CycloneDDS><Domain Id="any">
  <General>
    <AllowMulticast>false</AllowMulticast>
    <Interfaces><NetworkInterface address="127.0.0.1"/></Interfaces>
  </General>
  <Discovery>
    <ParticipantIndex>auto</ParticipantIndex>
    <MaxAutoParticipantIndex>32</MaxAutoParticipantIndex>
    <Peers><Peer Address="127.0.0.1"/></Peers>
  </Discovery>
</Domain></CycloneDDS>
"""
"""Participants on this machine only, found by asking the first 33 ports of the domain."""

INTERFACE_CONFIG = """
<CycloneDDS><Domain Id="any">
  <General><Interfaces><NetworkInterface name="{interface}"/></Interfaces></General>
</Domain></CycloneDDS>
"""
"""Participants that one network interface leads to."""

RELIABLE = Qos(
    Policy.Reliability.Reliable(max_blocking_time=0),
    Policy.Durability.Volatile,
    Policy.History.KeepLast(1),
    Policy.DataRepresentation(use_cdrv0_representation=True),
)
"""As ROS 2's default, with a depth of one: the latest message is the one that counts."""
LATCHED = Qos(
    Policy.Reliability.Reliable(max_blocking_time=0),
    Policy.Durability.TransientLocal,
    Policy.History.KeepLast(1),
    Policy.DataRepresentation(use_cdrv0_representation=True),
)
"""The same for those who come later, too."""
LATEST = Qos(
    Policy.Reliability.BestEffort,
    Policy.Durability.Volatile,
    Policy.History.KeepLast(10),
    Policy.DataRepresentation(use_cdrv0_representation=True),
)
"""For readings: what is lost is not sent again, and publishers of both reliabilities match."""
TRANSFORMS = Qos(
    Policy.Reliability.BestEffort,
    Policy.Durability.Volatile,
    Policy.History.KeepLast(100),
    Policy.DataRepresentation(use_cdrv0_representation=True),
)
"""The same for /tf, on which many publishers tell of different frames."""
STATIC_TRANSFORMS = Qos(
    Policy.Reliability.Reliable(max_blocking_time=0),
    Policy.Durability.TransientLocal,
    Policy.History.KeepLast(100),
    Policy.DataRepresentation(use_cdrv0_representation=True),
)
"""For /tf_static, which is told once, before or after we come."""


def domain_id() -> int:
    """`ROS_DOMAIN_ID`, 0 if not set; raises `ShoalError` when it is no domain."""
    text = os.environ.get("ROS_DOMAIN_ID", "0") or "0"
    if not text.isdigit() or int(text) > _MAX_DOMAIN:
        raise ShoalError(f"ROS_DOMAIN_ID is {text!r}; it must be a number from 0 to {_MAX_DOMAIN}.")
    return int(text)


def is_open(network: bool) -> bool:
    """Whether others on the network may take part: only when asked for, here or in ROS 2's own way."""
    return network or os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "") in ("SUBNET", "SYSTEM_DEFAULT")


class Participant:
    """One participant of `domain_id()`. On the loopback interface only, unless `network`, or an `interface` is named,
    or `CYCLONEDDS_URI` is set, which then says everything.
    """

    def __init__(self, *, network: bool, interface: str = "") -> None:
        number = domain_id()
        configured = bool(os.environ.get("CYCLONEDDS_URI"))
        self._domain = None
        try:
            if not configured and interface:
                self._domain = Domain(number, INTERFACE_CONFIG.format(interface=interface))
            elif not configured and not is_open(network):
                self._domain = Domain(number, LOOPBACK_CONFIG)
            self._participant = DomainParticipant(number)
        except DDSException as error:
            by = f" over the network interface {interface!r}, which must be one that is up" if interface else ""
            raise ShoalError(f"ros2: cannot join DDS domain {number}{by} ({error.msg}).") from error
        reach = "CYCLONEDDS_URI" if configured else interface or ("network" if is_open(network) else "loopback only")
        self.description = f"domain {number}, {reach}"

    def writer(self, name: str, kind: type[_Message], qos: Qos = RELIABLE) -> DataWriter[_Message]:
        """Publishes on the ROS topic `name`."""
        return DataWriter(self._participant, self._topic(name, kind), qos=qos)

    def reader(
        self, name: str, kind: type[_Message], listener: Listener | None = None, *, qos: Qos = RELIABLE
    ) -> DataReader[_Message]:
        """Subscribes to the ROS topic `name`."""
        return DataReader(self._participant, self._topic(name, kind), qos=qos, listener=listener)

    def close(self) -> None:
        """Leave the domain."""
        del self._participant
        self._domain = None

    def _topic(self, name: str, kind: type[_Message]) -> Topic[Any]:
        return Topic(self._participant, mangled(name), kind)


def mangled(name: str) -> str:
    """The DDS topic of a ROS topic: `/goal_pose` is `rt/goal_pose`."""
    return f"rt/{name.lstrip('/')}"


def samples(
    reader: DataReader[_Message], kind: type[_Message], say: Callable[[str], None], *, most: int = _MOST_TAKEN
) -> Iterator[_Message]:
    """All that has arrived and can be read, `most` at once; what cannot be read is said."""
    for _ in range(most):
        try:
            # One at a time: what cannot be read must not take others with it.
            taken = reader.take(1)
        except DDSException as error:
            say(f"cannot read from DDS ({error.msg})")
            return
        except ShoalError as error:
            say(str(error))
            continue
        if not taken:
            return
        # A publisher that leaves is reported as a sample without data.
        if isinstance(taken[0], kind):
            yield taken[0]
