"""`shoal-demo`: a policy that ships, served with its page by one line."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from socket import create_server

import pytest

from runtime.protocol.client import Client
from runtime.safety.config import SafetyConfig
from shoal.demo import Arguments, _show, command, shipped_models
from sim2real.child_process import free_port
from sim2real.errors import ShoalError
from sim2real.files import read_model

ROOT = Path(__file__).parents[2]


def test_every_policy_that_ships_can_be_shown() -> None:
    models = shipped_models()
    assert {*models.values()} == {*(ROOT / "models").glob("*.onnx")}
    for name, file in models.items():
        told = command(Arguments(model=name))
        assert told[:7] == ["serve", "--model", str(file), "--page", "8080", "--page-host", "127.0.0.1"]


def test_limits_that_ship_belong_to_a_policy_and_are_obeyed() -> None:
    limits = [*(ROOT / "models").glob("*.yaml")]
    assert ROOT / "models" / "ant.safety.yaml" in limits
    for file in limits:
        told = command(Arguments(model=file.name.removesuffix(".safety.yaml")))
        assert told[told.index("--safety") + 1] == str(file)
        read_model(SafetyConfig, file, what="safety limits")


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ShoalError, match=r"no policy 'frnka_pose' ships; choose one of ant, .*franka_pose"):
        command(Arguments(model="frnka_pose"))


def test_the_browser_is_shown_the_page_once_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    with create_server(("127.0.0.1", 0)) as page:
        port = page.getsockname()[1]
        _show(port)
    assert shown == [f"http://127.0.0.1:{port}"]


def test_one_line_serves_robot_and_page(tmp_path: Path) -> None:
    port = free_port()
    line = [sys.executable, "-m", "shoal.demo", "franka_reach", "--no-browser"]
    line += ["--page", str(port), "--socket", str(tmp_path / "s")]
    demo = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for text in demo.stdout or ():
            if text.startswith("ready"):
                break
        with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=60) as answer:
            assert b"<html" in answer.read().lower()
        with Client(f"unix://{tmp_path / 's'}", timeout_s=60) as client:
            assert client.estop().state == "estop"
    finally:
        demo.send_signal(signal.SIGTERM)
        said, _ = demo.communicate(timeout=120)
    assert demo.returncode == 0, said


def test_beyond_this_machine_the_page_asks_for_the_code_that_is_printed(tmp_path: Path) -> None:
    port = free_port()
    line = [sys.executable, "-m", "shoal.demo", "franka_reach", "--no-browser", "--host", "0.0.0.0"]
    line += ["--page", str(port), "--socket", str(tmp_path / "s")]
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        try:
            said = next(text for text in demo.stdout or () if text.startswith("page "))
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=60)
            code = said.strip().partition("?code=")[2]
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with opener.open(f"http://127.0.0.1:{port}/?code={code}", timeout=60) as answer:
                assert b"<html" in answer.read().lower()
        finally:
            demo.send_signal(signal.SIGTERM)
