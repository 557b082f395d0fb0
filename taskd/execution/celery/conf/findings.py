"""The parts of a Celery app that cannot work under taskd, or work otherwise: each by name, with a remedy.

``of(app)`` looks at the app alone.  With the configuration of a worker it looks at what the two say of one
thing, too.  Nothing here changes the app.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from taskd.base.errors import ConfigError
from taskd.config.built_in import POOLS
from taskd.config.kinds import PoolKind, PoolTrait
from taskd.config.schema import Config
from taskd.execution.celery.conf import translating
from taskd.execution.celery.conf.differing import differing, settings_of, shown_setting
from taskd.execution.celery.conf.disagreeing import disagreements, unserved
from taskd.execution.celery.conf.routed import routed_queues
from taskd.execution.celery.conf.settings import SettingFate, verdict_on
from taskd.execution.celery.schedule.schedulers import refusal_of, scheduler_class
from taskd.sending.celery_facts import AppFinding, CeleryQueue

_REQUEST = "celery.worker.request:Request"
_STRATEGY = "celery.worker.strategy:default"
#: This many names stand in one line.
_MOST_NAMES = 5
#: Transport options of Redis that say where messages lie, with what taskd takes for granted.
_LAYOUT: Mapping[str, object] = {"sep": "\x06\x16", "priority_steps": [0, 3, 6, 9]}
_CHANNELS: Mapping[str, object] = {"fanout_prefix": True, "fanout_patterns": True}
_UNACKED: Mapping[str, object] = {"unacked_key": "unacked", "unacked_index_key": "unacked_index"}


def of(app: Any, config: Config | None = None, table: str = "") -> list[AppFinding]:
    """Return all findings of an app, the refused ones first.

    With ``config`` also where the file and the app disagree; ``table`` is the worker's.
    """
    settings = settings_of(app)
    found = [
        *_of_settings(differing(settings)),
        *_of_pool(settings),
        *_of_broker(settings),
        *_of_queues(queues_of(app)),
        *_of_scheduler(app),
        *_of_steps(app),
        *_of_options(app),
        *_of_classes(app, "Request", _REQUEST, is_refused=False),
        *_of_classes(app, "Strategy", _STRATEGY, is_refused=True),
        *_of_commands(),
    ]
    if config is not None:
        found += [*_of_table(config, table), *disagreements(settings, config, table)]
    return sorted(found, key=lambda each: not each.is_refused)


def in_whole_file(app: Any, config: Config, table: str) -> list[AppFinding]:
    """Return them with the queues from which no worker takes; ``config`` has all workers of the file."""
    settings = settings_of(app)
    queues = queues_of(app)
    return [*of(app, config, table), *unserved(settings, queues, routed_queues(app, settings), config)]


def told_by_worker(app: Any, config: Config, table: str) -> tuple[list[str], list[str]]:
    """Return the refused findings and the others as lines for the log of a worker, which starts all the same.

    Raises nothing: the findings look at objects of users.
    """
    try:
        found = of(app, config, table)
    except Exception as error:  # noqa: BLE001 - the barrier of findings
        return [], [f"the app cannot be judged: {type(error).__name__}: {error}"]
    refused = [
        f"the check refuses this, and the worker runs without: {each}" for each in found if each.is_refused
    ]
    return refused, [str(each) for each in found if not each.is_refused]


def queues_of(app: Any) -> list[CeleryQueue]:
    """Return the queues that a worker of Celery takes from when it is started without ``-Q``."""
    return [_queue(name, each) for name, each in app.amqp.queues.items()]


def _queue(name: str, queue: Any) -> CeleryQueue:
    exchange = queue.exchange
    kind = str(getattr(exchange, "type", None) or "direct")
    is_broadcast = any(base.__name__ == "Broadcast" for base in type(queue).__mro__)
    return CeleryQueue(
        # The name of a broadcast is drawn anew at each start.
        name=str(getattr(queue, "alias", None) or name),
        exchange=str(getattr(exchange, "name", "") or ""),
        exchange_type=kind,
        routing_key=str(queue.routing_key or ""),
        is_broadcast=is_broadcast,
    )


def _of_settings(found: Mapping[str, object]) -> Iterator[AppFinding]:
    for name, value in found.items():
        verdict = verdict_on(name)
        if verdict is None:
            yield AppFinding(name, "taskd does not know this setting of a newer Celery")
        elif verdict.fate in (SettingFate.IGNORED, SettingFate.REFUSED):
            is_refused = verdict.fate is SettingFate.REFUSED
            said = f"{shown_setting(name, value)} {'is refused' if is_refused else 'does not count here'}"
            yield AppFinding(name, said, verdict.said, is_refused)
    if found.get("task_always_eager"):
        yield AppFinding(
            "task_always_eager",
            "the app's own calls run at once where they are made, and no worker gets them",
            "leave it out where workers are to run them",
        )


def _of_pool(settings: Mapping[str, object]) -> Iterator[AppFinding]:
    named = settings.get("worker_pool")
    if named and not translating.pool(named, settings):
        text = named if isinstance(named, str) else getattr(named, "__name__", named)
        yield AppFinding(
            "worker_pool",
            f"{text} is refused, for it is a pool of Celery's worker",
            f"choose one in the table of the worker: pool = {', '.join(POOLS)}",
            is_refused=True,
        )


def unable_to_run(kind: PoolKind) -> str:
    """Return why no Celery app runs in such a pool."""
    return f'pool = "{kind.name}" cannot run a Celery app'


def other_pools() -> str:
    """Return the remedy: the pools that can."""
    *names, last = (name for name, kind in POOLS.items() if PoolTrait.IN_LOOP not in kind.traits)
    return f"use {', '.join(names)} or {last}"


def _of_table(config: Config, table: str) -> Iterator[AppFinding]:
    worker = config.workers.get(table)
    if worker is not None and PoolTrait.IN_LOOP in worker.kind.traits:
        yield AppFinding(f"worker.{table}", unable_to_run(worker.kind), other_pools(), is_refused=True)


def _of_broker(settings: Mapping[str, object]) -> Iterator[AppFinding]:
    address = translating.broker_address(settings)
    if not address:
        scheme = translating.broker_url(settings).partition("://")[0]
        yield AppFinding(
            "broker_url",
            f"the transport {scheme} is refused, for taskd has no broker of this kind",
            "move the app to Redis or RabbitMQ",
            is_refused=True,
        )
    options = settings.get("broker_transport_options")
    if not isinstance(options, Mapping) or not translating.is_redis(address):
        return
    for name in _others_than(options, _LAYOUT):
        yield AppFinding(
            f"broker_transport_options.{name}",
            "messages lie where taskd does not look",
            "leave it at kombu's default",
            is_refused=True,
        )
    for name in _others_than(options, _CHANNELS):
        yield AppFinding(
            f"broker_transport_options.{name}",
            "remote control and events of the worker use other channels",
            "leave it at kombu's default",
        )
    for name in _others_than(options, _UNACKED):
        yield AppFinding(
            f"broker_transport_options.{name}",
            "messages that dead Celery workers held are not put back",
            "leave it at kombu's default",
        )


def _others_than(options: Mapping[str, object], defaults: Mapping[str, object]) -> Iterator[str]:
    for name, default in defaults.items():
        value = options.get(name, default)
        if (list(value) if isinstance(value, tuple) else value) != default:
            yield name


def _of_queues(queues: Iterable[CeleryQueue]) -> Iterator[AppFinding]:
    for queue in queues:
        if queue.is_broadcast:
            yield AppFinding(
                f"task_queues.{queue.name}",
                "a broadcast is refused, for each worker would need a queue of its own",
                f"keep `celery worker -Q {queue.name}` for it, for instance as a [program]",
                is_refused=True,
            )
        elif not queue.is_plain:
            yield AppFinding(
                f"task_queues.{queue.name}",
                f"the worker does not bind it to the {queue.exchange_type} exchange {queue.exchange}",
                f"bindings that exist stay; else: taskctl control add_consumer {queue.name} "
                f"{queue.exchange} {queue.exchange_type} {queue.routing_key}",
            )


def _of_scheduler(app: Any) -> Iterator[AppFinding]:
    try:
        refusal, remedy = refusal_of(scheduler_class(app))
    except ConfigError as error:
        refusal = str(error)
        remedy = "install it, or name one that beat knows: [beat] scheduler"
    if refusal:
        yield AppFinding("beat_scheduler", refusal, remedy)


def _of_steps(app: Any) -> Iterator[AppFinding]:
    for blueprint, steps in sorted((app.steps or {}).items()):
        for step in sorted(map(_name_of, steps)):
            yield AppFinding(
                f"app.steps[{blueprint!r}]",
                f"{step} is refused, for it is a step of Celery's worker, which never runs here",
                "use the signals worker_init and worker_process_init, or a [program]",
                is_refused=True,
            )


def _of_options(app: Any) -> Iterator[AppFinding]:
    for group in ("worker", "preload"):
        options = (app.user_options or {}).get(group) or ()
        if options:
            named = _some(sorted(str(getattr(each, "name", None) or _name_of(each)) for each in options))
            yield AppFinding(
                f"app.user_options[{group!r}]",
                f"taskd has no command line of the app's own: {named}",
                "use environment = { … } in the table of the worker",
            )


def _of_classes(app: Any, attribute: str, default: str, *, is_refused: bool) -> Iterator[AppFinding]:
    tasks: defaultdict[str, list[str]] = defaultdict(list)
    for name, task in app.tasks.items():
        value = getattr(task, attribute, default)
        text = value if isinstance(value, str) else f"{value.__module__}:{value.__qualname__}"
        if text.replace(":", ".") != default.replace(":", "."):
            tasks[text].append(name)
    for text, names in tasks.items():
        how = "is refused, for it decides in Celery's worker" if is_refused else "is not used"
        yield AppFinding(
            f"Task.{attribute}",
            f"{text} {how}; tasks: {_some(sorted(names))}",
            "use on_failure, on_retry and the signals, or keep a Celery worker for their queue",
            is_refused,
        )


def _of_commands() -> Iterator[AppFinding]:
    """Yield remote control commands of the app's own; nobody who has none has imported the module."""
    control = sys.modules.get("celery.worker.control")
    panel = getattr(control, "Panel", None)
    for name, handler in sorted(getattr(panel, "data", {}).items()):
        module = getattr(handler, "__module__", "")
        named = f"{module}.{getattr(handler, '__name__', name)}"
        if not module.startswith("celery."):
            yield AppFinding(
                f"Panel command {name}",
                f"{named} reaches into Celery's worker and is not called",
                "make it a task",
            )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _name_of(thing: object) -> str:
    if isinstance(thing, str):
        return thing
    named = thing if isinstance(thing, type) else type(thing)
    # Steps of Celery have their module in the qualified name already.
    return f"{named.__module__}.{named.__qualname__.removeprefix(f'{named.__module__}.')}"
