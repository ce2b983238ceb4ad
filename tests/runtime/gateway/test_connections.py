"""The gateway's connections, without a gateway process: who gets its turn, and who loses its place."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runtime.gateway import connections
from runtime.gateway.connections import MAX_CONNECTIONS, Connections
from runtime.gateway.gateway import Gateway
from runtime.protocol.messages import Accepted, GoalsReply, Message, Request

PATIENCE_S = 60
STATUS, SUBSCRIBE = b'{"v":2,"type":"status"}\n', b'{"v":2,"type":"subscribe"}\n'


class Counting:
    """A gateway that accepts everything."""

    def __init__(self) -> None:
        self.answered = 0
        self.changes = 0
        self.written = 0

    def answer(self, request: Request) -> Message:
        self.answered += 1
        return GoalsReply(number=0, goals=()) if request.type == "subscribe" else Accepted(number=self.answered)

    def look(self) -> int:
        return self.changes

    def news(self) -> bytes:
        self.written += 1
        return b"x" * 200_000 + b"\n"


class Client:
    """The client's end of a connection that has been handed over."""

    def __init__(self, to: Connections, *, address: int = 0, begun: bytes = b"") -> None:
        self.end, given = socket.socketpair()
        for one in (self.end, given):
            one.setblocking(False)
        to.adopt(given, address, begun)

    async def say(self, said: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.end, said)

    async def hear(self) -> bytes:
        """What comes next; empty at the end."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await asyncio.get_running_loop().sock_recv(self.end, 1 << 20)
        except ConnectionResetError:
            return b""


def run(scenario: Callable[[Connections, Counting], Awaitable[None]]) -> None:
    async def both() -> None:
        gateway = Counting()
        await scenario(Connections(cast(Gateway, gateway)), gateway)

    asyncio.run(both())


def test_client_that_sends_many_lines_at_once_keeps_nobody_waiting() -> None:
    async def scenario(served: Connections, gateway: Counting) -> None:
        flood = Client(served, begun=STATUS * 2000)
        await asyncio.sleep(0)
        other = Client(served)
        await other.say(STATUS)
        number = json.loads(await other.hear())["number"]
        assert number < 100
        assert await flood.hear()

    run(scenario)


def test_client_gets_its_share_of_the_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(connections.time, "monotonic", lambda: clock.now)
    share = connections._Share()
    paused = used = 0.0
    for _ in range(1000):
        pause = share.pause_s(0.01)
        used, paused = used + 0.01, paused + pause
        clock.now += 0.01 + pause
    assert used / (used + paused) == pytest.approx(connections._SHARE, rel=0.02)
    clock.now += 10
    # Who has been quiet is served at once.
    assert [share.pause_s(0.01) for _ in range(4)] == [0.0] * 4


def test_place_of_the_client_that_was_silent_for_longest_is_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_IDLE_S", 0.0)

    async def scenario(served: Connections, gateway: Counting) -> None:
        listening = Client(served, begun=SUBSCRIBE)
        assert await listening.hear()
        clients = [Client(served) for _ in range(MAX_CONNECTIONS - 1)]
        await clients[0].say(STATUS)
        assert await clients[0].hear()
        new, elsewhere = Client(served), Client(served, address=1)
        assert await clients[1].hear() == b""
        for one in (clients[0], clients[2], new, elsewhere):
            await one.say(STATUS)
            assert json.loads(await one.hear())["type"] == "accepted"
        gateway.changes += 1
        assert (await listening.hear()).startswith(b"x")

    run(scenario)


def test_crowd_of_one_owner_neither_keeps_others_out_nor_takes_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = "one"
    monkeypatch.setattr(connections, "_owner", lambda peer: owner)

    async def scenario(served: Connections, gateway: Counting) -> None:
        nonlocal owner
        quiet = Client(served, begun=STATUS)
        assert await quiet.hear()
        quiet_since = next(iter(served._open))
        quiet_since.heard_s -= 1000
        owner = "crowd"
        crowd = [Client(served, begun=STATUS) for _ in range(MAX_CONNECTIONS)]
        # The last of the crowd found no place; others do, at the cost of the crowd.
        assert b"connections already" in await crowd[-1].hear()
        owner = "another"
        for _ in range(5):
            new = Client(served, begun=STATUS)
            assert json.loads(await new.hear())["type"] == "accepted"
        await quiet.say(STATUS)
        assert json.loads(await quiet.hear())["type"] == "accepted"

    run(scenario)


def test_process_at_the_other_end_is_the_owner() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listening:
        assert connections._owner(ours) == str(os.getpid())
        with socket.create_connection(listening.getsockname()[:2]):
            accepted, _ = listening.accept()
            assert connections._owner(accepted) == "127.0.0.1"
            accepted.close()


def test_new_client_is_refused_while_all_others_are_busy() -> None:
    async def scenario(served: Connections, gateway: Counting) -> None:
        clients = [Client(served, begun=STATUS) for _ in range(MAX_CONNECTIONS)]
        refused = Client(served)
        assert f"there are {MAX_CONNECTIONS} connections already" in json.loads(await refused.hear())["reason"]
        assert await refused.hear() == b""
        for client in clients:
            assert await client.hear()

    run(scenario)


def test_client_that_does_not_read_loses_its_connection_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_SEND_S", 0.1)
    monkeypatch.setattr(connections, "_LOOK_S", 0.001)

    async def scenario(served: Connections, gateway: Counting) -> None:
        deaf, other = Client(served, begun=SUBSCRIBE), Client(served)

        async def until_gone() -> None:
            while len(served._open) > 1:
                gateway.changes += 1
                await other.say(STATUS)
                assert await other.hear()
                await asyncio.sleep(0.001)

        await asyncio.wait_for(until_gone(), PATIENCE_S)
        # Something may be left to read, but then the end comes.
        while await deaf.hear():
            pass

    run(scenario)


@pytest.mark.parametrize("said", [b"x" * 200_000, b"y" * 65_537 + b"\n" + STATUS])
def test_line_that_is_too_long_ends_the_connection(said: bytes) -> None:
    async def scenario(served: Connections, gateway: Counting) -> None:
        client = Client(served, begun=said[:100])
        await asyncio.gather(client.say(said[100:]), return_exceptions=True)
        assert "at most 65536 bytes" in json.loads(await client.hear())["reason"]
        assert await client.hear() == b""
        assert gateway.answered == 0

    run(scenario)


def test_half_a_line_is_completed_by_what_follows() -> None:
    async def scenario(served: Connections, gateway: Counting) -> None:
        client = Client(served, begun=STATUS[:9])
        await client.say(STATUS[9:] + b"rubbish\n")
        heard: Any = b""
        while heard.count(b"\n") < 2:
            heard += await client.hear()
        assert [json.loads(line)["type"] for line in heard.splitlines()] == ["accepted", "error"]

    run(scenario)
