"""Who may open the page, and what those who may not can do to the others."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
import viser
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus

from runtime.page.web.gate import Gate
from runtime.page.web.stop_page import PATH, PRESS_PATH
from tests.runtime.page.browsers import CAMERA, Browser, get, open_websocket, wait_until
from tests.runtime.page.conftest import ServedPage


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def headers(**values: str) -> Headers:
    return Headers({name.replace("_", "-"): value for name, value in values.items()})


@pytest.mark.parametrize(
    ("asked_for", "allowed"),
    [
        ("127.0.0.1:8080", True),
        ("localhost:9000", True),  # through a tunnel
        ("[::1]:8080", True),
        ("192.168.1.5", True),
        ("robot.lan:8080", True),  # the configured name
        ("ROBOT.LAN:8080", True),
        ("evil.example:8080", False),  # a foreign name that points here
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8080", False),
        ("evil.localhost:8080", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_the_page_has_its_own_names_only(asked_for: str, allowed: bool) -> None:
    assert (Gate("robot.lan", 8080, guarded=False).misdirected(headers(Host=asked_for)) is None) is allowed


def test_no_name_and_two_names_are_foreign_names() -> None:
    gate, two = Gate("robot.lan", 8080, guarded=False), headers(Host="127.0.0.1:8080")
    two["Host"] = "evil.example"
    assert gate.misdirected(headers()) is not None
    assert gate.misdirected(two) is not None


@pytest.mark.parametrize(
    ("origin", "asked_for", "allowed"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://localhost:9000", "localhost:9000", True),
        ("https://robot.lan", "robot.lan", True),
        ("https://evil.example", "127.0.0.1:8080", False),
        ("http://localhost:8081", "localhost:8080", False),  # another program of this machine
        ("http://127.0.0.1", "127.0.0.1:8080", False),
        ("file://", "127.0.0.1:8080", False),
        ("null", "127.0.0.1:8080", False),
        ("", "127.0.0.1:8080", False),
        (None, "127.0.0.1:8080", False),  # no browser
    ],
)
def test_only_the_page_itself_may_open_its_websocket(origin: str | None, asked_for: str, allowed: bool) -> None:
    request = headers(Host=asked_for) if origin is None else headers(Host=asked_for, Origin=origin)
    assert (Gate("robot.lan", 8080, guarded=False).websocket(request, "10.0.0.1") is None) is allowed


def test_a_second_origin_is_a_foreign_one() -> None:
    request = headers(Host="127.0.0.1:8080", Origin="http://127.0.0.1:8080")
    request["Origin"] = "https://evil.example"
    assert Gate("robot.lan", 8080, guarded=False).websocket(request, "10.0.0.1") is not None


def test_codes_cannot_be_guessed_and_are_read_kindly() -> None:
    gate = Gate("0.0.0.0", 8080, guarded=True)
    assert len({Gate("0.0.0.0", 8080, guarded=True).code for _ in range(20)}) == 20
    assert math.log2(31 ** len(gate.code.replace("-", ""))) > 39
    assert gate.judge(f" {gate.code.upper().replace('-', '')} ", "10.0.0.1") is None


@pytest.mark.parametrize("wrong", ["", " ", "0", "ä", "\udcff", "x" * 10_000])
def test_wrong_codes_silence_their_peer_and_nobody_else(wrong: str) -> None:
    clock = Clock()
    gate = Gate("0.0.0.0", 8080, guarded=True, clock=clock)
    for status in (401, 401, 401, 429, 429):
        refusal = gate.judge(wrong, "10.0.0.1")
        assert refusal is not None
        assert refusal.status == status
    early = gate.judge(gate.code, "10.0.0.1")
    assert early is not None
    assert early.status == 429
    assert gate.judge(gate.code, "10.0.0.2") is None
    clock.now_s += 1.01
    assert gate.judge(gate.code, "10.0.0.1") is None


def test_one_machine_is_one_peer_whatever_address_it_takes() -> None:
    gate = Gate("0.0.0.0", 8080, guarded=True, clock=Clock())
    for first, second in (
        ("2001:db8::1", "2001:db8::2:3"),
        ("10.0.0.9", "::ffff:10.0.0.9"),
        ("fe80::1%eth0", "fe80::2"),
    ):
        for _ in range(3):
            gate.judge("wrong", first)
        refusal = gate.judge(gate.code, second)
        assert refusal is not None
        assert refusal.status == 429
    assert gate.judge(gate.code, "2001:db8:0:1::1") is None


def test_an_open_page_has_no_code_that_a_program_could_show() -> None:
    gate = Gate("127.0.0.1", 8080, guarded=False)
    for code in ("", "x"):
        assert gate.websocket(headers(Host="127.0.0.1:8080", Authorization=f"Bearer {code}"), "127.0.0.1") is not None
        assert gate.judge(code, "127.0.0.1") is not None


@pytest.mark.parametrize(
    "request_headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:1"},
        {"origin": "null"},
        {"origin": None},
        {"origin": None, "Authorization": "Bearer "},
        {"origin": "http://evil.example:1", "host": "evil.example"},
    ],
    ids=str,
)
def test_a_foreign_handshake_is_refused_before_it_is_sent_anything(
    open_page: ServedPage, request_headers: dict[str, Any]
) -> None:
    if "host" in request_headers:  # as after DNS rebinding: both headers say the same foreign name
        request_headers = {"origin": f"http://evil.example:{open_page.port}", "host": "evil.example"}
    with pytest.raises(InvalidStatus) as refused:
        open_websocket(open_page.port, **request_headers)
    response = refused.value.response
    assert response.status_code in (401, 403, 421)
    assert len(response.body) < 300
    assert not open_page.page._web.viser._websock_server._live_connections


def test_no_site_may_frame_the_page_or_read_it_under_a_foreign_name(open_page: ServedPage) -> None:
    for path in ("/", PATH, "/nothing"):
        _, _, answered = get(open_page.port, path)
        assert answered["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answered["content-security-policy"]
    for path in ("/", PATH, PRESS_PATH):
        assert get(open_page.port, path, Host="evil.example", X_Shoal="stop")[0] == 421
    assert open_page.robot.state == "idle"


def test_no_link_makes_the_page_show_another_server(open_page: ServedPage) -> None:
    status, _, answered = get(open_page.port, "/?websocket=ws://evil.example")
    assert (status, answered["location"]) == (303, "/")


@pytest.mark.parametrize(
    "request_headers",
    [
        {},
        {"X_Shoal": "no"},
        {"X_Shoal": "stop", "Origin": "https://evil.example"},
        {"X_Shoal": "stop", "Sec_Fetch_Site": "cross-site"},
    ],
    ids=str,
)
def test_another_site_cannot_press_stop(open_page: ServedPage, request_headers: dict[str, str]) -> None:
    assert get(open_page.port, PRESS_PATH, **request_headers)[0] == 403
    assert open_page.robot.state == "idle"


def test_nobody_opens_a_tunnel(open_page: ServedPage, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr(viser._viser, "ViserTunnel", lambda *arguments: opened.append(arguments))
    with Browser(open_page.port) as browser:
        browser.send({"type": "ShareUrlRequest"})
        browser.press("EMERGENCY STOP")
        wait_until(lambda: open_page.robot.state == "estop", "the stop")
    assert open_page.page._web.viser.request_share_url() is None
    assert not opened


def test_a_browser_can_send_only_what_the_page_needs(open_page: ServedPage) -> None:
    with Browser(open_page.port) as browser:
        uuid = browser.controls["EMERGENCY STOP"]["uuid"]
        hostile: list[object] = [
            {"type": "GuiUpdateMessage", "uuid": uuid, "updates": {"removed": True}},
            {"type": "GuiUpdateMessage", "uuid": uuid, "updates": {"update_cb": []}},
            {"type": "GuiUpdateMessage", "uuid": uuid, "updates": None},
            {
                "type": "FileTransferStartUpload",
                "source_component_uuid": uuid,
                "transfer_uuid": "1",
                "filename": "x",
                "mime_type": "x",
                "part_count": 10**6,
                "size_bytes": 10**9,
            },
            {**CAMERA, "position": (math.nan, 0.0, 0.0)},
            {"type": ["GuiUpdateMessage"]},
            {"type": None},
            {},
            [],
            "x",
            1,
        ]
        for message in hostile:
            browser.send(message)  # type: ignore[arg-type]
        browser._websocket.send("text")
        browser._websocket.send(b"\xc1" + msgspec.msgpack.encode(1))
        browser._websocket.send(b"\x91" * 50_000)
        browser.press("EMERGENCY STOP")
        wait_until(lambda: open_page.robot.state == "estop", "the stop")
        client = open_page.page._web.viser.get_clients().popitem()[1]
        assert not client.gui._current_file_upload_states


def test_numbers_that_are_no_pose_end_neither_page_nor_control(open_page: ServedPage) -> None:
    with Browser(open_page.port) as browser:
        browser.press("Take control")
        browser.wait_for("Release control")
        browser.wait_for("Send while I drag")
        browser.set("Send while I drag", True)
        client = open_page.page._web.viser.get_clients().popitem()[1]
        gizmo = open_page.page._panels[client.client_id]._gizmo
        assert gizmo is not None
        for wxyz, said in (
            ((math.nan, 0.0, 0.0, 0.0), ""),  # not even read
            ((1e308, 1e308, 0.0, 0.0), "has the length 1.41421e+308 and must be a unit quaternion"),
            ((0.0, 0.0, 0.0, 0.0), "has the length 0 and must be a unit quaternion"),
        ):
            browser.send(
                {
                    "type": "TransformControlsUpdateMessage",
                    "name": "/goal_to_send",
                    "wxyz": wxyz,
                    "position": (0.4, 0.0, 1e308),
                    "owner": gizmo.handle._impl.api._owner_id,
                }
            )
            if said:
                browser.wait_for_note(said)
        browser.press("Release control")
        browser.wait_for("Take control")
    assert open_page._thread.is_alive()


def test_a_code_opens_the_page_and_its_websocket(guarded_page: ServedPage) -> None:
    port, origin = guarded_page.port, f"http://127.0.0.1:{guarded_page.port}"
    status, text, _ = get(port)
    assert (status, 'name="code"' in text, "EMERGENCY STOP" in text) == (401, True, True)
    for cookie in ({}, {"Cookie": f"shoal_page_{port}=x; a"}):
        with pytest.raises(InvalidStatus, match="401"):
            open_websocket(port, origin=origin, **cookie)
    status, _, answered = get(port, f"/?code={guarded_page.code}")
    assert (status, answered["location"]) == (303, "/")
    assert "HttpOnly; SameSite=Lax" in answered["set-cookie"]
    cookie = answered["set-cookie"].partition(";")[0]
    assert get(port, Cookie=f"other=1; {cookie}")[0] == 200
    with Browser(port, Cookie=cookie) as browser:
        browser.press("Take control")
        browser.wait_for("Release control")
    with pytest.raises(InvalidStatus, match="403"):
        open_websocket(port, origin="https://evil.example", Cookie=cookie)
    open_websocket(port, origin=None, Authorization=f"Bearer {guarded_page.code}").close()


def test_sixty_wrong_codes_wait_for_nothing_and_delay_no_stop(guarded_page: ServedPage) -> None:
    """They took a second each, one after the other, in the threads that also served the stop."""
    port, robot = guarded_page.port, guarded_page.robot
    cookie = f"{guarded_page.page.gate.cookie.partition(';')[0]}"

    def guess(number: int) -> int:
        if number % 2:
            return get(port, f"/?code={number}")[0]
        with pytest.raises(InvalidStatus) as refused:
            open_websocket(port, origin=None, Authorization=f"Bearer {number}")
        return refused.value.response.status_code

    with Browser(port, Cookie=cookie) as browser, ThreadPoolExecutor(60) as pool:
        started = time.monotonic()
        guesses = [pool.submit(guess, number) for number in range(60)]
        browser.press("EMERGENCY STOP")
        wait_until(lambda: robot.state == "estop", "the stop")
        assert {future.result() for future in guesses} <= {401, 429}
        assert time.monotonic() - started < 20
