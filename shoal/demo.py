"""The console script `shoal-demo`: a policy that ships drives its simulated robot in a browser, with a goal to drag."""

from __future__ import annotations

import sys
import time
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection
from threading import Thread

import tyro

from sim2real.console import command_line, prepare_process
from sim2real.errors import ShoalError

_HERE = Path(__file__).parent
_LONGEST_START_S = 120.0


@dataclass(frozen=True)
class Arguments:
    """Serve a policy that ships with Shoal, with its simulated robot on a page in the browser."""

    model: tyro.conf.Positional[str] = "franka_pose"
    """Name of a policy that ships."""
    page: int = 8080
    """Port of the page."""
    host: str = "127.0.0.1"
    """Interface of the page; beyond loopback, in a container say, it asks for a code, which is printed."""
    socket: Path | None = None
    """Unix socket for `runtime goal`, `runtime estop` and their kin; a private path of this user if not given."""
    browser: bool = True
    """Open the page in the browser as soon as it is there."""


def shipped_models() -> dict[str, Path]:
    """The policy files that ship, by name: in an installed package beside this file, in a checkout in `models/`."""
    folder = next((there for there in (_HERE / "models", _HERE.parent / "models") if there.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))} if folder else {}


def command(arguments: Arguments) -> list[str]:
    """What `runtime` is told; with the limits of the safety layer that ship with the policy, where some do.

    Raises `ShoalError` for a name that none has.
    """
    models = shipped_models()
    if arguments.model not in models:
        there_are = ", ".join(models) or "none"
        raise ShoalError(f"shoal-demo: no policy {arguments.model!r} ships; choose one of {there_are}.")
    file = models[arguments.model]
    told = ["serve", "--model", str(file), "--page", str(arguments.page), "--page-host", arguments.host]
    safety = file.with_suffix(".safety.yaml")
    told += ["--safety", str(safety)] if safety.exists() else []
    return told + (["--socket", str(arguments.socket)] if arguments.socket else [])


def main() -> None:
    """Console script."""
    prepare_process()
    with command_line():
        arguments = tyro.cli(Arguments)
        told = command(arguments)
        if arguments.browser:
            Thread(target=_show, args=(arguments.page,), daemon=True).start()
        from runtime.commands.all_commands import run

        sys.exit(run(told))


def _show(port: int) -> None:
    """Open the page once something answers there."""
    deadline = time.monotonic() + _LONGEST_START_S
    while time.monotonic() < deadline:
        try:
            create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.2)
        else:
            webbrowser.open(f"http://127.0.0.1:{port}")
            return


if __name__ == "__main__":
    main()
