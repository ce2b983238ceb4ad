"""What tests over DDS share."""

from __future__ import annotations

import random

import pytest


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> str:
    """A DDS domain of this test's own, for all processes that it starts."""
    number = str(random.randrange(100, 200))
    monkeypatch.setenv("ROS_DOMAIN_ID", number)
    for name in ("CYCLONEDDS_URI", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.delenv(name, raising=False)
    return number
