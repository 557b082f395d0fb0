"""Celery's producers and results over our workers: options, serializers, and canvas without an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, group
from celery import exceptions as celery_errors
from celery.exceptions import TaskRevokedError
from celery.result import ResultSet

from tests.system.celery_client import CELERYS_WARNINGS, close_celery
from tests.system.daemon import Daemon, head_over
from tests.system.shared_brokers import SHARED
from tests.waiting import wait_until

WORKER = """
[worker.main]
queues = ["celery", "other", "default"]
concurrency = 2
"""
pytestmark = CELERYS_WARNINGS

SAFE = '["json", "msgpack", "yaml"]'


@pytest.fixture(params=SHARED)
def url(request: pytest.FixtureRequest) -> str:
    return SHARED[request.param]()


@pytest.fixture
def start(make_daemon: Callable[..., Daemon], url: str) -> Callable[..., Daemon]:
    def started(accept: str = SAFE) -> Daemon:
        made = make_daemon(WORKER, head=f"accept_content = {accept}\n{head_over(url, url, app='wired_app')}")
        made.start()
        return made

    return started


@pytest.fixture
def daemon(start: Callable[..., Daemon]) -> Daemon:
    return start()


@pytest.fixture
def celery(url: str) -> Iterator[Celery]:
    client = Celery("client", broker=url, backend=url)
    yield client
    client.control.purge()
    close_celery(client)


def sig(celery: Celery, name: str, *args: object, **options: Any) -> Any:
    return celery.signature(f"wired.{name}", args=args, options=options)


def seen(result: Any) -> dict[str, Any]:
    found = result.get(timeout=60)
    assert isinstance(found, dict)
    return found


def test_the_request_has_what_the_producer_said(daemon: Daemon, celery: Celery) -> None:
    expires = datetime.now(timezone.utc) + timedelta(hours=1)
    result = celery.send_task(
        "wired.request", (1, "zwei"), {"key": None}, task_id="id-of-request", countdown=0.2, expires=expires,
        priority=3, headers={"x-tenant": "acme"}, time_limit=30, soft_time_limit=20, shadow="shown",
        argsrepr="(secret)", kwargsrepr="{secret}", queue="other", root_id="root", parent_id="father",
        retry=True, retry_policy={"max_retries": 1}, stamped_headers=["tenant"], tenant="acme",
    )  # fmt: skip

    request = seen(result)

    assert {name: request[name] for name in ("id", "task", "args", "kwargs", "root_id", "parent_id")} == {
        "id": "id-of-request", "task": "wired.request", "args": [1, "zwei"], "kwargs": {"key": None},
        "root_id": "root", "parent_id": "father",
    }  # fmt: skip
    assert (request["timelimit"], request["time_limit"], request["soft_time_limit"]) == ([30, 20], 30, 20)
    assert (request["shadow"], request["argsrepr"], request["kwargsrepr"]) == (
        "shown",
        "(secret)",
        "{secret}",
    )
    assert request["headers"] == {"x-tenant": "acme"}
    assert (request["stamped_headers"], request["stamps"]) == (["tenant"], {"tenant": "acme"})
    assert datetime.fromisoformat(request["expires"]) == expires
    assert datetime.fromisoformat(request["eta"]) < datetime.now(timezone.utc)
    assert request["delivery_info"]["routing_key"] == "other"
    assert request["correlation_id"] == "id-of-request"
    assert request["origin"].startswith("gen")
    assert (request["is_eager"], request["called_directly"], request["children"]) == (False, False, [])


def test_a_task_that_has_expired_or_is_revoked_does_not_run(
    daemon: Daemon, celery: Celery, tmp_path: Path
) -> None:
    path = str(tmp_path / "notes")
    late = celery.send_task("wired.note", (path, "late"), expires=datetime.now(timezone.utc), countdown=0.3)
    celery.control.revoke("known-beforehand", reply=True, timeout=60, limit=1)
    gone = celery.send_task("wired.note", (path, "gone"), task_id="known-beforehand")

    with pytest.raises(TaskRevokedError, match="expired"):
        late.get(timeout=60)
    with pytest.raises(TaskRevokedError, match="revoked"):
        gone.get(timeout=60)
    assert not Path(path).exists()


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml"])
@pytest.mark.parametrize("compression", [None, "gzip", "bzip2", "lzma", "brotli", "zstd"])
def test_every_serializer_and_compression_arrives(
    daemon: Daemon, celery: Celery, serializer: str, compression: str | None
) -> None:
    sent = celery.send_task(
        "wired.echo", (1, "zwei"), {"key": [None, 1.5]}, serializer=serializer, compression=compression
    )

    assert sent.get(timeout=60) == [[1, "zwei"], {"key": [None, 1.5]}]


def test_a_pickle_is_a_dead_letter_and_the_client_is_told(daemon: Daemon, celery: Celery) -> None:
    sent = celery.send_task("wired.echo", (1,), serializer="pickle")

    with pytest.raises(Exception, match=r"pickle.*accept_content"):
        sent.get(timeout=60)
    (reason,) = wait_until(
        lambda: [letter["reason"] for letter in daemon.dead_letters() if letter["task_id"] == sent.id]
    )
    assert "accept_content" in str(reason)


def test_a_pickle_is_read_where_the_file_allows_it(start: Callable[..., Daemon], celery: Celery) -> None:
    start(accept='["json", "pickle"]')

    assert celery.send_task("wired.echo", ((1, 2),), serializer="pickle").get(timeout=60) == [[[1, 2]], {}]


def test_links_of_celery_are_sent(daemon: Daemon, celery: Celery, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    well = sig(celery, "add", 1, 2).apply_async(link=sig(celery, "note_last", str(path)))
    badly = sig(celery, "fail").apply_async(link_error=sig(celery, "note_last", str(path)))

    wait_until(lambda: path.exists() and len(path.read_text().split()) == 2, 20)

    assert sorted(path.read_text().split()) == sorted(["3", badly.id])
    assert [child.get(timeout=60) for child in well.children] == [3]


def test_a_chain_runs_step_by_step_and_its_client_sees_each(daemon: Daemon, celery: Celery) -> None:
    last = chain(sig(celery, "add", 1, 2), sig(celery, "add", 3), sig(celery, "add", 4)).apply_async()

    assert last.get(timeout=60) == 10
    assert (last.parent.get(timeout=60), last.parent.parent.get(timeout=60)) == (6, 3)
    assert [child.id for child in last.parent.parent.children] == [last.parent.id]


def test_immutable_steps_and_options_within_a_chain_are_kept(daemon: Daemon, celery: Celery) -> None:
    steps = chain(
        sig(celery, "add", 1, 2),
        sig(celery, "add", 5).set(immutable=True, queue="other"),
        sig(celery, "request").set(headers={"x": "y"}, shadow="shown"),
    )

    request = seen(steps.apply_async())

    assert request["args"] == [5]
    assert (request["headers"], request["shadow"]) == ({"x": "y"}, "shown")


def test_a_chain_that_breaks_answers_whoever_waits_for_its_end(
    daemon: Daemon, celery: Celery, tmp_path: Path
) -> None:
    path = tmp_path / "notes"
    steps = chain(sig(celery, "add", 1), sig(celery, "fail"), sig(celery, "note", str(path)))

    last = steps.apply_async(link_error=sig(celery, "note_last", str(path)))

    with pytest.raises(LookupError, match="no such"):
        last.get(timeout=60, propagate=True)
    wait_until(path.exists, 20)
    assert path.read_text().split() == [last.parent.id]


def test_a_chain_that_is_revoked_in_the_middle_ends(daemon: Daemon, celery: Celery) -> None:
    second = sig(celery, "add", 2).set(task_id="known-beforehand")
    celery.control.revoke("known-beforehand", reply=True, timeout=60, limit=1)
    last = chain(sig(celery, "add", 1), second, sig(celery, "add", 3)).apply_async()

    with pytest.raises(TaskRevokedError):
        last.get(timeout=60)


def test_a_group_is_joined_and_saved(daemon: Daemon, celery: Celery) -> None:
    result = group(sig(celery, "add", n, n) for n in range(10)).apply_async()
    result.save()

    assert result.join(timeout=60) == [2 * n for n in range(10)]
    assert celery.GroupResult.restore(result.id).join_native(timeout=60) == [2 * n for n in range(10)]
    assert ResultSet(result.results, app=celery).get(timeout=60) == [2 * n for n in range(10)]


def test_a_group_at_the_end_of_a_chain_and_a_chain_in_a_group_run(daemon: Daemon, celery: Celery) -> None:
    wide = chain(sig(celery, "add", 1), group(sig(celery, "add", n) for n in range(3))).apply_async()
    long = group(chain(sig(celery, "add", n), sig(celery, "add", 1)) for n in range(3)).apply_async()

    assert wide.get(timeout=60) == [1, 2, 3]
    assert long.get(timeout=60) == [1, 2, 3]


def stands_at(counting: Any, gate: str) -> bool:
    return bool(counting.info == {"at": gate})


def test_states_errors_and_tracebacks_are_celerys(daemon: Daemon, celery: Celery, tmp_path: Path) -> None:
    failed = celery.send_task("wired.fail")
    with pytest.raises(LookupError) as caught:
        failed.get(timeout=60)
    assert caught.value.args == ("no such", 7)
    assert failed.get(propagate=False).args == ("no such", 7)
    assert (failed.state, failed.failed()) == ("FAILURE", True)
    assert 'raise LookupError("no such", 7)' in failed.traceback

    counting = celery.send_task("wired.progress", (str(tmp_path),))
    wait_until(lambda: counting.state == "STARTED", 20)
    assert set(counting.info) == {"pid", "hostname"}
    for gate in ("first", "second"):
        (tmp_path / gate).touch()
        wait_until(partial(stands_at, counting, gate))
    assert counting.state == "COUNTING"
    (tmp_path / "third").touch()
    assert counting.get(timeout=60) == "counted"

    last_gate = tmp_path / "gate"
    retried = celery.send_task("wired.again", (str(last_gate),))
    wait_until(lambda: retried.state == "RETRY", 20)
    assert isinstance(retried.result, LookupError)
    last_gate.touch()
    assert retried.get(timeout=60) >= 1


def test_children_forget_and_ignored_results(daemon: Daemon, celery: Celery) -> None:
    parent = celery.send_task("wired.parent", ("wired.add",), queue="celery")
    child_id = parent.get(timeout=60)
    silent = celery.send_task("wired.add", (1,), ignore_result=True)
    celery.send_task("wired.add", (1,)).get(timeout=60)

    assert [child.id for child in parent.children] == [child_id]
    parent.forget()
    assert celery.AsyncResult(parent.id).state == "PENDING"
    with pytest.raises(celery_errors.TimeoutError):
        celery.AsyncResult(silent.id).get(timeout=0.3)


def test_a_running_task_is_revoked_by_its_result(daemon: Daemon, celery: Celery, tmp_path: Path) -> None:
    held = celery.send_task("wired.hold", (str(tmp_path / "runs"), str(tmp_path / "gate")))
    wait_until((tmp_path / "runs").exists, 20)

    held.revoke(terminate=True, signal="KILL")

    with pytest.raises(TaskRevokedError, match="terminated"):
        held.get(timeout=60)
    assert held.state == "REVOKED"


def test_results_expire_as_the_server_is_told(daemon: Daemon, celery: Celery) -> None:
    sent = celery.send_task("wired.add", (1,))
    sent.get(timeout=60)

    if hasattr(celery.backend, "client"):
        assert 86_000 < celery.backend.client.ttl(f"celery-task-meta-{sent.id}") <= 86_400
