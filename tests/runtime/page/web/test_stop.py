"""The emergency stop of the page gets through, and is released by nobody by accident."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from runtime.page.web import server as web_server
from runtime.page.web.stop_page import PATH, PRESS_PATH
from runtime.protocol.client import Client
from runtime.protocol.messages import CancelRequest, GoalRequest, LeaseRequest, ReleaseRequest
from tests.runtime.page.browsers import Browser, get, wait_until
from tests.runtime.page.conftest import ServedPage

STOP, TAKE = "EMERGENCY STOP", "Take control"
ASK, YES, NO = "Release the emergency stop ...", "Yes, release it", "No, keep it stopped"
QUESTION = "Release the emergency stop?"


def drive(page: ServedPage, browser: Browser) -> None:
    browser.press(TAKE)
    browser.wait_for("Release control")


def stopped(page: ServedPage, browser: Browser) -> None:
    browser.press(STOP)
    wait_until(lambda: page.robot.state == "estop", "the stop")
    browser.wait_for(ASK)


def test_pressing_stop_again_and_again_is_a_stop(open_page: ServedPage) -> None:
    with Browser(open_page.port) as browser:
        drive(open_page, browser)
        stopped(open_page, browser)
        first = open_page.robot.number
        for _ in range(5):
            presses = open_page.page._robot.stop.presses
            browser.press(STOP)
            wait_until(lambda before=presses: open_page.page._robot.stop.confirmed > before, "the stop")
        assert STOP in browser.controls
        assert open_page.robot.state == "estop"
        assert open_page.robot.number == first + 5
        assert "release" not in open_page.robot.received


def test_release_needs_control_and_an_answer(open_page: ServedPage) -> None:
    with Browser(open_page.port) as browser:
        assert not browser.shows(ASK)
        stopped(open_page, browser)
        browser.press(ASK)
        browser.wait_for_note("Take control first.")
        browser.press(YES)  # as a page of an earlier moment would
        drive(open_page, browser)
        browser.press(ASK)
        browser.wait_for(QUESTION)
        assert not browser.shows(ASK)
        browser.press(NO)
        browser.wait_for(ASK)
        assert open_page.robot.state == "estop"
        browser.press(YES)  # to no question
        browser.press(ASK)
        browser.wait_for(QUESTION)
        assert "release" not in open_page.robot.received
        browser.press(YES)
        wait_until(lambda: open_page.robot.state == "idle", "the release")
        wait_until(lambda: not browser.shows(ASK) and not browser.shows(QUESTION), "the end of the button")


@pytest.mark.parametrize("by", ["another browser", "another client"])
def test_a_stop_voids_the_release_that_somebody_is_about_to_confirm(open_page: ServedPage, by: str) -> None:
    with Browser(open_page.port) as driver, Browser(open_page.port) as other:
        drive(open_page, driver)
        stopped(open_page, driver)
        driver.press(ASK)
        driver.wait_for(QUESTION)
        number = open_page.robot.number
        if by == "another browser":
            other.press(STOP)
            wait_until(lambda: open_page.robot.number > number, "the stop")
        else:
            with Client(open_page.robot.address) as client:
                client.estop()
        driver.press(YES)  # at once, before the page takes the question away
        driver.wait_for_note("pressed again")
        driver.wait_for(ASK)
        assert open_page.robot.state == "estop"


def test_a_stop_while_a_release_is_under_way_wins(open_page: ServedPage) -> None:
    with Browser(open_page.port) as driver, Browser(open_page.port) as other:
        drive(open_page, driver)
        stopped(open_page, driver)
        driver.press(ASK)
        driver.wait_for(QUESTION)
        open_page.robot.slow.add(ReleaseRequest)
        driver.press(YES)
        wait_until(lambda: open_page.robot.waiting == 1, "the release")
        number = open_page.robot.number
        other.press(STOP)
        wait_until(lambda: open_page.robot.number > number, "the stop")
        open_page.robot.go_on.set()
        driver.wait_for_note("pressed again")
        assert open_page.robot.received[-2:] == ["estop", "release"]
        assert open_page.robot.state == "estop"


def test_a_server_that_answers_nothing_else_still_gets_the_stop(open_page: ServedPage) -> None:
    with Browser(open_page.port) as driver, Browser(open_page.port) as other:
        take = other.controls[TAKE]["uuid"]
        drive(open_page, driver)
        open_page.robot.slow |= {GoalRequest, CancelRequest, LeaseRequest}
        for _ in range(50):
            for button in ("Send this goal", "Hold: forget the goal", "Go home"):
                driver.press(button)
            other.send({"type": "GuiUpdateMessage", "uuid": take, "updates": {"value": True}})
        driver.wait_for_note("has not answered earlier commands")
        other.press(STOP)
        wait_until(lambda: open_page.robot.state == "estop", "the stop")
        assert not open_page.robot.go_on.is_set()
        with Browser(open_page.port) as late:  # also one that comes only now
            number = open_page.robot.number
            late.press(STOP)
            wait_until(lambda: open_page.robot.number > number, "the late browser's stop")
        assert get(open_page.port, PRESS_PATH, X_Shoal="stop")[:2] == (200, "The emergency stop is in force.\n")


def test_a_stop_is_repeated_until_the_server_takes_it(open_page: ServedPage) -> None:
    open_page.robot.refusing = True
    with Browser(open_page.port) as browser:
        browser.press(STOP)
        wait_until(lambda: "has not got through" in open_page.page._robot.stop.problem, "the problem")
        status, answer, _ = get(open_page.port, PRESS_PATH, X_Shoal="stop")
        assert status == 503
        assert answer.startswith("NOT STOPPED yet")
        open_page.robot.refusing = False
        wait_until(lambda: open_page.robot.state == "estop", "the stop")
        wait_until(lambda: not open_page.page._robot.stop.problem, "the end of the problem")


def test_a_browser_that_floods_the_page_delays_no_stop(open_page: ServedPage) -> None:
    with Browser(open_page.port) as flood, Browser(open_page.port) as other:
        sent = 0

        def pour() -> None:
            nonlocal sent
            try:
                for sent in range(100_000):
                    flood.set("Send while I drag", bool(sent % 2))
            except ConnectionClosed:
                return

        thread = threading.Thread(target=pour, daemon=True)
        thread.start()
        wait_until(lambda: sent > 1000, "the flood")
        other.press(STOP)
        wait_until(lambda: open_page.robot.state == "estop", "the stop")
        assert thread.is_alive(), "the flood is over"
        flood.cut_off()
        thread.join(60)


def test_when_all_places_are_taken_the_stop_has_its_own(open_page: ServedPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "MAX_BROWSERS", 1)
    with Browser(open_page.port):
        with pytest.raises(InvalidStatus, match="503"):
            Browser(open_page.port)
        assert get(open_page.port, PATH)[0] == 200
        assert get(open_page.port, PRESS_PATH, X_Shoal="stop")[0] == 200
        assert open_page.robot.state == "estop"
    wait_until(lambda: not open_page.page._panels, "the browser's end")
    with Browser(open_page.port):
        pass


def test_a_peer_that_connects_without_end_delays_no_stop(
    open_page: ServedPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_page.page._web._doorstep, "rate", open_page.rate)
    answered = closed = 0
    with Browser(open_page.port) as browser, ExitStack() as stack:
        for _ in range(500):
            stranger = socket.create_connection(("127.0.0.1", open_page.port), 60, source_address=("127.0.0.2", 0))
            stack.callback(stranger.close)
            stranger.sendall(b"GET /stop HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            try:
                answered += bool(stranger.recv(1))
            except ConnectionResetError:
                closed += 1
        browser.press(STOP)
        wait_until(lambda: open_page.robot.state == "estop", "the stop")
    assert answered >= 30
    assert answered + closed <= 500
    assert answered < 300, "as fast as they came"


def test_silent_connections_take_nobodys_place(open_page: ServedPage) -> None:
    with ExitStack() as stack:
        for _ in range(3 * web_server._MAX_ARRIVING):
            silent = socket.create_connection(("127.0.0.1", open_page.port), timeout=60)
            stack.callback(silent.close)
            silent.sendall(b"GET / HT")
        with Browser(open_page.port) as browser:
            browser.press(STOP)
            wait_until(lambda: open_page.robot.state == "estop", "the stop")
        assert len(open_page.page._web._arriving) <= web_server._MAX_ARRIVING
