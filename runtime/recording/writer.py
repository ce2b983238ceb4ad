"""Writes telemetry records into an MCAP file; a killed process leaves a file that can be read up to its last second."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from runtime.ipc.telemetry_ring import Kind, Ring
from runtime.recording.schemas import channels, encode, require_names, stamp
from runtime.status import Reason, State
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.files import require_writable
from sim2real.logs.recording import METADATA

_CHUNK_BYTES = 64 * 1024
_PACKAGES = ("foxglove_schemas_protobuf", "mcap", "mcap_protobuf")


def require_packages() -> None:
    """Raises `ShoalError` with one sentence when something is missing that a recording needs."""
    try:
        for name in _PACKAGES:
            import_module(name)
    except ImportError as error:
        raise ShoalError(f"--record needs the packages of shoal[log]: pip install 'shoal[log]' ({error}).") from error


def require_recordable(path: Path) -> None:
    """Refuse a recording that could not be written, before anything moves."""
    require_packages()
    require_writable(path, what="--record")
    if path.exists():
        raise ShoalError(f"--record: {path} exists; recordings are never overwritten, choose another name.")
    if not path.absolute().parent.is_dir():
        raise ShoalError(f"--record: there is no folder {path.parent}; create it first.")


class Recorder:
    """One recording. After a failure to write (a full disk, say) it says so once and writes no more."""

    def __init__(self, path: Path, contract: Contract, facts: dict[str, str]) -> None:
        self.path, self.failed = path, False
        self._contract = contract
        require_packages()
        require_names(contract)
        self._path_in_use = path
        self._file: Any = None
        try:
            self._begin(facts)
        except OSError as error:
            self._fail(error)

    def _begin(self, facts: dict[str, str]) -> None:
        from mcap.writer import Writer

        from runtime.recording.views import Views

        # Appending: a restarted gateway must not cut off what its predecessor wrote.
        self._path_in_use = _fresh(self.path)
        self._file = self._path_in_use.open("wb")
        self._writer: Any = Writer(self._file, chunk_size=_CHUNK_BYTES, enable_data_crcs=True)
        self._writer.start(profile="", library="shoal")
        self._writer.add_metadata(METADATA, {"contract": self._contract.canonical_json, **facts})
        self._channels: dict[str, int] = {}
        for topic, (name, schema) in channels(self._contract).items():
            schema_id = self._writer.register_schema(name, "jsonschema", json.dumps(schema).encode())
            self._channels[topic] = self._writer.register_channel(topic, "json", schema_id)
        self._views = Views(self._writer, self._contract)

    def write(self, records: np.ndarray, memory: Callable[[int], dict[str, Any] | None] = lambda tick: None) -> None:
        """Append records of a `runtime.ipc.telemetry_ring.Ring`, whose `memory` it asks; never raises."""
        if self.failed:
            return
        try:
            for record in records:
                if record["kind"] == Kind.TICK:
                    self._write_tick(record)
                elif record["kind"] != Kind.MEMORY:
                    self._write_event(record)
                elif remembered := memory(int(record["tick"])):
                    self._write_memory(record, remembered)
            self._file.flush()
            if os.fstat(self._file.fileno()).st_nlink == 0:
                raise FileNotFoundError("the file was deleted")
        except (OSError, ValueError) as error:
            self._fail(error)

    def follow(self, ring: Ring) -> Callable[[np.ndarray, int], None]:
        """What a reader of the ring calls with its records and how many it has lost so far. At the beginning and after
        every gap, the control loop is asked what it remembers.
        """
        seen = ring.lost
        ring.ask_for_memory()

        def update(records: np.ndarray, lost: int) -> None:
            nonlocal seen
            self.write(records, ring.memory)
            if lost > seen:
                seen = lost
                ring.ask_for_memory()

        return update

    def close(self) -> None:
        """Write the index and close; never raises."""
        try:
            if not self.failed:
                self._writer.finish()
            if self._file is not None:
                self._file.close()
        except (OSError, ValueError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self.failed:
            return
        self.failed = True
        print(f"recording  stopped: {self._path_in_use}: {error}; the robot goes on", file=sys.stderr, flush=True)

    def _add(self, topic: str, wall_ns: int, message: dict[str, Any], sequence: int = 0) -> None:
        self._writer.add_message(self._channels[topic], wall_ns, encode(message), wall_ns, sequence)

    def _write_tick(self, record: Any) -> None:
        wall_ns, readings = int(record["wall_ns"]), record["readings"].tolist()
        state, reason = State(int(record["state"])).label, Reason(int(record["reason"]))
        message = {
            "timestamp": stamp(wall_ns),
            "tick": int(record["tick"]),
            "now_s": float(record["now_s"]),
            "measured_s": float(record["measured_s"]),
            "goal_number": int(record["goal_number"]),
            "joint_effort": record["joint_effort"].tolist(),
            **{name: readings[part] for name, part in self._contract.measured.slices.items()},
            "command": record["command"].tolist(),
            "commanding": bool(record["commanding"]),
            "state": state,
            "reason": reason.name.lower(),
            "reached": bool(record["reached"]),
            "within_tolerance": bool(record["within_tolerance"]),
            "distance_m": float(record["distance_m"]),
            "angle_deg": float(record["angle_deg"]),
            "reachability": float(record["reachability"]),
            "clamped": int(record["clamped"]),
            "missed_periods": int(record["missed_periods"]),
            "lateness_us": record["lateness_ns"] / 1e3,
            "step_us": record["step_ns"] / 1e3,
            "tick_us": record["tick_ns"] / 1e3,
        }
        self._add("/tick", wall_ns, message, message["tick"])
        self._views.tick(wall_ns, message, readings, reason.sentence)

    def _write_event(self, record: Any) -> None:
        wall_ns, kind = int(record["wall_ns"]), Kind(int(record["kind"]))
        message: dict[str, Any] = {
            "timestamp": stamp(wall_ns),
            "kind": kind.name.lower(),
            "now_s": float(record["now_s"]),
            "goal_number": int(record["goal_number"]),
        }
        if kind is Kind.GOAL:
            request = record["request"].tolist()
            message |= {"goal_id": bytes(record["goal_id"]).decode(), "request": request}
            names = ("position_tolerance_m", "angle_tolerance_deg", "valid_for_s", "speed")
            message |= {name: float(record[name]) for name in names}
            self._views.goal(wall_ns, request)
        elif kind is Kind.IMPOSE:
            message["reason"] = Reason(int(record["reason"])).name.lower()
        self._add("/event", wall_ns, message)

    def _write_memory(self, record: Any, remembered: dict[str, Any]) -> None:
        wall_ns, goal = int(record["wall_ns"]), remembered["goal"]
        message = {
            "timestamp": stamp(wall_ns),
            "kind": Kind.MEMORY.name.lower(),
            "now_s": float(record["now_s"]),
            "goal_number": int(record["goal_number"]),
            "tick": int(record["tick"]),
            "memory": remembered,
        }
        if goal is not None:
            self._views.goal(wall_ns, goal["request"])
        self._add("/event", wall_ns, message)


def _fresh(path: Path) -> Path:
    """`path`, or `path` with a number when a gateway before this one has already written there."""
    candidate, number = path, 1
    while candidate.exists() and candidate.stat().st_size:
        number += 1
        candidate = path.with_name(f"{path.stem}.{number}{path.suffix}")
    return candidate
