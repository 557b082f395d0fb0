"""Task code that takes over what belongs to its worker, in a real daemon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.daemon import Daemon

WORKER = '[worker.main]\napp = "tests.system.unruly_app:app"\nconcurrency = 1\npool = "{}"\n'


@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("when", ["at import", "in the task"])
def test_what_code_does_to_logging_costs_no_line_of_taskds(
    make_daemon: Callable[..., Daemon], tmp_path: Path, pool: str, when: str
) -> None:
    theirs = tmp_path / "theirs.log"
    at_import = f'environment = {{ UNRULY_LOG = "{theirs}" }}\n' if when == "at import" else ""
    daemon = make_daemon(WORKER.format(pool) + at_import)
    daemon.start()

    in_task = () if at_import else (str(theirs),)
    result = daemon.app.send_task("tests.system.unruly_app.fail", in_task)
    with pytest.raises(ValueError, match="the pen broke"):
        result.get(timeout=60)
    assert daemon.stop() == 0

    log = daemon.log.read_text()
    assert f"id={result.id} failed: ValueError: the pen broke\n" in log
    assert 'raise ValueError("the pen broke")' in log, "the traceback"
    assert "main-1" in log
    assert "draining" in log
    assert theirs.read_text() == "the shop says so\n"


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent", "asyncio"])
def test_a_worker_hears_of_its_stop_whatever_its_code_does_to_signals(
    make_daemon: Callable[..., Daemon], pool: str
) -> None:
    daemon = make_daemon(WORKER.format(pool))
    daemon.start()
    assert daemon.app.send_task("tests.system.unruly_app.deafen").get(timeout=60) is None

    assert daemon.stop() == 0

    log = daemon.log.read_text()
    assert "task code has taken over SIGTERM" in log
    assert "shutdown=warm" in log
    assert "KILL" not in log
