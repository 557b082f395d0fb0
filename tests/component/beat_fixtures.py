"""The fixtures of the tests of beat's service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskd.base.loop import Loop
from taskd.config.schedule import BeatEntryConfig
from tests.component.beat_bench import Bench

Make = Callable[..., Bench]


@pytest.fixture
def make(loop: Loop, tmp_path: Path) -> Iterator[Make]:
    """Make benches; their beats are stopped afterwards."""
    benches: list[Bench] = []

    def bench(*entries: BeatEntryConfig) -> Bench:
        benches.append(made := Bench(loop, tmp_path, *entries))
        return made

    yield bench
    for each in benches:
        each.stop()
