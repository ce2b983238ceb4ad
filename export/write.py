"""Writing the policy file: graph, contract, certificate and the keys that other stacks read."""

from __future__ import annotations

import json
from pathlib import Path

from export.certificate import certify
from export.graph import convert
from sim2real.contract import Contract, require_same_interface
from sim2real.contract.policy_file import (
    CERTIFICATE_KEY,
    CONTRACT_DIGEST_KEY,
    CONTRACT_KEY,
    FILE_DIGEST_KEY,
    LICENSE_KEY,
    UNSEALED,
    Certificate,
    sealed,
)
from sim2real.evaluation.record import EVALUATION_KEY
from sim2real.files import write_bytes
from sim2real.progress import Progress
from student.run import Student


def export_student(
    student: Student,
    output: Path,
    *,
    samples: int = 10_000,
    license: str | None = None,
    progress: Progress | None = None,
) -> Certificate:
    """Convert, certify and write; the file appears only when the certificate holds. It also says how the student did
    on held-out goals, where that is known, and under which `license`, an SPDX name, it may be used.
    """
    require_same_interface(
        student.contract, student.task.contract, left_name="the student", right_name="the task today"
    )
    progress = progress or Progress("export", quiet=True)
    progress.doing("converting")
    model = convert(student)
    progress.doing(f"comparing {samples} inputs")
    certificate = certify(student, model, samples=samples)
    properties = metadata_properties(student.contract, certificate)
    if student.evaluation is not None:
        properties[EVALUATION_KEY] = student.evaluation.model_dump_json()
    if license is not None:
        properties[LICENSE_KEY] = license
    for key, value in properties.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    write_bytes(output, sealed(model.SerializeToString()))
    return certificate


def metadata_properties(contract: Contract, certificate: Certificate) -> dict[str, str]:
    """Shoal's own keys, and the plain comma-separated or JSON ones that public deployment stacks read.

    Floats are written in full precision; public stacks that round to three decimals lose small gains.
    """
    joints = contract.robot.joints
    return {
        CONTRACT_KEY: contract.canonical_json,
        CONTRACT_DIGEST_KEY: contract.digest,
        CERTIFICATE_KEY: json.dumps(certificate.model_dump(mode="json"), sort_keys=True),
        "joint_names": ",".join(contract.joint_names),
        "joint_stiffness": ",".join(repr(joint.stiffness) for joint in joints),
        "joint_damping": ",".join(repr(joint.damping) for joint in joints),
        "default_joint_pos": ",".join(repr(joint.home_position) for joint in joints),
        "action_scale": ",".join(repr(scale) for scale in contract.action.step_max),
        "observation_names": ",".join(reading.name for reading in contract.readings),
        FILE_DIGEST_KEY: UNSEALED,
        "command_names": ",".join(contract.goal.layout(contract).sizes),
    }
