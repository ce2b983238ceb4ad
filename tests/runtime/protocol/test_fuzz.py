"""Bytes from outside: whatever they are, the answer is a value or a `ShoalError`."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.goals.messages import parse_goal
from runtime.inference.policy import Policy
from runtime.protocol.messages import PROTOCOL_VERSION, parse_reply, parse_request
from runtime.safety import load_safety
from sim2real.contract import Contract
from sim2real.contract.policy_file import CERTIFICATE_KEY, CONTRACT_DIGEST_KEY, CONTRACT_KEY, read_metadata
from sim2real.errors import ShoalError
from sim2real.tasks.task import load_task
from tests.runtime.small_policy import write_policy

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
GOAL = {"position": [0.5, 0.1, 0.4], "orientation_wxyz": [0, 1, 0, 0], "timeout_s": 3, "id": "a"}
MESSAGES = [
    {"v": PROTOCOL_VERSION, "type": "goal", "goal": GOAL},
    {"v": PROTOCOL_VERSION, "type": "status"},
    {"v": PROTOCOL_VERSION, "type": "object", "position": [0.5, 0.1, 0.04], "stamp": 3.5, "source": "camera"},
    {"v": PROTOCOL_VERSION, "type": "cancel"},
    {"v": PROTOCOL_VERSION, "type": "accepted", "number": 1},
]
EDITS = st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4), st.integers(0, 8)), min_size=1, max_size=6)


def edited(content: bytes, edits: list[tuple[int, bytes, int]]) -> bytes:
    """Replaces some bytes by others, of the same or another number."""
    for place, new, old in edits:
        at = place % (len(content) + 1)
        content = content[:at] + new + content[at + old :]
    return content


def refused_or_returned(call: Callable[[], object]) -> None:
    said = "returned"
    try:
        call()
    except ShoalError as error:
        said = str(error)
    assert 0 < len(said) < 2000


@given(st.binary(max_size=300))
@example(b"[" * 100_000)
@example(b'{"v":' + b"9" * 5000 + b"}")
@example(b'{"a":' * 2000)
def test_any_bytes_as_a_message(line: bytes) -> None:
    refused_or_returned(lambda: parse_request(line))
    refused_or_returned(lambda: parse_reply(line))


@given(st.sampled_from(MESSAGES), EDITS)
def test_damaged_messages(message: dict, edits: list[tuple[int, bytes, int]]) -> None:
    line = edited(json.dumps(message).encode(), edits)
    refused_or_returned(lambda: parse_request(line))
    refused_or_returned(lambda: parse_reply(line))


@given(st.sampled_from(MESSAGES), st.text(max_size=12), JSON)
def test_messages_with_other_fields(message: dict, name: str, value: object) -> None:
    for field in (name, *message):
        line = json.dumps(message | {field: value}).encode()
        refused_or_returned(lambda line=line: parse_request(line))


@given(st.sampled_from([*GOAL, "frame", "rpy", "stamp", "anything"]), JSON)
def test_goals_with_other_fields(field: str, value: object) -> None:
    refused_or_returned(lambda: parse_goal(GOAL | {field: value}))
    refused_or_returned(lambda: parse_goal(value))


CONTRACT = load_task("franka_pose").contract


@cache
def policy_bytes() -> bytes:
    """A real policy file. Not a fixture: hypothesis would print all of it."""
    with TemporaryDirectory() as folder:
        return write_policy(Path(folder) / "student.onnx", CONTRACT).read_bytes()


def load(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "student.onnx"
        path.write_bytes(content)
        Policy(path)


@settings(max_examples=150, deadline=None)
@given(edits=EDITS)
def test_damaged_policy_files(edits: list[tuple[int, bytes, int]]) -> None:
    refused_or_returned(lambda: load(edited(policy_bytes(), edits)))


@settings(max_examples=60, deadline=None)
@given(length=st.integers(0, 10**6))
def test_policy_files_that_are_cut_off(length: int) -> None:
    with pytest.raises(ShoalError):
        load(policy_bytes()[: length % len(policy_bytes())])


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_as_a_policy_file(content: bytes) -> None:
    with pytest.raises(ShoalError):
        load(content)


def properties() -> dict[str, str]:
    return {prop.key: prop.value for prop in onnx.load_model_from_string(policy_bytes()).metadata_props}


@settings(deadline=None)
@given(key=st.sampled_from([CONTRACT_KEY, CERTIFICATE_KEY, CONTRACT_DIGEST_KEY]), edits=EDITS)
def test_damaged_metadata(key: str, edits: list[tuple[int, bytes, int]]) -> None:
    damaged = properties()
    damaged[key] = edited(damaged[key].encode(), edits).decode(errors="replace")
    refused_or_returned(lambda: read_metadata(damaged, path="student.onnx"))


@settings(deadline=None)
@given(
    path=st.lists(st.sampled_from([*Contract.model_fields, "joints", "name", "0", "step_max"]), max_size=3), value=JSON
)
def test_contracts_with_other_values(path: list[str], value: object) -> None:
    data = json.loads(CONTRACT.canonical_json)
    here = data
    for step in path[:-1]:
        here = here.get(step, here) if isinstance(here, dict) else here
    if path and isinstance(here, dict):
        here[path[-1]] = value
    text = json.dumps(data)
    metadata = {CONTRACT_KEY: text, CONTRACT_DIGEST_KEY: CONTRACT.digest, CERTIFICATE_KEY: "{}"}
    with pytest.raises(ShoalError):
        read_metadata(metadata, path="student.onnx")


@settings(deadline=None)
@given(
    st.binary(max_size=80) | st.text(max_size=80).map(str.encode) | JSON.map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_as_safety_settings(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "safety.yaml"
        path.write_bytes(content)
        refused_or_returned(lambda: load_safety(path))
