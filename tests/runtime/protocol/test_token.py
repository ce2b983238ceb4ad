"""One rule for tokens and one for loopback, whoever asks."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from runtime.policy_server.websocket import WebsocketListener
from runtime.protocol.address import Address, host_and_port, is_loopback
from runtime.protocol.token import read_token, same_token
from sim2real.errors import ShoalError

ROOT = Path(__file__).parents[3]
TOKEN = "0123456789abcdef0123"


def written(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_token_is_what_the_file_holds(tmp_path: Path) -> None:
    assert read_token(written(tmp_path, f"  {TOKEN}\r\n\n".encode())) == TOKEN


@pytest.mark.parametrize(
    ("content", "mode", "sentence"),
    [
        (TOKEN.encode(), 0o644, "can be read by other users"),
        (TOKEN.encode(), 0o620, "can be read by other users"),
        (b"short", 0o600, "has 5 characters"),
        (b"", 0o600, "has 0 characters"),
        (f"{TOKEN}\n# of the left arm\n".encode(), 0o600, "the token alone"),
        (f"{TOKEN}-\u00e4".encode(), 0o600, "the token alone"),
        (TOKEN.encode() + b"\xff", 0o600, "the token alone"),
        (TOKEN.encode() + b"\0", 0o600, "the token alone"),
        (b"x" * 1025, 0o600, "the token alone"),
    ],
)
def test_files_that_hold_no_token(tmp_path: Path, content: bytes, mode: int, sentence: str) -> None:
    with pytest.raises(ShoalError, match=f"^--token-file: .*{sentence}"):
        read_token(written(tmp_path, content, mode))


def test_what_is_no_file_is_no_token_either(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ShoalError, match="no ordinary file"):
        read_token(tmp_path / "pipe")  # without waiting for whoever may write into it
    with pytest.raises(ShoalError, match=r"cannot read|no ordinary file"):
        read_token(tmp_path)
    with pytest.raises(ShoalError, match="cannot read"):
        read_token(tmp_path / "none")


def test_tokens_are_compared_whole() -> None:
    assert same_token("geheim-ä", "geheim-ä")
    assert not same_token("", "x")
    assert not same_token("x" * 20, "x" * 21)
    assert not same_token("\ud800", "?")  # as a message may hold it


LOOPBACK = ("127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "localhost", "LOCALHOST")
OTHERS = ("0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "robot.lan", "localhost.evil.example", "127.0.0.1.nip.io", "")


def test_loopback() -> None:
    assert all(map(is_loopback, LOOPBACK))
    assert not any(map(is_loopback, OTHERS))


@pytest.mark.parametrize("host", [host for host in OTHERS if host])
def test_every_server_refuses_the_same_interfaces_without_a_token(host: str) -> None:
    with pytest.raises(ShoalError, match="not the loopback interface; give --token-file"):
        Address(f"tcp://[{host}]:5000")
    with pytest.raises(ShoalError, match=r"^--websocket: .*not the loopback interface; give --token-file"):
        WebsocketListener(host, 0, lambda: None, token="")  # type: ignore[arg-type, return-value]
    assert Address(f"tcp://[{host}]:5000", with_token=True).host == host


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "5000", ":5000", "[]:5000", "h:0", "h:65536", "h:-1", "h:²", "h:٣", "h:", "h:1e3"]
)
def test_what_is_no_host_and_port(text: str) -> None:
    with pytest.raises(ShoalError, match=r"--listen: .* is not HOST:PORT"):
        host_and_port(text, "--listen")


def test_hosts_and_ports() -> None:
    assert host_and_port("[::1]:80", "--listen") == ("::1", 80)
    assert host_and_port("localhost:0", "--listen", any_free=True) == ("localhost", 0)


def test_both_rules_have_one_home() -> None:
    homes = {"hmac": "runtime/protocol/token.py", "is_loopback": "runtime/protocol/address.py"}
    found: dict[str, set[str]] = {name: set() for name in homes}
    for path in (ROOT / "runtime").rglob("*.py"):
        where = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import) and any(alias.name == "hmac" for alias in node.names):
                found["hmac"].add(where)
            if isinstance(node, ast.Attribute) and node.attr == "is_loopback":
                found["is_loopback"].add(where)
    assert found == {name: {home} for name, home in homes.items()}
