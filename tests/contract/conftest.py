"""The fixtures of every suite that runs over each broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskd.brokers.base import Broker
from tests.contract.brokers import EACH, OPENERS, Clock


@pytest.fixture
def clock() -> Clock:
    """The time that the broker goes by."""
    return Clock()


@pytest.fixture(params=EACH)
def broker(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Broker]:
    """Each broker in turn."""
    opened = OPENERS[request.param](tmp_path, clock.timing)
    yield opened
    opened.close()
