"""The daemon over kombu's SQL tables: a Celery producer that has no other broker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery

from tests.system.daemon import ONE_WORKER_FOR_CELERY, Daemon, head_over


@pytest.mark.slow
def test_tasks_of_celery_and_of_taskd_run_over_sql(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    url = f"sqla+sqlite:///{tmp_path}/kombu.db"
    daemon = make_daemon(ONE_WORKER_FOR_CELERY, head=head_over(f"kombu+{url}", "sqlite://results.db"))
    daemon.start()
    celery = Celery("client", broker=url)

    sent = [celery.send_task("shop.add", (n, 1)).id for n in range(5)]
    ours = daemon.app.send_task("shop.add", (1, 1), countdown=0.2)

    assert [daemon.app.result(each).get(timeout=60) for each in sent] == [1, 2, 3, 4, 5]
    assert ours.get(timeout=60) == 2
    daemon.app.close()
    celery.close()
