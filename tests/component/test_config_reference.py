"""The reference page and the example follow the schema."""

from __future__ import annotations

import re
from pathlib import Path

from taskd.config.daemon import LogConfig, SupervisorConfig
from taskd.config.load import check_bytes
from taskd.config.programs import ProgramConfig, WorkerConfig
from taskd.config.reference import render
from taskd.config.schedule import BeatConfig, BeatEntryConfig
from taskd.config.schema import Config
from taskd.config.security import SecurityConfig
from taskd.config.stores import SqliteConfig
from taskd.config.tables import options
from taskd.execution.opening import read_app

ROOT = Path(__file__).parents[2]
TABLES = (
    Config,
    SupervisorConfig,
    LogConfig,
    SecurityConfig,
    SqliteConfig,
    WorkerConfig,
    ProgramConfig,
    BeatConfig,
    BeatEntryConfig,
)
EXAMPLE = (ROOT / "etc" / "taskd.toml").read_text(encoding="utf-8")


def test_the_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")

    assert page == render(), "run: python -m taskd.config.reference > docs/configuration.md"


def test_the_example_has_no_problems() -> None:
    config, problems = check_bytes(EXAMPLE.encode(), "/etc/taskd.toml", {})

    assert config is not None
    assert problems == []


def test_the_example_runs_as_it_is() -> None:
    config, _ = check_bytes(EXAMPLE.encode(), "/etc/taskd.toml", {})
    assert config is not None

    tasks = {
        name for worker in config.workers.values() for name in read_app(worker.app or config.app).tasks()
    }

    assert {entry.task for entry in config.beat.schedule.values()} <= tasks
    served = {queue for worker in config.workers.values() for queue in worker.queues}
    assert {entry.queue or "default" for entry in config.beat.schedule.values()} <= served


def test_the_example_mentions_every_key() -> None:
    mentioned = set(re.findall(r"^#? ?([a-z_]+) = ", EXAMPLE, re.MULTILINE))

    assert {key for table in TABLES for key in options(table)} <= mentioned


def test_what_the_example_has_commented_out_is_the_default() -> None:
    uncommented = re.sub(r"^#([a-z_]+ = )(?!\{)", r"\1", EXAMPLE, flags=re.MULTILINE)
    assert uncommented != EXAMPLE

    assert check_bytes(uncommented.encode(), "/etc/taskd.toml", {}) == check_bytes(
        EXAMPLE.encode(), "/etc/taskd.toml", {}
    )
