"""The descriptor by which programs get their configuration, and later changes of it."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from taskd.base.errors import ConfigError
from taskd.config import transfer
from taskd.config.daemon import LogConfig
from taskd.config.schema import Config

FIRST = Config(app="shop:app", path="/etc/taskd.toml")


def inherited(fd: int) -> transfer.Inherited:
    return transfer.Inherited({transfer.CONFIG_FD_VARIABLE: str(os.dup(fd))})


@pytest.fixture
def handover() -> Iterator[transfer.Handover]:
    found = transfer.Handover(FIRST)
    yield found
    found.close()


def test_a_program_begins_with_the_first_configuration_and_then_takes_the_last(
    handover: transfer.Handover,
) -> None:
    last = replace(FIRST, log=LogConfig(level="debug"))
    early = inherited(handover.fd)

    handover.add(replace(FIRST, log=LogConfig(level="error")))
    handover.add(last)

    assert early.config == FIRST
    assert early.latest() == last


def test_who_inherits_the_descriptor_can_change_nothing_in_it(handover: transfer.Handover) -> None:
    again = os.open(f"/proc/self/fd/{handover.fd}", os.O_RDWR)
    try:
        for fd in (handover.fd, again):
            with pytest.raises(PermissionError):
                os.pwrite(fd, b"x", 0)
            with pytest.raises(PermissionError):
                os.ftruncate(fd, 0)
            with pytest.raises(PermissionError):
                mmap.mmap(fd, 4096)
    finally:
        os.close(again)
    assert inherited(handover.fd).config == FIRST


def test_any_number_of_changes_finds_room(handover: transfer.Handover) -> None:
    for number in range(2000):
        last = replace(FIRST, log=LogConfig(tail=number))
        handover.add(last)

    assert inherited(handover.fd).latest() == last
    assert inherited(handover.fd).config == FIRST
    with pytest.raises(ConfigError, match="there is room for"):
        handover.add(replace(FIRST, app="x" * 1_000_000))


def test_a_descriptor_of_something_else_is_refused() -> None:
    fd = os.memfd_create("empty")

    with pytest.raises(ConfigError, match="cannot be read"):
        inherited(fd)
    os.close(fd)
