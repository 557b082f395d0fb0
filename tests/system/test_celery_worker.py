"""Our producers over a real Celery worker: what we send runs there, and what it stores is read here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from taskd import App
from taskd.protocol.exceptions import TaskRevokedError
from tests.system.celery_worker import CeleryWorker
from tests.system.shared_brokers import SHARED
from tests.waiting import wait_until


@pytest.fixture(scope="module", params=SHARED)
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    url = SHARED[request.param]()
    worker = CeleryWorker(url, "celery@theirs", tmp_path_factory.mktemp("celery") / "log")
    worker.wait_ready()
    client = App(broker=url, results=url)
    yield client
    client.close()
    worker.end()


def send(app: App, name: str, *args: object, **options: Any) -> Any:
    return app.send_task(f"theirs.{name}", args, queue="theirs", **options)


def test_a_celery_worker_runs_what_we_send(app: App) -> None:
    assert send(app, "add", 1, 2).get(timeout=60) == 3
    assert app.wait_all([send(app, "add", n, n) for n in range(50)], timeout=60) == [2 * n for n in range(50)]


def test_a_celery_worker_sees_our_options(app: App) -> None:
    expires = datetime.now(timezone.utc) + timedelta(hours=1)

    seen = send(
        app, "request", 1, task_id="id-for-celery", countdown=0.3, expires=expires, priority=3,
        headers={"x-tenant": "acme"}, time_limit=30, soft_time_limit=20,
    ).get(timeout=60)  # fmt: skip

    assert (seen["id"], seen["args"], seen["root_id"], seen["parent_id"]) == (
        "id-for-celery", [1], "id-for-celery", None,
    )  # fmt: skip
    assert (seen["timelimit"], seen["headers"]["x-tenant"]) == ([30, 20], "acme")
    assert datetime.fromisoformat(seen["expires"]) == expires
    assert datetime.fromisoformat(seen["eta"]) < datetime.now(timezone.utc)
    assert (seen["delivery_info"]["routing_key"], seen["delivery_info"]["priority"]) == ("theirs", 3)
    assert seen["origin"].startswith("gen")


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "lzma", "brotli", "zstd"])
def test_a_celery_worker_reads_what_we_compress(app: App, compression: str) -> None:
    assert send(app, "add", 1, 2, compression=compression).get(timeout=60) == 3


def test_a_celery_worker_drops_what_has_expired(app: App) -> None:
    with pytest.raises(TaskRevokedError, match="expired"):
        send(app, "add", 1, countdown=0.3, expires=0.1).get(timeout=60)


def test_a_celery_worker_sends_our_links(app: App, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    link = app.call("theirs.note", path=str(path)).with_options(queue="theirs")

    well = send(app, "add", 1, 2, link=link)
    badly = send(app, "fail", link_error=link)

    wait_until(lambda: path.exists() and len(path.read_text().split()) == 2, 20)
    assert sorted(path.read_text().split()) == sorted(["3", badly.id])
    assert len(well.children) == 1


def test_errors_states_and_children_of_a_celery_worker_are_read(app: App, tmp_path: Path) -> None:
    failed = send(app, "fail")
    with pytest.raises(LookupError) as caught:
        failed.get(timeout=60)
    assert caught.value.args == ("no such", 7)
    assert (failed.state, "LookupError" in (failed.traceback or "")) == ("FAILURE", True)

    parent = send(app, "parent")
    child_id = parent.get(timeout=60)
    assert [child.id for child in parent.children] == [child_id]
    assert parent.children[0].get(timeout=60) == 2

    gate = tmp_path / "gate"
    retried = send(app, "again", str(gate))
    wait_until(lambda: retried.state == "RETRY", 20)
    assert isinstance(retried.info, LookupError)
    gate.touch()
    assert retried.get(timeout=60) >= 1

    gate.unlink()
    counting = send(app, "progress", str(gate))
    wait_until(lambda: counting.state == "COUNTING", 20)
    assert counting.info == {"at": 1}
    gate.touch()
    assert counting.get(timeout=60) == "counted"


def test_a_task_without_a_result_keeps_none_there(app: App) -> None:
    silent = app.result(send(app, "add", 1, ignore_result=True).id)
    send(app, "add", 1).get(timeout=60)

    assert silent.state == "PENDING"
