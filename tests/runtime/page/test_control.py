"""Which browser drives."""

from __future__ import annotations

from runtime.protocol.messages import LeaseRequest
from tests.runtime.page.browsers import Browser, wait_until
from tests.runtime.page.conftest import ServedPage


def test_one_browser_at_a_time_has_control(open_page: ServedPage) -> None:
    with Browser(open_page.port) as first, Browser(open_page.port) as second:
        take = second.controls["Take control"]["uuid"]
        first.press("Take control")
        first.wait_for("Release control")
        assert open_page.robot.lease == f"page:{open_page.port}"
        wait_until(lambda: any("has control" in label for label in second.controls), "the other's name")
        second.send({"type": "GuiUpdateMessage", "uuid": take, "updates": {"value": True}})
        second.wait_for_note("has control; it has to release it first.")
        second.press("Hold: forget the goal")
        second.wait_for_note("Hold: Take control first.")
        first.press("Send this goal")
        wait_until(lambda: open_page.robot.received == ["goal"], "the goal")
        first.press("Release control")
        wait_until(lambda: not open_page.robot.lease, "the end of the lease")
        second.wait_for("Take control")
        second.press("Take control")
        second.wait_for("Release control")


def test_a_browser_that_vanishes_leaves_its_goal_and_lets_the_lease_run_out(open_page: ServedPage) -> None:
    with Browser(open_page.port) as first:
        first.press("Take control")
        first.wait_for("Release control")
    wait_until(lambda: open_page.page._robot.commands.holder is None, "the end of control")
    assert open_page.robot.lease, "the lease was ended instead"
    with Browser(open_page.port) as second:
        wait_until(lambda: f"page:{open_page.port} has control" in second.controls, "whose lease it is")


def test_a_refused_lease_gives_no_control(open_page: ServedPage) -> None:
    open_page.robot.refusing = True
    with Browser(open_page.port) as browser:
        browser.press("Take control")
        browser.wait_for_note("not now")
        browser.wait_for("Take control")
        assert open_page.page._robot.commands.holder is None


def test_control_ends_when_the_server_renews_no_lease(open_page: ServedPage) -> None:
    with Browser(open_page.port) as browser:
        browser.press("Take control")
        browser.wait_for("Release control")
        open_page.robot.refusing = True
        browser.wait_for_note("Control lost")
        open_page.robot.lease = ""
        browser.wait_for("Take control")


def test_a_slow_server_delays_no_drawing(open_page: ServedPage) -> None:
    with Browser(open_page.port) as browser:
        browser.press("Take control")
        browser.wait_for("Release control")
        open_page.robot.slow.add(LeaseRequest)
        wait_until(lambda: open_page.robot.waiting > 0, "the renewal")
        open_page.robot.state = "hold"
        wait_until(lambda: any("hold" in html for html in browser.texts), "the new state")
        assert not open_page.robot.go_on.is_set()
