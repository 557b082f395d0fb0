"""Fixtures of the component tier."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taskd.base.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop, closed afterwards."""
    made = Loop()
    yield made
    made.close()
