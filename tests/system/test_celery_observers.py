"""What watches a Celery app loses nothing, though each child leaves after one task."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import brotli
import pytest

from tests import services
from tests.system.celery_client import CELERYS_WARNINGS, client_over
from tests.system.daemon import Daemon, head_over
from tests.waiting import wait_until

pytestmark = CELERYS_WARNINGS

_READERS: Mapping[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "br": brotli.decompress,
}

WORKER = """
[worker.main]
queues = ["celery"]
pool = "prefork"
concurrency = 2
max_tasks_per_child = 1
"""


class Sentry:
    """A server that takes what Sentry's SDK sends."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        events = self.events

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                body = _READERS[self.headers.get("Content-Encoding", "identity")](body)
                events.extend(
                    found
                    for line in body.splitlines()
                    if line.startswith(b"{") and "exception" in (found := json.loads(line))
                )
                # The SDK sends one after the other: the last of many still waits when the task ends.
                threading.Event().wait(0.02)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="sentry", daemon=True)
        self._thread.start()

    @property
    def dsn(self) -> str:
        return f"http://public@127.0.0.1:{self._server.server_port}/1"

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    server = Sentry()
    yield server
    server.end()


def test_sentry_and_opentelemetry_have_every_failure(
    sentry: Sentry, make_daemon: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = services.redis_database()
    spans = tmp_path / "spans"
    monkeypatch.setenv("TEST_BROKER", url)
    monkeypatch.setenv("TEST_NOTES", str(spans))
    monkeypatch.setenv("TEST_DSN", sentry.dsn)
    daemon = make_daemon(WORKER, head=head_over(url, url, app="observed_app"))
    daemon.start()
    with client_over(url, url) as client:
        ids = {client.send_task("tests.system.observed_app.fail").id for _ in range(4)}

        wait_until(lambda: len(sentry.events) >= len(ids), what="the events of Sentry")
        wait_until(lambda: spans.exists() and len(spans.read_text().split()) >= len(ids), what="the spans")
    assert {event["tags"]["celery_task_id"] for event in sentry.events} == ids
    assert set(spans.read_text().split()) == ids
