"""kombu's transport over SQL tables, which has errors of its own."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from taskd.base.errors import BrokerError
from taskd.brokers.kombu.broker import KombuBroker
from taskd.brokers.kombu.server import Server
from taskd.config.stores import AmqpConfig
from tests.contract.brokers import bodies, message


def test_a_database_that_is_locked_is_trouble_of_the_broker_and_passes(tmp_path: Path) -> None:
    path = tmp_path / "kombu.db"
    options = {"connect_args": {"timeout": 0.05}}
    broker = KombuBroker(Server(f"kombu+sqla+sqlite:///{path}", AmqpConfig(transport_options=options)))
    publisher, intake = broker.publisher(), broker.intake("w", ["mail"])
    publisher.publish([message("before")])

    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BrokerError, match="locked"):
            publisher.publish([message("during")])
        with pytest.raises(BrokerError, match="locked"):
            intake.claim(1)

    publisher.publish([message("after")])
    again = broker.intake("w", ["mail"])
    assert bodies(again.claim(10)) == ["before", "after"]
    broker.close()
