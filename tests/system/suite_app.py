"""The application of Celery's own integration suite: its tasks, with the settings of its client."""

from __future__ import annotations

import os

from celery import Celery
from celery.contrib.testing import tasks
from t.integration.tasks import ClassBasedAutoRetryTask

app = Celery("celery.tests", include=["t.integration.tasks"])
app.conf.update(
    broker_url=os.environ["TEST_BROKER"],
    result_backend=os.environ["TEST_BACKEND"],
    result_extended=True,
    task_create_missing_queues=False,
    worker_hijack_root_logger=False,
    worker_log_color=False,
    accept_content={"json"},
    enable_utc=True,
    timezone="UTC",
    broker_heartbeat=0,
)
app.register_task(ClassBasedAutoRetryTask)
#: That by which the suite learns that a worker runs tasks.
ping = tasks.ping
