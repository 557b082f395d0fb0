"""The descriptor by which programs get their configuration, and later changes of it."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from taskd.config import transfer
from taskd.config.daemon import LogConfig
from taskd.config.schema import Config
from taskd.errors import ConfigError


def inherited(fd: int) -> transfer.Inherited:
    return transfer.Inherited({transfer.CONFIG_FD_VARIABLE: str(os.dup(fd))})


def test_a_program_begins_with_the_first_configuration_and_then_takes_the_last() -> None:
    first = Config(app="shop:app", path="/etc/taskd.toml")
    last = replace(first, log=LogConfig(level="debug"))
    fd = transfer.into_descriptor(first)
    early = inherited(fd)

    transfer.append(fd, replace(first, log=LogConfig(level="error")))
    transfer.append(fd, last)

    assert early.config == first
    assert early.latest() == last
    assert inherited(fd).config == first, "one that starts again starts with what it had"
    os.close(fd)


def test_a_line_that_is_not_whole_yet_is_not_read() -> None:
    config = Config(app="shop:app")
    fd = transfer.into_descriptor(config)
    os.pwrite(fd, transfer.encode(config)[:40], os.fstat(fd).st_size)

    assert inherited(fd).latest() == config
    os.close(fd)


def test_a_descriptor_of_something_else_is_refused() -> None:
    fd = os.memfd_create("empty")

    with pytest.raises(ConfigError, match="cannot be read"):
        inherited(fd)
    os.close(fd)
