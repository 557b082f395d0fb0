"""Identifiers as Celery's clients expect them."""

from __future__ import annotations

import os

import pytest

from taskd import ids


def test_task_ids_are_uuids_and_differ() -> None:
    first, second = ids.new_task_id(), ids.new_task_id()

    assert ids.is_uuid(first)
    assert len(first) == 36
    assert first != second


@pytest.mark.parametrize("text", ["", "mail-1", "6edb60bf-20ce-4504-8147-35549455b67", "6edb60bf' OR 1=1"])
def test_other_texts_are_no_uuids(text: str) -> None:
    assert not ids.is_uuid(text)


def test_a_node_name_is_the_program_at_the_host() -> None:
    assert ids.node_name("mail-1") == f"mail-1@{ids.host()}"
    assert ids.host()


def test_the_origin_names_process_and_host() -> None:
    assert ids.origin() == f"gen{os.getpid()}@{ids.host()}"
