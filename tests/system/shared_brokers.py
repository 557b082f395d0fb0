"""The brokers over which the tests with Celery's own clients run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests import services

#: Makes the URL of a broker for one daemon in a directory.  One line for each broker that joins.
BROKERS: Mapping[str, Callable[[Path], str]] = {
    "rabbitmq": lambda directory: services.rabbit_url(),
    "redis": lambda directory: services.redis_database(),
    "sqlite": lambda directory: "sqlite://broker.db",
}

#: Each of them for a fixture.
EACH = [pytest.param(name, marks=[] if name == "sqlite" else [pytest.mark.slow]) for name in BROKERS]

#: Brokers that Celery's own workers and result backends can share with ours.
SHARED: Mapping[str, Callable[[], str]] = {"redis": services.redis_url}
