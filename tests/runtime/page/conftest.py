"""A page before a server that does nothing, in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.page.app import Page
from runtime.page.config import PageConfig
from runtime.page.web.gate import PeerRate
from sim2real.child_process import free_port
from sim2real.contract import Contract
from tests.runtime.page.browsers import PATIENCE_S, wait_until
from tests.runtime.page.fake_server import FakeServer


class ServedPage:
    """With the robot's server behind it."""

    def __init__(self, contract: Contract, folder: Path, *, ask_code: bool) -> None:
        self.port: int = free_port()
        self.robot = FakeServer(contract, folder)
        self.page = Page(PageConfig(address=self.robot.address, port=self.port, ask_code=ask_code))
        self.code = self.page.gate.code
        # Tests come one after the other, faster than people.
        self.rate, self.page._web._doorstep.rate = self.page._web._doorstep.rate, PeerRate(1e6, 1e6)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self.page.run, args=(self._ended.is_set,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.robot.go_on.set()
        self._ended.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self.page.close()
        self.robot.close()

    def reset(self) -> None:
        """As at the start, for the next test, whose browsers are others."""
        self.robot.go_on.set()
        wait_until(lambda: not self.page._panels and self.page._robot.commands.holder is None, "the last browser's end")
        self.robot.reset()


@pytest.fixture(scope="module")
def served_page(contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPage]:
    served = ServedPage(contract, tmp_path_factory.mktemp("page"), ask_code=False)
    yield served
    served.close()


@pytest.fixture
def open_page(served_page: ServedPage) -> Iterator[ServedPage]:
    """For everybody on this machine."""
    yield served_page
    served_page.reset()


@pytest.fixture(scope="module")
def guarded_page(contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPage]:
    """Asks for a code."""
    served = ServedPage(contract, tmp_path_factory.mktemp("page"), ask_code=True)
    yield served
    served.close()
