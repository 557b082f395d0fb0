"""The connection of clients such as taskctl: what is said of a transport that cannot be had."""

from __future__ import annotations

import sys

import pytest

from taskd.base.errors import BrokerError
from taskd.brokers.kombu_client.connection import kombu_connection
from taskd.config.stores import Stores


def test_a_transport_whose_library_is_missing_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kombu.transport._transport_cache", {})
    monkeypatch.setitem(sys.modules, "kombu.transport.redis", None)

    with pytest.raises(BrokerError, match=r'redis:// cannot be imported .*: pip install "taskd\[redis\]"'):
        kombu_connection("redis://localhost/0", Stores())


def test_a_broker_in_memory_has_none() -> None:
    with pytest.raises(BrokerError, match='"memory://" has no kombu transport'):
        kombu_connection("memory://", Stores())
