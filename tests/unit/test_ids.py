"""Identifiers as Celery's clients expect them."""

from __future__ import annotations

import os
import socket
from uuid import UUID

import pytest

from taskd.base import ids


def test_task_ids_are_uuids_and_differ() -> None:
    first, second = ids.new_task_id(), ids.new_task_id()

    assert str(UUID(first)) == first
    assert first != second


def test_a_node_name_is_the_program_at_the_host() -> None:
    assert ids.node_name("mail-1") == f"mail-1@{socket.gethostname()}"


def test_a_node_may_be_called_as_celery_s_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_HOST", "web3.shop.example")

    assert ids.node_of("mail-1", "") == "mail-1@web3.shop.example"
    assert ids.node_of("mail-1", "celery@%h") == "celery@web3.shop.example"
    assert ids.node_of("mail-1", "celery.%n@%d") == "celery.web3@shop.example"


def test_the_origin_names_process_and_host() -> None:
    assert ids.origin() == f"gen{os.getpid()}@{socket.gethostname()}"
