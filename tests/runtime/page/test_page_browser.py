"""The page in headless Chromium beside a served robot: look, take control, drag, arrive, stop, release."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import viser

from runtime.diagnostics.chaos.served.server import listener_and_gateway
from runtime.protocol.client import Client
from sim2real.child_process import free_port
from sim2real.contract import Contract

ROOT = Path(__file__).parents[3]
MODEL = ROOT / "models" / "franka_pose.onnx"
SWITCHES = """
headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update
disable-sync use-gl=angle use-angle=swiftshader enable-unsafe-swiftshader
"""
ARGUMENTS = [f"--{switch}" for switch in SWITCHES.split()]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
ASK = "Release the emergency stop ..."
PATIENCE_S = 120.0
"""Software rendering on a busy machine."""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the PATH"),
]


class Served:
    """A server with its page."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address, self.url = f"unix://{folder}/s", f"http://127.0.0.1:{self.port}"
        command = f"-m runtime.cli serve --model {MODEL} --socket {folder}/s --quiet --no-realtime --page {self.port}"
        self.process = subprocess.Popen([sys.executable, *command.split()], cwd=ROOT)
        self.wait_for_page()

    def wait_for_page(self) -> None:
        def answers() -> bool:
            try:
                return bool(urllib.request.urlopen(self.url, timeout=1).status == 200)
            except OSError:
                return False

        wait_until(answers)

    def page_pid(self) -> int:
        of_the_server = descendants(self.process.pid)
        return next(pid for pid in of_the_server if b"runtime.page" in Path(f"/proc/{pid}/cmdline").read_bytes())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("page"))
    yield server
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.address, timeout_s=10) as connection:
        yield connection
        if connection.status().state == "estop":
            connection.release()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.1)


def descendants(pid: int) -> Iterator[int]:
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        yield child
        yield from descendants(child)


def open_page(browser: Any, served: Served, size: dict[str, int] = DESKTOP) -> Any:
    phone = size is PHONE
    page = browser.new_context(viewport=size, is_mobile=phone, has_touch=phone).new_page()
    page.set_default_timeout(1000 * PATIENCE_S)
    page.goto(served.url)
    page.get_by_role("button", name="EMERGENCY STOP", exact=True).wait_for()
    return page


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def numbers(page: Any) -> Any:
    """The fields of position and of roll, pitch and yaw."""
    return page.locator("input[inputmode=numeric], input[inputmode=decimal]")


def on_screen(contract: Contract, point: np.ndarray) -> tuple[float, float]:
    """Pixel of a point `[3]` m, seen from where the page puts its camera on a desktop (75 deg, upright)."""
    low, high = np.array(contract.goal.position_min_m), np.array(contract.goal.position_max_m)
    middle = (low + high) / 2 * np.array([0.7, 1.0, 0.75])
    camera = middle + np.linalg.norm(high - low) * np.array([0.75, -0.75, 0.4])
    forward = (middle - camera) / np.linalg.norm(middle - camera)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    up, seen = np.cross(right, forward), point - camera
    scale = DESKTOP["height"] / 2 / np.tan(np.radians(75) / 2) / (seen @ forward)
    return DESKTOP["width"] / 2 + scale * (seen @ right), DESKTOP["height"] / 2 - scale * (seen @ up)


def picture(page: Any, folder: Path, name: str) -> None:
    """Kept where the test's other files are, and in the folder that PAGE_PICTURES names."""
    for button in page.locator(".mantine-Notification-closeButton").all():
        button.click()
    for target in filter(None, (str(folder), os.environ.get("PAGE_PICTURES"))):
        page.screenshot(path=str(Path(target) / f"{name}.png"))


def test_typed_goal_is_reached_and_anybody_may_stop(
    served: Served, browser: Any, client: Client, tmp_path: Path
) -> None:
    driver, onlooker = open_page(browser, served), open_page(browser, served, PHONE)
    assert not driver.get_by_role("button", name="Send this goal").is_visible()
    press(driver, "Take control")
    driver.get_by_role("button", name="Release control").wait_for()
    onlooker.get_by_role("button", name="has control").wait_for()
    assert onlooker.get_by_role("button", name="has control").is_disabled()
    assert client.lease_holder() == f"page:{served.port}"

    for field, value in zip(numbers(driver).all()[:3], ("0.45", "0.2", "0.35"), strict=True):
        field.fill(value)
        field.press("Enter")
    press(driver, "Send this goal")
    wait_until(lambda: client.status().reached)
    np.testing.assert_allclose(client.telemetry().goal_position, (0.45, 0.2, 0.35), atol=2e-3)
    driver.get_by_text("at the goal").wait_for()
    picture(driver, tmp_path, "reached")
    press(driver, "Go home")
    wait_until(lambda: abs(client.telemetry().goal_position[1]) < 1e-3 and client.status().reached)

    press(onlooker, "EMERGENCY STOP")
    wait_until(lambda: client.status().state == "estop")
    driver.get_by_role("button", name=ASK).wait_for()
    assert driver.get_by_role("button", name="Send this goal").is_disabled()
    picture(onlooker, tmp_path, "phone")
    press(onlooker, ASK)
    onlooker.get_by_text("Take control first.").wait_for()
    for _ in range(5):
        press(onlooker, "EMERGENCY STOP")
    press(driver, ASK)
    driver.get_by_text("Is everybody clear of it?").wait_for()
    picture(driver, tmp_path, "question")
    press(driver, "EMERGENCY STOP")  # is where it was, and takes the question away
    driver.get_by_text("Is everybody clear of it?").wait_for(state="hidden")
    assert client.status().state == "estop"
    press(driver, ASK)
    press(driver, "Yes, release it")
    wait_until(lambda: client.status().state == "idle")
    driver.get_by_role("button", name=ASK).wait_for(state="hidden")
    press(driver, "Release control")
    wait_until(lambda: client.lease_holder() == "")
    driver.context.close()
    onlooker.context.close()


def test_robot_follows_the_dragged_gizmo(served: Served, browser: Any, client: Client, tmp_path: Path) -> None:
    contract = client.describe().contract
    page = open_page(browser, served)
    press(page, "Take control")
    page.get_by_text("Send while I drag").wait_for()
    page.get_by_role("checkbox").last.check()
    wait_until(lambda: numbers(page).first.input_value() not in ("", "0"))
    start = np.array([float(field.input_value()) for field in numbers(page).all()[:3]])
    time.sleep(2)  # the gizmo is drawn with the next frames
    # By the tip of its arrow along x, which the tool's frame shares with the world's, while it points down.
    tip, target = start + np.array([0.2, 0, 0]), start + np.array([0.3, 0, 0])
    page.mouse.move(*on_screen(contract, tip))
    page.mouse.down()
    page.mouse.move(*on_screen(contract, target), steps=10)
    page.mouse.up()
    wait_until(lambda: float(numbers(page).first.input_value()) > start[0] + 0.05)
    goal = np.array([float(field.input_value()) for field in numbers(page).all()[:3]])
    np.testing.assert_allclose(goal[1:], start[1:], atol=0.01)
    wait_until(lambda: abs(np.array(client.telemetry().goal_position or (9, 9, 9)) - goal).max() < 2e-3)
    wait_until(lambda: client.status().reached)
    picture(page, tmp_path, "dragged")
    page.context.close()
    # The driver has vanished, so the lease runs out, and others may command.
    wait_until(lambda: client.lease_holder() == "")
    client.acquire_lease("other")
    client.end_lease()


FOREIGN_SITE = """<!doctype html><title>foreign</title><iframe src="{url}"></iframe><img src="{url}/stop/press">
<script>
window.seen = [];
for (const name of ["127.0.0.1", "localhost"]) {{
  const socket = new WebSocket("ws://" + name + ":{port}", ["{protocol}"]);
  socket.onopen = () => seen.push("open");
  socket.onmessage = () => seen.push("message");
  socket.onclose = (event) => seen.push("closed " + event.code);
}}
const pressed = fetch("{url}/stop/press", {{headers: {{"X-Shoal": "stop"}}}});
pressed.then(() => seen.push("pressed"), () => seen.push("failed"));
fetch("{url}/stop/press", {{mode: "no-cors"}}).then(() => seen.push("sent"), () => seen.push("not sent"));
</script>"""


@pytest.fixture
def foreign_site(served: Served) -> Iterator[str]:
    """Another web site, that tries what it can."""
    text = FOREIGN_SITE.format(url=served.url, port=served.port, protocol=f"viser-v{viser.__version__}").encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


def test_another_site_gets_nothing(served: Served, browser: Any, client: Client, foreign_site: str) -> None:
    page = browser.new_page()
    page.goto(foreign_site)
    wait_until(lambda: len(page.evaluate("seen")) == 4)
    seen = sorted(page.evaluate("seen"))
    assert seen[:3] == ["closed 1006", "closed 1006", "failed"]
    assert seen[3] in ("sent", "not sent")  # without an answer that it could read, or an effect
    frame = page.frames[1]
    assert "EMERGENCY STOP" not in frame.content()
    assert client.status().state != "estop"
    page.context.close()


def test_foreign_name_gets_no_page(served: Served, browser: Any) -> None:
    page = browser.new_page()
    # A name that points here, as a foreign site's may.
    assert page.goto(served.url.replace("127.0.0.1", "evil.localhost")).status == 421
    page.get_by_text("may only be opened under its own address").wait_for(timeout=1000 * PATIENCE_S)
    assert page.get_by_role("button", name="EMERGENCY STOP", exact=True).count() == 0
    page.context.close()


def test_the_page_of_one_button_stops(served: Served, browser: Any, client: Client, tmp_path: Path) -> None:
    page = browser.new_page(viewport=PHONE)
    page.goto(f"{served.url}/stop")
    press(page, "EMERGENCY STOP")
    page.get_by_text("The emergency stop is in force.").wait_for()
    assert client.status().state == "estop"
    picture(page, tmp_path, "stop")
    page.context.close()


def test_a_code_is_asked_for_once(served: Served, browser: Any, tmp_path: Path) -> None:
    port = free_port()
    command = f"-m runtime.cli page --address {served.address} --port {port} --code"
    process = subprocess.Popen([sys.executable, *command.split()], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url, _, code = process.stdout.readline().split()[1].partition("/?code=")
        page = browser.new_page(viewport=PHONE)
        page.set_default_timeout(1000 * PATIENCE_S)
        page.goto(url)
        page.get_by_label("Code").fill("wrong")
        press(page, "Open the page")
        page.get_by_text("That is not the code").wait_for()
        picture(page, tmp_path, "door")
        page.get_by_label("Code").fill(code)
        press(page, "Open the page")
        page.get_by_role("button", name="Take control").wait_for()
        assert page.url == f"{url}/"
        page.context.close()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_killed_gateway_takes_neither_page_nor_stop_away(
    served: Served, browser: Any, client: Client, tmp_path: Path
) -> None:
    page, page_pid = open_page(browser, served), served.page_pid()
    listener, gateway = listener_and_gateway(served.process.pid)
    os.kill(gateway, signal.SIGKILL)
    press(page, "EMERGENCY STOP")
    page.get_by_role("button", name=ASK).wait_for()
    picture(page, tmp_path, "gateway")
    assert client.status().state == "estop"
    assert served.page_pid() == page_pid
    after = listener_and_gateway(served.process.pid)
    assert (after[0], after[1] == gateway) == (listener, False)
    page.context.close()


def test_killed_page_comes_back_and_the_robot_does_not_notice(served: Served, client: Client) -> None:
    before, pid = client.status(), served.page_pid()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    served.wait_for_page()
    assert served.page_pid() != pid
    after = client.status()
    assert after.ticks > before.ticks
    assert after.holds == before.holds
    assert after.state == before.state
