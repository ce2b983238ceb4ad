"""What an exported policy file holds, shared by the side that writes it and the side that runs it.

A policy file is one ONNX graph from physical quantities to physical quantities, `float32`, with a free first
dimension `batch`:

    inputs   every reading of `contract.readings` under its own name, `[batch, size]`
             the goal's parts, `goal_position [batch, 3]` m and for poses `goal_orientation [batch, 4]` wxyz, say
    outputs  `joint_position_command [batch, J]` rad, within all limits of the contract
             (`joint_velocity_command` rad/s or `joint_effort_command` N m where drives are told these)
             `reachability [batch, 1]`, the probability that the goal is reached within an episode

A policy with a memory has one more of each, of the same size: `history` and `next_history [batch, H]`. It keeps no
state of its own: feed zeros at a start and after every interruption, and afterwards what came out in the step before.

Its metadata properties carry the contract and the certificate as JSON in full precision, and the plain keys
that other deployment stacks read.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from sim2real.contract import Contract, Frozen, plain_digest
from sim2real.errors import ShoalError, printable, problems

CONTRACT_KEY = "shoal.contract"
CONTRACT_DIGEST_KEY = "shoal.contract_sha256"
CERTIFICATE_KEY = "shoal.certificate"
FILE_DIGEST_KEY = "shoal.file_sha256"
LICENSE_KEY = "license"
"""An SPDX name, where whoever exported gave one."""
UNSEALED = "0" * 64
"""The value of `FILE_DIGEST_KEY` in the bytes whose SHA-256 that value then is."""

REACHABILITY_OUTPUT = "reachability"
HISTORY_INPUT = "history"
HISTORY_OUTPUT = "next_history"


class Certificate(Frozen):
    """Measured when the file was written: agreement with the policy that was trained, and cost."""

    contract_sha256: str
    sealed: bool = False
    """Whether the file holds a digest of all its bytes; those of earlier versions don't."""
    samples: Annotated[int, Field(ge=1)]
    """Number of compared inputs, on-policy and range-extreme together."""
    max_abs_error: Annotated[float, Field(ge=0)]
    """Largest difference of any output, JAX against ONNX Runtime (rad for commands)."""
    p99_abs_error: Annotated[float, Field(ge=0)]
    opset: int
    nodes: int
    parameters: int
    tick_us_p50: float
    """Median time of one inference on the exporting machine, batch 1, one thread."""
    tick_us_p99: float
    machine: str
    versions: dict[str, str]
    golden_inputs: dict[str, list[list[float]]]
    """A few inputs, by name, for re-checking the file elsewhere."""
    golden_outputs: dict[str, list[list[float]]]
    """What the trained policy answers to them."""


def command_output(contract: Contract) -> str:
    """Name of the output that drives are told, after what that is; `command` where they differ."""
    modes = {joint.mode for joint in contract.robot.joints}
    return f"joint_{modes.pop()}_command" if len(modes) == 1 else "command"


def input_sizes(contract: Contract) -> dict[str, int]:
    """Graph inputs in order, name to size."""
    return {r.name: r.size for r in contract.readings} | dict(contract.goal.layout(contract).sizes)


def read_metadata(properties: dict[str, str], *, path: str) -> tuple[Contract, Certificate]:
    """Contract and certificate from a file's metadata properties, checked against each other."""
    missing = [key for key in (CONTRACT_KEY, CONTRACT_DIGEST_KEY, CERTIFICATE_KEY) if key not in properties]
    if missing:
        raise ShoalError(f"{path}: not a Shoal policy, metadata {missing} is missing; write it with export-onnx.")
    try:
        contract = Contract.model_validate_json(properties[CONTRACT_KEY])
        certificate = Certificate.model_validate_json(properties[CERTIFICATE_KEY])
    except ValidationError as error:
        what = f"the {error.title.lower()}"
        raise ShoalError(f"{path}: {what} inside is damaged: {problems(error)}; export the student again.") from error
    # Of the text as it was written: a contract of an older version reads, and hashes, as another one.
    written = plain_digest(json.loads(properties[CONTRACT_KEY]))
    stated = {"metadata": properties[CONTRACT_DIGEST_KEY], "certificate": certificate.contract_sha256}
    for place, digest in stated.items():
        if digest != written:
            raise ShoalError(
                f"{path}: the contract inside has digest {written[:12]} but the {place} says {printable(digest[:12])}; "
                "the file was changed after export, export the student again."
            )
    return contract, certificate


def sealed(content: bytes) -> bytes:
    """A policy file's bytes with their digest in the place of `UNSEALED`."""
    start, end = _digest_place(content)
    return content[:start] + hashlib.sha256(content).hexdigest().encode() + content[end:]


def require_intact(path: Path, certificate: Certificate) -> None:
    """Refuse a sealed policy file of which a single bit is not as it was exported."""
    if not certificate.sealed:
        return
    content = path.read_bytes()
    start, end = _digest_place(content)
    written = content[:start] + UNSEALED.encode() + content[end:]
    if content[start:end] != hashlib.sha256(written).hexdigest().encode():
        raise ShoalError(f"{path}: damaged or changed after export; copy it again, or export the student again.")


def _digest_place(content: bytes) -> tuple[int, int]:
    """Where the digest's characters begin and end: in protobuf, behind the key, a tag and their number."""
    start = content.rfind(FILE_DIGEST_KEY.encode()) + len(FILE_DIGEST_KEY) + 2
    return start, start + len(UNSEALED)
