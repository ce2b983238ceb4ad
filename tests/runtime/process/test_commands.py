"""Every command that others rely on while it runs: signals that end it, and names of files under every locale."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sim2real.child_process import free_port, python_module
from sim2real.logs.recording import read_recording
from sim2real.pages import viser_installed

PATIENCE_S = 120


def policy_server(policy: Path, folder: Path) -> list[str]:
    return ["policy-server", "--model", str(policy), "--socket", str(folder / "p"), "--no-realtime"]


def simulate(policy: Path, folder: Path) -> list[str]:
    return ["simulate", "--model", str(policy), "--address", str(folder / "w")]


def page(policy: Path, folder: Path) -> list[str]:
    # A page of a server that is not there yet says so, and ends like any other.
    return ["page", "--address", str(folder / "nobody"), "--port", str(free_port())]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("command", [policy_server, simulate])
def test_signals_that_end_servers_end_them_in_order(
    policy_path: Path, tmp_path: Path, command: Callable[[Path, Path], list[str]], number: signal.Signals
) -> None:
    process = subprocess.Popen(
        python_module("runtime.cli", *command(policy_path, tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    try:
        seen = b""
        while b"listening" not in seen:
            line = process.stdout.readline()
            assert line, seen
            seen += line
        for _ in range(2):
            process.send_signal(number)
        output = seen + process.communicate(timeout=PATIENCE_S)[0]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, output
    assert b"Traceback" not in output
    assert not [path for path in tmp_path.iterdir() if path.is_socket()]


@pytest.mark.skipif(not viser_installed(), reason="needs shoal[page]")
def test_a_page_of_its_own_waits_for_no_terminal_and_ends_at_sighup(policy_path: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    server = subprocess.Popen(
        python_module(
            "runtime.cli",
            "serve",
            "--model",
            str(policy_path),
            "--socket",
            str(tmp_path / "nobody"),
            "--no-realtime",
            "--quiet",
        ),
        stdout=subprocess.DEVNULL,
    )
    port = free_port()
    process = None
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (tmp_path / "nobody").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        arguments = ["page", "--address", str(tmp_path / "nobody"), "--port", str(port)]
        os.set_blocking(writer, False)
        while True:
            try:
                os.write(writer, b"x" * 4096)
            except BlockingIOError:
                break
        os.set_blocking(writer, True)
        process = subprocess.Popen(python_module("runtime.cli", *arguments), stdout=writer, stderr=writer)
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        process.send_signal(signal.SIGHUP)
        assert process.wait(PATIENCE_S) == 0
    finally:
        for one in filter(None, (process, server)):
            one.kill()
            one.wait()
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize(
    "arguments",
    [
        ("runtime.cli", "inspect", "{policy}"),
        ("sim2real.cli", "diff", "{policy}", "{policy}"),
        (
            *("runtime.cli", "serve", "--model", "{policy}", "--socket", "{folder}/söcket", "--no-realtime"),
            *(
                "--duration",
                "0.5",
                "--speed",
                "4",
                "--record",
                "{folder}/läuft.mcap",
                "--json",
                "{folder}/ende \u4e2d.json",
            ),
        ),
    ],
)
def test_names_that_are_not_ascii_work_under_every_locale(
    policy_path: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    folder = tmp_path / "Müller \u20ac"
    folder.mkdir()
    policy = folder / "schüler.onnx"
    shutil.copy(policy_path, policy)
    command = [sys.executable, "-m", *(part.format(policy=policy, folder=folder) for part in arguments)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONUTF8"))}
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(command, capture_output=True, env=kept | locale, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    if "--record" in command:
        assert read_recording(folder / "läuft.mcap").complete
