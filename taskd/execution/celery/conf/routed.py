"""The queues that an app sends to by its routes and its tasks, beside those that it declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RoutedQueue:
    """One queue that tasks go to, and which Celery makes when the first one is sent."""

    name: str
    #: A setting of the app, or an attribute of a task.
    by: str


def routed_queues(app: Any, settings: Mapping[str, object]) -> Sequence[RoutedQueue]:
    """Return the queues that are written down and not among those of the app; a router decides others."""
    found: dict[str, str] = {}
    for _pattern, queue in routes_in(settings.get("task_routes")):
        found.setdefault(queue, "task_routes")
    for name, task in sorted(app.tasks.items()):
        own = getattr(task, "queue", None)
        found.setdefault(str(getattr(own, "name", own) or ""), f"queue of {name}")
    aliases = {getattr(queue, "alias", None) for queue in app.amqp.queues.values()}
    declared = {"", *map(str, app.amqp.queues), *aliases}
    return [RoutedQueue(name, by) for name, by in found.items() if name not in declared]


def routes_in(given: object) -> Iterator[tuple[str, str]]:
    """Yield patterns with the queues that they go to, as far as they are written down."""
    if isinstance(given, Mapping):
        for pattern, route in given.items():
            queue = route.get("queue") if isinstance(route, Mapping) else route
            yield str(getattr(pattern, "pattern", pattern)), str(getattr(queue, "name", queue) or "")
    elif isinstance(given, (list, tuple)):
        for each in given:
            if isinstance(each, (list, tuple)) and len(each) == 2:
                yield from routes_in({each[0]: each[1]})
            else:
                yield from routes_in(each)
    elif given is not None:
        yield f"<{getattr(given, '__name__', given)}>", ""
