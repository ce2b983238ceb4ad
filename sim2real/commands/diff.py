"""`sim2real diff`: two contracts, in words."""

from __future__ import annotations

from typing import Annotated

import tyro

from sim2real.commands.shared import read_contract
from sim2real.contract import PER_POLICY, differences
from sim2real.contract.words import sentences

Side = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK|FILE")]


def diff(a: Side, b: Side) -> None:
    """Compare two contracts in words; exit status 1 where a policy for one must not drive the other.

    Args:
        a: a shipped task, a task's .yaml, a policy's .onnx or a contract's .json.
        b: the same.
    """
    left, right = read_contract(a), read_contract(b)
    found = sentences(left, right, left_name=a, right_name=b)
    if not found:
        print(f"{a} and {b} have the same contract, {left.digest[:16]}.")
        return
    for sentence in found:
        print(sentence)
    interface = differences(left, right, ignore=PER_POLICY)
    if interface:
        print(f"{len(interface)} of the interface's fields differ: a policy made for one must not drive the other.")
        raise SystemExit(1)
    print("The interface is the same; only what belongs to one policy differs.")
