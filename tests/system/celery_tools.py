"""The Celery application that Celery's own programs are started with; TEST_BROKER names the broker."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("tools", broker=os.environ["TEST_BROKER"])
if os.environ["TEST_BROKER"].startswith("sqlite:"):
    app.conf.broker_transport = "taskd.brokers.kombu_client.transport:SqliteTransport"
