"""Celery's chords over our workers, alone and together with a Celery worker: no body waits for ever."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, chunks, group, xmap, xstarmap
from celery.exceptions import ChordError
from redis import Redis

from tests import services
from tests.system.celery_client import CELERYS_WARNINGS, client_over
from tests.system.celery_worker import CeleryWorker
from tests.system.daemon import Daemon, head_over
from tests.system.notes import has_lines, lines
from tests.waiting import wait_until

WORKER = """
[worker.main]
queues = ["celery", "default"]
concurrency = 2
max_deaths = 2
"""
pytestmark = CELERYS_WARNINGS


@pytest.fixture(scope="module")
def url() -> str:
    return services.redis_database()


@pytest.fixture(scope="module")
def daemon(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    made = Daemon(tmp_path_factory.mktemp("daemon"), WORKER, head=head_over(url, url, app="wired_app"))
    made.start()
    yield made
    made.end()


@pytest.fixture
def celery(url: str) -> Iterator[Any]:
    with client_over(url, url) as made:
        yield made


@pytest.fixture
def sig(celery: Any) -> Callable[..., Any]:
    def signature(name: str, *args: object, **options: Any) -> Any:
        name = name if "." in name else f"wired.{name}"
        immutable = options.pop("immutable", False)
        return celery.signature(name, args=args, options=options, immutable=immutable)

    return signature


Sig = Callable[..., Any]


def failure_of(result: Any) -> BaseException:
    """Return what the body itself ended with; its ``result.get`` raises the error of a part, once seen."""
    alone = result.app.AsyncResult(result.id)
    with pytest.raises(Exception, match=r".") as raised:
        alone.get(timeout=60)
    return raised.value


def keys_left(url: str) -> list[bytes]:
    with Redis.from_url(url) as client:
        return [key for key in client.keys("celery-taskset-meta-*") if not key.endswith(b".c")]


def test_the_body_gets_the_results_in_the_order_of_the_header(daemon: Daemon, sig: Sig, url: str) -> None:
    result = chord([sig("add", n, n) for n in range(20)], sig("echo")).apply_async()

    assert result.get(timeout=60) == [[[2 * n for n in range(20)]], {}]
    wait_until(lambda: not keys_left(url), 10)


def test_a_group_with_a_task_behind_it_is_a_chord_wherever_it_stands(daemon: Daemon, sig: Sig) -> None:
    first = group(sig("add", 1, 1), sig("add", 2, 2)) | sig("echo")
    later = chain(sig("add", 1, 1), group(sig("add", 10), sig("add", 20)), sig("echo"), sig("echo"))
    twice = chain(
        sig("add", 1), group(sig("add", 1), sig("add", 2)), sig("total"), group(sig("add", 1), sig("add", 2)),
        sig("total"),
    )  # fmt: skip

    assert first.apply_async().get(timeout=60) == [[[2, 4]], {}]
    assert later.apply_async().get(timeout=60) == [[[[[12, 22]], {}]], {}]
    assert twice.apply_async().get(timeout=60) == 13


def test_bodies_and_headers_may_be_chains_groups_and_chords(daemon: Daemon, sig: Sig) -> None:
    chains = chord([chain(sig("add", n), sig("add", 1)) for n in range(3)], sig("total"))
    to_group = chord([sig("add", 1), sig("add", 2)], group(sig("total"), sig("echo")))
    to_chain = chord([sig("add", 1), sig("add", 2)], chain(sig("total"), sig("add", 5)))
    nested = chord([chord([sig("add", 1), sig("add", 2)], sig("total")), sig("add", 4)], sig("total"))

    assert chains.apply_async().get(timeout=60) == 6
    assert to_group.apply_async().get(timeout=60) == [3, [[[1, 2]], {}]]
    assert to_chain.apply_async().get(timeout=60) == 8
    assert nested.apply_async().get(timeout=60) == 7


def test_a_body_may_be_a_chain_of_groups(daemon: Daemon, sig: Sig) -> None:
    ones = [sig("total", [1, 1, 1], immutable=True) for _ in range(3)]
    body = chain(group(ones), group(sig("total") for _ in range(3)), sig("total"))

    assert chord([sig("echo"), sig("echo")], body).apply_async().get(timeout=60) == 27


def test_celerys_own_tasks_run(daemon: Daemon, sig: Sig, celery: Any) -> None:
    add, total = celery.signature("wired.add"), celery.signature("wired.total")
    mapped = xmap(total, [[1, 2], [3]], app=celery)
    starred = xstarmap(add, [(1, 2), (3, 4)], app=celery)

    assert mapped.apply_async().get(timeout=60) == [3, 3]
    assert chain(sig("add", 1), starred, sig("total")).apply_async().get(timeout=60) == 10
    chunked = chunks(add, [(n, n) for n in range(5)], 2, app=celery)
    assert chunked.apply_async().get(timeout=60) == [[0, 2], [4, 6], [8]]
    later = chain(sig("add", 1), chord([mapped, chunked], sig("echo")))
    assert later.apply_async().get(timeout=60) == [[[[3, 3], [[0, 2], [4, 6], [8]]]], {}]
    assert celery.send_task("celery.accumulate", (1, 2), {"index": 1}).get(timeout=60) == 2
    assert celery.send_task("celery.backend_cleanup").get(timeout=60) is None


def test_what_replaces_a_task_ends_for_it(daemon: Daemon, sig: Sig, tmp_path: Path) -> None:
    def replaced(by: Any) -> Any:
        return sig("replace", 0, by, immutable=True)

    many = group(sig("add", 1, 1), sig("add", 2, 2))
    later = chain(sig("add", 5), sig("add", 6))
    failing = replaced(chain(sig("add", 1), sig("fail")))
    failing.link_error(sig("note_last", str(tmp_path / "note")))

    assert replaced(sig("add", 1, 2)).apply_async().get(timeout=60) == 3
    assert chain(replaced(later), sig("add", 7)).apply_async().get(timeout=60) == 18
    assert replaced(many | sig("total")).apply_async().get(timeout=60) == 6
    assert chain(replaced(many), sig("total")).apply_async().get(timeout=60) == 6
    whole = chord([replaced(later), replaced(many | sig("total")), sig("add", 2)], sig("echo"))
    assert whole.apply_async().get(timeout=60) == [[[11, 6, 2]], {}]
    result = failing.apply_async()
    assert isinstance(failure_of(result), LookupError)
    wait_until((tmp_path / "note").exists, 10)
    assert (tmp_path / "note").read_text().split() == [result.id]


def test_a_part_may_add_others_to_its_chord(daemon: Daemon, sig: Sig) -> None:
    more = chain(sig("add", 5), sig("add", 6))

    result = chord([sig("add_part", more), sig("add", 1)], sig("echo")).apply_async()

    assert result.get(timeout=60) == [[["added", 1, 11]], {}]


def test_errbacks_of_a_chord_are_called_wherever_its_body_fails(
    daemon: Daemon, sig: Sig, tmp_path: Path
) -> None:
    def errback(name: str) -> Any:
        return sig("note_last", str(tmp_path / name))

    for name, body in (
        ("before", chain(sig("total"), sig("fail"), sig("echo"))),
        ("last", chain(sig("total"), sig("fail"))),
    ):
        whole = chord([sig("add", 1), sig("add", 2)], body)
        whole.link_error(errback(name))
        whole.apply_async()
    inner = chord([sig("add", 1)], sig("total"))
    inner.link_error(errback("inner"))
    waiting = chord([sig("fail"), sig("add", 1)], group(inner, sig("echo"))).apply_async()

    for name in ("before", "last", "inner"):
        wait_until((tmp_path / name).exists, 20)
        assert len((tmp_path / name).read_text().split()) == 1
    with pytest.raises(LookupError):
        waiting.get(timeout=60)


def test_groups_in_a_header_arrive_as_lists(daemon: Daemon, sig: Sig) -> None:
    inner = chain(sig("add", 1), group(sig("add", 1), sig("add", 2)))

    assert chord([inner, sig("add", 7)], sig("echo")).apply_async().get(timeout=60) == [[[[2, 3], 7]], {}]


def test_a_failed_part_fails_the_body_and_calls_its_errbacks(
    daemon: Daemon, sig: Sig, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    body = sig("echo").on_error(sig("note_last", str(note)))

    result = chord([sig("add", 1), sig("fail")], body).apply_async()

    failure = failure_of(result)
    assert isinstance(failure, ChordError)
    assert "raised LookupError" in str(failure)
    wait_until(note.exists, 10)
    assert note.read_text().split() == [result.id]


def test_a_chain_that_fails_in_a_header_fails_the_body(daemon: Daemon, sig: Sig) -> None:
    behind = chord([chain(sig("fail"), sig("add", 1)), sig("add", 1)], chain(sig("total"), sig("add", 1)))
    nested = chord([chord([sig("fail"), sig("add", 1)], sig("total")), sig("add", 1)], sig("total"))
    later = chain(sig("fail"), group(sig("add", 1), sig("add", 2)), sig("total"))

    assert isinstance(failure_of(behind.apply_async()), ChordError)
    assert isinstance(failure_of(nested.apply_async()), ChordError)
    assert isinstance(failure_of(later.apply_async()), LookupError)


def test_no_chord_waits_for_a_part_that_the_worker_decides(
    daemon: Daemon, sig: Sig, celery: Any, tmp_path: Path
) -> None:
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    lost = chord([sig("hold", str(runs), str(gate)), sig("add", 1)], sig("echo")).apply_async()
    for death in (1, 2):
        wait_until(partial(has_lines, runs, death))
        os.kill(int(lines(runs)[-1]), signal.SIGKILL)
    late = chord(
        [sig("hold", str(tmp_path / "late"), str(gate), time_limit=0.3), sig("add", 1)], sig("echo")
    ).apply_async()
    unknown = chord([sig("nobody"), sig("add", 1)], sig("echo")).apply_async()
    expired = chord([sig("add", 1, expires=-1), sig("add", 1)], sig("echo")).apply_async()
    revoked_id = "revoked-in-a-chord"
    celery.control.revoke(revoked_id, reply=True, timeout=60, limit=1)
    revoked = chord([sig("add", 1, task_id=revoked_id), sig("add", 1)], sig("echo"))

    for result, why in (
        (lost, "WorkerLostError"),
        (late, "TimeLimitExceeded"),
        (unknown, "NotRegistered"),
        (expired, "expired"),
        (revoked.apply_async(), "revoked"),
    ):
        failure = failure_of(result)
        assert isinstance(failure, ChordError)
        assert why in str(failure)


def test_a_worker_that_is_killed_half_way_costs_no_chord(daemon: Daemon, sig: Sig, tmp_path: Path) -> None:
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    result = chord([sig("hold", str(runs), str(gate)), sig("echo", 1)], sig("echo")).apply_async()
    wait_until(lambda: runs.exists() and len(runs.read_text().split()) == 1, 20)

    os.kill(daemon.pid_of("main-1"), signal.SIGKILL)
    wait_until(lambda: len(runs.read_text().split()) == 2, 20)
    gate.touch()

    assert result.get(timeout=60) == [[["held", [[1], {}]]], {}]


def test_parts_whose_results_nobody_keeps_count(daemon: Daemon, sig: Sig) -> None:
    header = [sig("add", 1, ignore_result=True), sig("add", 2)]

    assert chord(header, sig("total")).apply_async().get(timeout=60) == 3


def test_workers_of_both_kinds_end_one_chord_together(
    daemon: Daemon, sig: Sig, url: str, tmp_path: Path
) -> None:
    theirs = CeleryWorker(url, "celery@theirs", tmp_path / "celery.log")
    try:
        theirs.wait_ready()
        for round_ in range(10):
            header = [sig("add", round_), sig("theirs.add", 10, queue="theirs")] * 3
            bodies = (sig("echo", queue="celery"), sig("theirs.echo", queue="theirs"))
            result = chord(header, bodies[round_ % 2]).apply_async()
            assert result.get(timeout=60) == [[[round_, 10] * 3], {}]
        failing = chord([sig("add", 1), sig("theirs.fail", queue="theirs")], sig("echo", queue="celery"))
        assert isinstance(failure_of(failing.apply_async()), ChordError)

        def ours(name: str, *args: object) -> Any:
            return sig(name, *args, queue="celery")

        step = chain(
            sig("theirs.add", 1, queue="theirs"), group(ours("add", 1), ours("add", 2)), ours("total")
        )
        assert step.apply_async().get(timeout=60) == 5
        wait_until(lambda: len(keys_left(url)) <= 3 * 20, 10)
    finally:
        theirs.end()


def test_errbacks_of_three_parameters_get_the_exception_however_the_task_ended(
    daemon: Daemon, sig: Sig, tmp_path: Path
) -> None:
    def noting(name: str) -> Any:
        return sig("note_error").clone(kwargs={"path": str(tmp_path / name)})

    raised, late = sig("fail"), sig("hold", str(tmp_path / "runs"), str(tmp_path / "gate"), time_limit=0.3)
    header = chord([sig("fail"), sig("add", 1)], sig("echo"))
    for name, task in (("raised", raised), ("late", late), ("chord", header)):
        task.link_error(noting(name))
        ended = task.apply_async()
        wait_until((tmp_path / name).exists, 20)
        task_id, error = (tmp_path / name).read_text().split()
        assert (task_id, error) == (
            ended.id,
            {"raised": "LookupError", "late": "TimeLimitExceeded", "chord": "ChordError"}[name],
        )
