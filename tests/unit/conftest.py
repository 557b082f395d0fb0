"""Fixtures of the unit tier."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from taskd import App
from taskd.base import running
from taskd.sending.request import direct_request


@pytest.fixture
def app() -> Iterator[App]:
    """An app whose broker and results are its own, in memory."""
    url = f"memory://{uuid4()}"
    app = App(broker=url, results=url)
    yield app
    app.close()


@pytest.fixture
def within_a_task() -> Iterator[None]:
    """Within a task, as the log sees it."""
    request = direct_request("shop.add")
    request.id = "i-1"
    token = running.current.set(request)
    yield
    running.current.reset(token)
