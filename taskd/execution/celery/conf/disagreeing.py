"""Places where the file and the app speak of one thing in two ways.  Pure, but for the table of defaults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING

from taskd.base.urls import masked, place_of
from taskd.config.built_in import RESULTS
from taskd.config.kinds import StoreCan
from taskd.config.programs import WorkerConfig
from taskd.config.schema import Config
from taskd.config.tables import SINGLE_TABLES, options
from taskd.config.written import written
from taskd.execution.celery.conf import translating
from taskd.execution.celery.conf.differing import differing, shown_setting
from taskd.execution.celery.conf.routed import RoutedQueue
from taskd.execution.celery.conf.settings import verdict_on
from taskd.sending.celery_facts import AppFinding, CeleryQueue

#: Names of this machine, which an address may use one for the other.
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: Keys of which a finding of its own tells, or which taskd's default serves better.
_JUDGED_ELSEWHERE = frozenset(
    {
        "broker",
        "results",
        "accept_content",
        "worker.queues",
        "beat.run",
        "amqp.timeout",
        "amqp.transport_options",
        "redis.timeout",
    }
)


def disagreements(settings: Mapping[str, object], config: Config, table: str) -> Iterator[AppFinding]:
    """Yield what the app of a worker says otherwise than the file; ``table`` is the worker's."""
    address = translating.broker_address(settings)
    if address and not same_place(address, config.broker):
        yield AppFinding(
            "broker_url",
            f"the app sends to {masked(address)}, and the worker takes from {masked(config.broker)}",
            "give broker in the file and broker_url of the app one address",
            is_refused=True,
        )
    yield from _of_results(settings, config)
    if table in config.workers:
        yield from _undecided_keys(settings, config, table)


def unserved(
    settings: Mapping[str, object],
    queues: Iterable[CeleryQueue],
    routed: Iterable[RoutedQueue],
    config: Config,
) -> Iterator[AppFinding]:
    """Yield the queues of the app from which no worker takes; ``config`` has all workers of the file."""
    served = {queue for worker in config.workers.values() for queue in worker.queues}
    missing: dict[str, str] = {}
    for queue in queues:
        if not queue.is_broadcast:
            missing[queue.name] = (
                f"task_queues.{queue.name}" if settings.get("task_queues") else "task_default_queue"
            )
    for each in routed:
        missing.setdefault(each.name, each.by)
    for name, by in missing.items():
        if name not in served:
            yield AppFinding(
                by,
                f'no worker of the file takes from "{name}"',
                f'add "{name}" to queues of a worker, here or on another host',
            )


def same_place(one: str, other: str) -> bool:
    """Return whether two addresses lead to one place; the names of this machine are one name."""
    return _place(one) == _place(other)


def _place(url: str) -> Sequence[object]:
    return [_without_alias(part) for part in place_of(url)]


def _without_alias(part: object) -> object:
    if not isinstance(part, tuple):
        return part
    return tuple(("localhost", port) if host in _THIS_MACHINE else (host, port) for host, port in part)


def _of_results(settings: Mapping[str, object], config: Config) -> Iterator[AppFinding]:
    backend = settings.get("result_backend")
    wanted = str(translating.results(backend, settings)["results"])
    is_kept = StoreCan.KEEP in RESULTS[wanted.partition("://")[0]].can
    if is_kept and not same_place(wanted, config.results):
        yield AppFinding(
            "result_backend",
            f"the app keeps results in {masked(wanted)}; taskctl result looks in {masked(config.results)}",
            "give results in the file the app's address",
        )


def _undecided_keys(settings: Mapping[str, object], config: Config, table: str) -> Iterator[AppFinding]:
    """Yield settings of the app whose key of the file has its default."""
    for name, value in differing(settings).items():
        verdict = verdict_on(name)
        if verdict is None or verdict.translate is None:
            continue
        for key, wanted in verdict.translate(value, settings).items():
            place, _, last = key.rpartition(".")
            if key in _JUDGED_ELSEWHERE or (key == "worker.prefetch" and wanted):
                continue  # "auto" serves better than any number but 0
            kind, holder = _table_of(place, config, table)
            option, field = options(kind)[last]
            default = field.default if field.default is not MISSING else None
            now = getattr(holder, last)
            if now == default and now != wanted:
                where = {"": "", "worker": f"[worker.{table}] "}.get(place, f"[{place}] ")
                yield AppFinding(
                    name,
                    f"{shown_setting(name, value)} does not count by itself",
                    f"write {where}{last} = {written(wanted, option.kind)}",
                )


def _table_of(place: str, config: Config, table: str) -> tuple[type, object]:
    if place == "worker":
        return WorkerConfig, config.workers[table]
    return (SINGLE_TABLES[place], getattr(config, place)) if place else (Config, config)
