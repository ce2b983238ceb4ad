"""The console script `runtime`.

An emergency stop of a server on this machine comes before everything else, the imports of all other commands included.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from runtime.protocol.stop_socket import default_socket, stop_directly

_IN_FORCE_S = 0.5


def main(arguments: list[str] | None = None) -> None:
    """Ends with the command's exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    status = _stopped(given[1:]) if given[:1] == ["estop"] else b""
    if status:
        from runtime.status import GoalStatus

        print(GoalStatus.model_validate_json(status).line)
        raise SystemExit(0)
    from runtime.commands.all_commands import run

    raise SystemExit(run(given))


def _stopped(options: list[str]) -> bytes:
    """The status with the stop in force; empty where that needs more than a path, and where nobody answers there."""
    match options:
        case []:
            address = ""
        case ["--address", address]:
            pass
        case [option] if option.startswith("--address="):
            address = option.removeprefix("--address=")
        case _:
            return b""
    if address.startswith("tcp://"):
        return b""
    with suppress(OSError):
        path = Path(address.removeprefix("unix://")).absolute() if address else default_socket()
        return stop_directly(path, timeout_s=_IN_FORCE_S)
    return b""


if __name__ == "__main__":
    main()
