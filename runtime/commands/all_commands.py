"""All sub-commands of `runtime`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

from runtime.commands.files import Bench, Inspect, Replay, Verify
from runtime.commands.goals import Cancel, Goal, Goals
from runtime.commands.robots import Check, Doctor, Play
from runtime.commands.safety import Chaos, Safety
from runtime.commands.servers import Page, Ros2, Serve, ServePolicy, Simulate
from runtime.commands.stops import Estop, Release, Stop
from runtime.commands.watching import Status, Top
from runtime.process.output import relayed_output
from sim2real.console import command_line, prepare_process

_Command = (
    Annotated[Serve, subcommand("serve")]
    | Annotated[Goal, subcommand("goal")]
    | Annotated[Goals, subcommand("goals")]
    | Annotated[Cancel, subcommand("cancel")]
    | Annotated[Status, subcommand("status")]
    | Annotated[Top, subcommand("top")]
    | Annotated[Page, subcommand("page")]
    | Annotated[Stop, subcommand("stop")]
    | Annotated[Estop, subcommand("estop")]
    | Annotated[Release, subcommand("release")]
    | Annotated[Inspect, subcommand("inspect")]
    | Annotated[Verify, subcommand("verify")]
    | Annotated[Bench, subcommand("bench")]
    | Annotated[Replay, subcommand("replay")]
    | Annotated[Safety, subcommand("safety")]
    | Annotated[Chaos, subcommand("chaos")]
    | Annotated[Doctor, subcommand("doctor")]
    | Annotated[Check, subcommand("check")]
    | Annotated[Play, subcommand("play")]
    | Annotated[ServePolicy, subcommand("policy-server")]
    | Annotated[Simulate, subcommand("simulate")]
    | Annotated[Ros2, subcommand("ros2")]
)

_SERVERS = (Serve, ServePolicy, Simulate, Page, Ros2)
"""Commands that others rely on while they run, whatever becomes of the terminal."""


def run(arguments: list[str]) -> int:
    """The exit status; a `ShoalError` becomes one sentence on standard error and ends with exit status 2."""
    prepare_process()
    command: Any = None
    with command_line():
        command = tyro.cli(
            _Command,
            args=arguments,
            prog="runtime",
            description="Run policy files on robots.",
        )
    if command is None:  # whoever read the help has seen enough
        return 0
    status = 0
    with relayed_output() if isinstance(command, _SERVERS) else nullcontext(), command_line():
        status = int(command.run())
    return status
