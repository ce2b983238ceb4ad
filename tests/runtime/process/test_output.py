"""Nobody who writes waits for a terminal, a pipe or the relay, and what is read meanwhile is whole."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

PATIENCE_S = 60
_WRITER = """
import os, subprocess, sys, time
from runtime.process.output import relayed_output
with relayed_output():
    started = time.monotonic()
    for number in range(int(sys.argv[1])):
        print(f"line {number} {'x' * 100}", flush=True)
    print("to standard error", file=sys.stderr)
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"from a library\\n")
        except BlockingIOError:
            pass
    subprocess.run([sys.executable, "-c", "print('from a child')"], stderr=subprocess.DEVNULL)
    took_s = time.monotonic() - started
with open(sys.argv[2], "w") as file:
    file.write(str(took_s))
"""
ENOUGH = 5000
"""Lines: more than pipes and terminals hold."""


def writer(lines: int, report: Path, **streams: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _WRITER, str(lines), str(report)], **streams)


def took_s(report: Path) -> float:
    return float(report.read_text())


def test_lines_arrive_in_order(tmp_path: Path) -> None:
    process = writer(20, tmp_path / "took", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = process.communicate(timeout=PATIENCE_S)[0].decode().splitlines()
    expected = [f"line {number} {'x' * 100}" for number in range(20)]
    assert lines == [*expected, "to standard error", "from a library", "from a library", "from a child"]


def test_two_streams_stay_two(tmp_path: Path) -> None:
    process = writer(1, tmp_path / "took", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert err == b"to standard error\nfrom a library\n"
    assert b"from a child" in out


def test_a_pipe_that_nobody_reads_delays_nothing_and_gets_whole_lines(tmp_path: Path) -> None:
    process = writer(ENOUGH, tmp_path / "took", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.wait(PATIENCE_S) == 0
    assert took_s(tmp_path / "took") < 20
    assert process.stdout is not None
    lines = process.stdout.read().decode().splitlines()
    assert 100 < len(lines) < ENOUGH
    assert {len(line.split()[-1]) for line in lines if line.startswith("line ")} == {100}


def test_a_terminal_stopped_by_ctrl_s_delays_nothing(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcflow(theirs, termios.TCOOFF)
    process = writer(ENOUGH, tmp_path / "took", stdin=theirs, stdout=theirs, stderr=theirs)
    assert process.wait(PATIENCE_S) == 0
    assert took_s(tmp_path / "took") < 20
    # What the relay still holds comes when the terminal goes on.
    termios.tcflow(theirs, termios.TCOON)
    assert os.read(ours, 100).startswith(b"line 0 xxx")
    os.close(theirs)
    os.close(ours)


@pytest.mark.parametrize("target", ["/dev/full", "closed"])
def test_output_that_fails_concerns_nobody(tmp_path: Path, target: str) -> None:
    if target == "closed":
        command = [sys.executable, "-c", _WRITER, "50", str(tmp_path / "took")]
        process = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command])
    else:
        with Path(target).open("wb") as full:
            process = writer(50, tmp_path / "took", stdout=full, stderr=full)
    assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_relay_that_is_killed_or_stopped_delays_nothing(tmp_path: Path, number: signal.Signals) -> None:
    program = f"""
import os, sys, time
from runtime.process import output
relays = []
start = output._relay
output._relay = lambda *given: relays.append(start(*given)) or relays[-1]
with output.relayed_output():
    for relay in relays:
        os.kill(relay.pid, {int(number)})
    time.sleep(0.2)
    started = time.monotonic()
    for number in range({ENOUGH}):
        print("x" * 100)
        print("x" * 100, file=sys.stderr)
    took_s = time.monotonic() - started
for relay in relays:
    relay.kill()
open(sys.argv[1], "w").write(str(took_s))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "took")], capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert took_s(tmp_path / "took") < 20


def test_the_relay_outlives_what_ends_the_group(tmp_path: Path) -> None:
    program = """
import os, signal, time
from runtime.process.output import relayed_output
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
with relayed_output():
    time.sleep(0.5)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.killpg(0, number)
    time.sleep(0.2)
    print("last words")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=PATIENCE_S, check=False, start_new_session=True
    )
    assert (done.returncode, done.stdout) == (0, b"last words\n")


def test_streams_of_an_embedding_program_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    from runtime.process.output import relayed_output

    before = sys.stdout
    with relayed_output():
        assert sys.stdout is before
        print("seen by the program")
    assert capsys.readouterr().out == "seen by the program\n"


def test_a_terminal_sees_no_remains_of_a_status_line(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = writer(1, tmp_path / "took", stdin=theirs, stdout=theirs, stderr=theirs)
    assert process.wait(PATIENCE_S) == 0
    deadline, seen = time.monotonic() + PATIENCE_S, b""
    while b"child" not in seen and time.monotonic() < deadline:
        seen += os.read(ours, 4096)
    assert b"from a child\x1b[K" in seen
    os.close(theirs)
    os.close(ours)
