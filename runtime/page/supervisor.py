"""Keeps a page alive beside a gateway, in a process of its own: its stop button is one that people look for."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress

from runtime.page.config import PageConfig
from sim2real.child_process import is_suspended, python_module

_FIRST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 30.0
_STABLE_AFTER_S = 10.0
_END_S = 5.0
_LOOK_S = 0.5


async def keep_page(config: PageConfig) -> None:
    """Start the page, and again when it dies or was suspended, more and more slowly; ends it when cancelled."""
    backoff_s = _FIRST_BACKOFF_S
    while True:
        started = time.monotonic()
        status = await _run_once(config)
        if time.monotonic() - started > _STABLE_AFTER_S:
            backoff_s = _FIRST_BACKOFF_S
        print(f"page       ended with status {status}, starts again in {backoff_s:g} s", file=sys.stderr, flush=True)
        await asyncio.sleep(backoff_s)
        backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)


async def _run_once(config: PageConfig) -> int:
    process = await asyncio.create_subprocess_exec(*python_module("runtime.page"), stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(config.model_dump_json().encode() + b"\n")
    try:
        return await ended_or_suspended(process)
    finally:
        # Its standard input ends, so it ends; also when this process dies.
        process.stdin.close()
        if process.returncode is None:
            try:
                await asyncio.wait_for(process.wait(), _END_S)
            except TimeoutError:
                process.kill()


async def ended_or_suspended(process: asyncio.subprocess.Process) -> int:
    """Wait for the end of a process, and end it once a signal has suspended it; returns its status."""
    looks = 0
    while process.returncode is None and looks < 2:
        looks = looks + 1 if is_suspended(process.pid) else 0
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _LOOK_S)
    if process.returncode is None:
        process.kill()
    return await process.wait()
