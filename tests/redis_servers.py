"""Private servers of Redis for tests that stop, fill or configure one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.services import RedisServer


@pytest.fixture
def new_server() -> Iterator[Callable[..., RedisServer]]:
    """Make private servers with options; they end with the test."""
    made: list[RedisServer] = []

    def make(*options: str) -> RedisServer:
        made.append(RedisServer(*options))
        return made[-1]

    yield make
    for each in made:
        each.end()
