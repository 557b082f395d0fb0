"""What a prefork child may write to its pool: none of it costs more than the child."""

from __future__ import annotations

import pytest

from tests import fuzzing
from tests.component.prefork_garbage import attack


@pytest.mark.slow
def test_whatever_a_child_writes_each_of_its_jobs_ends_once() -> None:
    fuzzing.each_case(20_000, attack)
