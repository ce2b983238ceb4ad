"""Parsers of files: recordings, policies, their kernels, settings, goals, trajectories, contracts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from mcap.writer import Writer

from benchmarks.transport.fuzzing.damage import Damage
from benchmarks.transport.fuzzing.network import GOAL, MODEL, contract, damaged_json, policy
from benchmarks.transport.fuzzing.parser import Parse, Parser
from runtime.control.loop import Loop
from runtime.control.telemetry import Telemetry
from runtime.diagnostics.chaos.rig import NoExchange, Rig
from runtime.goals.messages import load_goals
from runtime.inference.kernel_source import generate
from runtime.inference.onnx_graph import read_graph
from runtime.inference.policy import Policy
from runtime.ipc.telemetry_ring import Ring
from runtime.native.build import Unsupported
from runtime.recording.replay import compare, core_of
from runtime.recording.writer import Recorder
from runtime.safety import SafetyConfig, load_safety
from sim2real.commands.shared import read_contract
from sim2real.contract.policy_file import (
    CERTIFICATE_KEY,
    CONTRACT_DIGEST_KEY,
    CONTRACT_KEY,
    HISTORY_INPUT,
    input_sizes,
)
from sim2real.contract.schema import plain_digest
from sim2real.errors import ShoalError
from sim2real.identification.excitation import read_trajectory
from sim2real.logs.log import Log
from sim2real.logs.recording import METADATA, read_recording

_TICKS = 10
_MEMORY = Path("/dev/shm")
_YAML = (
    b"a: &a [x, x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (name, name, b", ".join([b"*%c" % (name - 1)] * 8)) for name in b"bcdefgh"),
    b"&a [*a]",
    b"!!python/object/apply:os.system ['true']",
    b"<<: {velocity_share: 0.1}\nvelocity_share: 0.2\n",
    b"? [1, 2]\n: 3\n",
    b"velocity_share: 190:20:30\n",
    b"--- 1\n--- 2\n",
)


@contextmanager
def _file(name: str, read: Callable[[Path], object]) -> Iterator[Parse]:
    """Inputs as a file of that name, in memory where the system has such a folder."""
    with TemporaryDirectory(prefix="shoal-fuzz-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as folder:
        path = Path(folder) / name

        def parse(content: bytes) -> object:
            path.write_bytes(content)
            return read(path)

        yield parse


@cache
def _recorded() -> tuple[bytes, dict[str, str], list[tuple[str, dict[str, Any]]]]:
    """A recording as a file, and as its facts and messages."""
    rig, ring = Rig(policy()), Ring.create(contract())
    rig.loop = Loop(rig.driver, rig.core, NoExchange(), telemetry=Telemetry(ring, rig.core))
    ring.ask_for_memory()
    rig.move()
    rig.tick(_TICKS)
    # Judging by geometry needs a model of physics for every input.
    facts = {"safety": SafetyConfig().model_dump_json(), "geometry": "off", "engine": policy().engine}
    with TemporaryDirectory(prefix="shoal-fuzz-") as folder:
        recorder = Recorder(Path(folder) / "run.mcap", contract(), facts)
        recorder.write(ring.drain(), ring.memory)
        recorder.close()
        ring.close()
        recording = read_recording(recorder.path)
        return recorder.path.read_bytes(), facts | {"contract": contract().canonical_json}, recording.messages


def _recording(damage: Damage) -> bytes:
    """Damaged bytes, or a sound file of damaged messages, whose checksums are right."""
    rng, (content, facts, messages) = damage.rng, _recorded()
    if rng.random() < 0.4:
        return damage.content(content)
    messages, facts = list(messages), dict(facts)
    if rng.random() < 0.2:
        key = rng.choice(list(facts))
        facts[key] = damage.content(facts[key].encode()).decode(errors="replace")
    if rng.random() < 0.3:
        del messages[: rng.randrange(len(messages))]
    texts: list[tuple[str, bytes]] = [(topic, json.dumps(message).encode()) for topic, message in messages]
    for _ in range(rng.randint(1, 3)):
        index = rng.randrange(len(messages))
        topic, message = messages[index]
        texts[index] = topic, damaged_json(damage, [message])
    return _mcap(facts, texts)


def _mcap(facts: dict[str, str], messages: list[tuple[str, bytes]]) -> bytes:
    buffer = BytesIO()
    writer = Writer(buffer, chunk_size=8192, enable_data_crcs=True)
    writer.start(profile="", library="shoal")
    writer.add_metadata(METADATA, facts)
    channels = {topic: writer.register_channel(topic, "json", 0) for topic in ("/tick", "/event")}
    for topic, data in messages:
        writer.add_message(channels[topic], 0, data, 0)
    writer.finish()  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _read_recording(path: Path) -> None:
    """Read a recording as `runtime replay` and the reports of `sim2real` do."""
    recording = read_recording(path)
    problem = None
    try:
        Log.of(recording).segments()
    except ShoalError as error:
        problem = error
    compare(recording, core_of(recording, policy()))
    if problem is not None:
        raise problem


@cache
def _model() -> Any:
    return onnx.load_model_from_string(MODEL.read_bytes())


def _policy(damage: Damage) -> bytes:
    """Damage to the metadata, or to the graph."""
    if damage.rng.random() < 0.5:
        return _graph(damage)
    model = onnx.ModelProto()
    model.CopyFrom(_model())
    _damage_metadata(damage, model)
    return bytes(model.SerializeToString())


def _graph(damage: Damage) -> bytes:
    """Damage to nodes and constants, or to any bytes but the largest of them."""
    if damage.rng.random() < 0.4:
        return _outside_weights(damage)
    model = onnx.ModelProto()
    model.CopyFrom(_model())
    for _ in range(damage.rng.randint(1, 2)):
        _damage_graph(damage, model.graph)
    return bytes(model.SerializeToString())


def _outside_weights(damage: Damage) -> bytes:
    content = MODEL.read_bytes()
    weights: bytes = max((tensor.raw_data for tensor in _model().graph.initializer), key=len)
    begin = content.index(weights)
    before, after = content[:begin], content[begin + len(weights) :]
    if damage.rng.random() < 0.5:
        return damage.content(before) + weights + after
    return before + weights + damage.content(after)


def _damage_metadata(damage: Damage, model: Any) -> None:
    properties = {entry.key: entry for entry in model.metadata_props}
    key = damage.rng.choice((CONTRACT_KEY, CONTRACT_KEY, CERTIFICATE_KEY, CONTRACT_DIGEST_KEY))
    text = properties[key].value
    if key != CONTRACT_DIGEST_KEY and damage.rng.random() < 0.8:
        text = json.dumps(damage.tree(json.loads(text)))
    if damage.rng.random() < 0.3:
        text = damage.content(text.encode()).decode(errors="replace")
    properties[key].value = text.encode("utf-8", "replace").decode()
    if key == CONTRACT_KEY and damage.rng.random() < 0.7:
        _sign(properties)


def _sign(properties: dict[str, Any]) -> None:
    """Digests that fit the damaged contract, so that more than they looks at it."""
    try:
        digest = plain_digest(json.loads(properties[CONTRACT_KEY].value))
    except (ValueError, RecursionError):
        return
    certificate = json.loads(properties[CERTIFICATE_KEY].value) | {"contract_sha256": digest}
    properties[CONTRACT_DIGEST_KEY].value, properties[CERTIFICATE_KEY].value = digest, json.dumps(certificate)


_OPERATORS = (
    "Gemm",
    "MatMul",
    "Add",
    "Concat",
    "Reshape",
    "Slice",
    "LayerNormalization",
    "Softmax",
    "",
    "If",
    "NoSuch",
)
_DIMENSIONS = (0, 1, 2, 3, 127, 129, 2**20, 2**31, 2**62, -1)


def _damage_graph(damage: Damage, graph: Any) -> None:
    rng = damage.rng
    node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
    match rng.randrange(9):
        case 0:
            node.op_type = rng.choice(_OPERATORS)
        case 1:
            node.input[:] = rng.choice((node.input[::-1], [*node.input, "no such value"], node.input[:-1], [""]))
        case 2:
            node.output[:] = rng.choice(([], [*node.output, "more"], [rng.choice(graph.node).name or "x"]))
        case 3:
            tensor.dims[:] = [rng.choice(_DIMENSIONS) for _ in range(rng.randrange(5))]
        case 4:
            tensor.raw_data = damage.content(tensor.raw_data[:512]) + tensor.raw_data[512:]
        case 5:
            tensor.data_type = rng.choice((0, 1, 2, 6, 7, 8, 9, 10, 11, 16, 99))
        case 6:
            value = rng.choice((*graph.input, *graph.output))
            value.name = rng.choice((value.name + "_", "", "history", "goal_position"))
        case 7:
            shape = rng.choice((*graph.input, *graph.output)).type.tensor_type.shape
            shape.dim[rng.randrange(len(shape.dim))].dim_value = rng.choice(_DIMENSIONS)
        case _:
            at = rng.randrange(len(graph.node))
            moved = deepcopy(graph.node[at])
            del graph.node[at]
            if rng.random() < 0.5:
                graph.node.insert(rng.randrange(len(graph.node)), moved)


@contextmanager
def _kernels() -> Iterator[Parse]:
    """The source only: compiling it takes seconds, and a compiler is no parser of ours."""
    inputs = {name: size for name, size in input_sizes(contract()).items() if name != HISTORY_INPUT}
    outputs = {"joint_position_command": len(contract().joint_names), "reachability": 1}

    def parse(content: bytes) -> object:
        return generate(read_graph(content), inputs, outputs)

    yield parse


def _settings(damage: Damage) -> bytes:
    if damage.rng.random() < 0.1:
        return damage.content(damage.rng.choice(_YAML))
    if damage.rng.random() < 0.05:
        return damage.rng.choice(_YAML)
    return damaged_json(damage, [SafetyConfig().model_dump(mode="json"), {"acceleration_max_rad_s2": [1.0] * 7}])


def _goals(damage: Damage) -> bytes:
    if damage.rng.random() < 0.1:
        return damage.content(damage.rng.choice(_YAML))
    return damaged_json(damage, [[GOAL, {"planar": [0.5, 0.1, 0.3]}, {"joints": {"a": 0.1}, "queue": True}]])


def _trajectory(damage: Damage) -> bytes:
    period, names = contract().timing.control_dt_s, contract().joint_names
    rows = [["time_s", *names], *([f"{period * row:.3f}", *["0.1"] * len(names)] for row in range(6))]
    if damage.rng.random() < 0.5:
        row = damage.rng.choice(rows)
        row[damage.rng.randrange(len(row))] = str(damage.rng.choice(("nan", "inf", "1e999", '"', "", "9" * 500, "0x1")))
    text = "\n".join(",".join(row) for row in rows).encode()
    return damage.content(text) if damage.rng.random() < 0.7 else text


FILES = (
    Parser("recording", _recording, partial(_file, "run.mcap", _read_recording)),
    Parser("policy file", _policy, partial(_file, "student.onnx", Policy)),
    Parser("kernel graph", _graph, _kernels, (Unsupported,)),
    Parser("safety settings", _settings, partial(_file, "safety.yaml", load_safety)),
    Parser("list of goals", _goals, partial(_file, "goals.yaml", load_goals)),
    Parser("trajectory", _trajectory, partial(_file, "t.csv", lambda path: read_trajectory(path, contract()))),
    Parser(
        "contract",
        lambda damage: damaged_json(damage, [json.loads(contract().canonical_json)]),
        partial(_file, "contract.json", lambda path: read_contract(str(path))),
    ),
)
