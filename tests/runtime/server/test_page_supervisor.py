"""The page that `runtime serve` keeps: ready when it says so, beside dead gateways, and back when it dies itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.page.web.stop_page import PRESS_PATH
from sim2real.child_process import free_port
from tests.runtime.page.browsers import Browser, get, wait_until
from tests.runtime.server.test_server import Server, running

_IN_FORCE_S = 2.5
"""Half a second is wanted, of a machine that has nothing else to do."""


class ServedPage(Server):
    """A server with a page, which has said that it is ready."""

    def __init__(self, policy: Path, folder: Path, *arguments: str) -> None:
        self.port = free_port()
        super().__init__(policy, folder, "--page", str(self.port), *arguments)
        self.said = ""
        assert self.process.stdout is not None
        while "ready  " not in self.said:
            line = self.process.stdout.readline()
            assert line, self.said
            self.said += line

    def page_pid(self) -> int:
        """Of the page that this server keeps; 0 while there is none."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        pages = [pid for pid in children if b"runtime.page" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return int(pages[0]) if pages else 0


@contextmanager
def serving(policy: Path, folder: Path, *arguments: str) -> Iterator[ServedPage]:
    server = ServedPage(policy, folder, *arguments)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


def test_the_page_is_there_with_ready_and_its_stop_outlasts_gateway_and_page(policy_path: Path, tmp_path: Path) -> None:
    with serving(policy_path, tmp_path, "--page-code") as server, server.client() as client:
        code = server.said.partition(f"page       http://127.0.0.1:{server.port}/?code=")[2].split()[0]
        assert get(server.port)[0] == 401
        status, _, headers = get(server.port, f"/?code={code}")
        assert status == 303
        page, gateway = server.page_pid(), server.gateway_pid()
        with Browser(server.port, Cookie=headers["set-cookie"].partition(";")[0]) as browser:
            os.kill(gateway, signal.SIGKILL)
            killed_s = time.monotonic()
            browser.press("EMERGENCY STOP")
            assert get(server.port, PRESS_PATH, X_Shoal="stop")[:2] == (200, "The emergency stop is in force.\n")
            assert time.monotonic() - killed_s < _IN_FORCE_S
            assert client.status().state == "estop"
            browser.wait_for("Release the emergency stop ...")  # the new gateway's telemetry, in the same browser
        assert server.page_pid() == page
        before = client.release()
        for number in (signal.SIGKILL, signal.SIGSTOP):
            page = server.page_pid()
            os.kill(page, number)
            wait_until(lambda old=page: not running(old), "the page's end")
            # Who comes meanwhile waits, and is not turned away.
            assert get(server.port, PRESS_PATH, X_Shoal="stop")[0] == 200
            assert client.status().state == "estop"
            client.release()
        after = client.status()
        assert after.holds == before.holds
        last = server.page_pid()
        assert last not in (0, page)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert not running(last)


def test_a_page_that_cannot_start_is_said_before_ready(
    policy_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "viser").mkdir()
    (tmp_path / "viser" / "__init__.py").write_text("raise ImportError('it is broken')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with serving(policy_path, tmp_path) as server, server.client() as client:
        assert "--page needs viser and mjviser" in server.said
        assert "page       not up: it ended while it started" in server.said
        assert client.status().ticks > 0
