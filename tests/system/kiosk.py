"""A Celery application as many are: base classes, retries, signals, results in Redis; no word of taskd."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from celery import Celery, Task, chain, chord, group, shared_task, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.utils.log import get_task_logger

from tests.system.notes import note

broker = os.environ["TEST_BROKER"]
app = Celery("kiosk", broker=broker, backend=os.environ.get("TEST_RESULTS", broker))
# Else Celery tries for 20 s to reach a result store that is down.
app.conf.result_backend_transport_options = {"retry_policy": {"max_retries": 1}}
app.conf.task_track_started = True
app.conf.worker_prefetch_multiplier = 1
logger = get_task_logger(__name__)


def _noting(name: str) -> Any:
    def receiver(sender: object = None, **_facts: object) -> None:
        note(f"{name} {os.getpid()} {type(sender).__name__}")

    return receiver


_receivers = {
    name: _noting(name)
    for name in (
        "celeryd_init",
        "worker_init",
        "after_setup_logger",
        "after_setup_task_logger",
        "celeryd_after_setup",
        "worker_process_init",
        "worker_ready",
        "worker_shutting_down",
        "worker_shutdown",
        "worker_process_shutdown",
    )
}
for _name, _receiver in _receivers.items():
    getattr(signals, _name).connect(_receiver)


class Counted(Task):  # type: ignore[misc]
    """Counts calls in each process, as base classes with caches do, and hears of every end."""

    calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return super().__call__(*args, **kwargs)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        note(f"before_start {task_id}")

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        note(f"on_success {task_id} {retval}")

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(f"on_failure {task_id} {type(exc).__name__}")

    def on_retry(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(f"on_retry {task_id} {type(exc).__name__}")

    def after_return(  # noqa: PLR0917 - as Celery calls it
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        note(f"after_return {task_id} {status}")


@app.task(base=Counted, bind=True)  # type: ignore[untyped-decorator]
def counted(self: Any, number: int) -> int:
    assert self.calls > 0
    if number < 0:
        raise ValueError(number)
    return number


@shared_task  # type: ignore[untyped-decorator]
def add(left: int, right: int) -> int:
    return left + right


@shared_task  # type: ignore[untyped-decorator]
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(bind=True)  # type: ignore[untyped-decorator]
def about(self: Any) -> dict[str, Any]:
    request = self.request
    logger.info("a line of the task")
    return {
        "id": request.id,
        "hostname": request.hostname,
        "headers": request.headers,
        "delivery_info": request.delivery_info,
        "called_directly": request.called_directly,
        "app_id": request.properties.get("app_id"),
    }


@app.task(autoretry_for=(ConnectionError,), retry_backoff=False, default_retry_delay=0, max_retries=3)  # type: ignore[untyped-decorator]
def flaky(path: str, failures: int) -> int:
    with open(path, "a+b") as file:
        file.write(b".")
        file.seek(0)
        runs = len(file.read())
    if runs <= failures:
        raise ConnectionError(runs)
    return runs


@app.task(bind=True, base=Counted, max_retries=1)  # type: ignore[untyped-decorator]
def retried(self: Any) -> int:
    if self.request.retries == 0:
        raise self.retry(countdown=0.1, exc=ValueError("once more"))
    return int(self.request.retries)


@app.task  # type: ignore[untyped-decorator]
def ignored() -> None:
    raise Ignore


@app.task(acks_late=True)  # type: ignore[untyped-decorator]
def rejected() -> None:
    raise Reject("not for us", requeue=False)


@app.task(bind=True)  # type: ignore[untyped-decorator]
def replaced(self: Any, left: int, right: int) -> Any:
    return self.replace(chain(add.s(left, right), add.s(100)))


@app.task(bind=True)  # type: ignore[untyped-decorator]
def widened(self: Any) -> int:
    self.add_to_chord(add.s(40, 2))
    return 0


@app.task  # type: ignore[untyped-decorator]
def fan_out(most: int) -> Any:
    return chord(group(add.s(n, n) for n in range(most)), total.s()).delay().id


@app.task(soft_time_limit=1.0, time_limit=60)  # type: ignore[untyped-decorator]
def limited() -> str:
    try:
        until = time.monotonic() + 50
        while time.monotonic() < until:
            time.sleep(0.01)
    except SoftTimeLimitExceeded:
        return "asked to end"
    return "ran on"


@app.task(soft_time_limit=1.0, time_limit=60)  # type: ignore[untyped-decorator]
def overdue() -> None:
    until = time.monotonic() + 50
    while time.monotonic() < until:
        time.sleep(0.01)


@app.task  # type: ignore[untyped-decorator]
def leaves() -> None:
    raise SystemExit(3)


@app.task  # type: ignore[untyped-decorator]
def unstorable() -> object:
    return object()


@app.task  # type: ignore[untyped-decorator]
def pid() -> int:
    return os.getpid()


@app.task(acks_late=True, acks_on_failure_or_timeout=False)  # type: ignore[untyped-decorator]
def keeps_its_message() -> None:
    raise ValueError("kept")


@app.task(acks_late=True, bind=True)  # type: ignore[untyped-decorator]
def dies(self: Any) -> None:
    note(f"dies {self.request.id}")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(acks_late=True, reject_on_worker_lost=True, bind=True)  # type: ignore[untyped-decorator]
def dies_once(self: Any) -> str:
    note(f"dies_once {self.request.id}")
    if not self.request.delivery_info["redelivered"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return "second run"


@app.task(acks_late=True, bind=True)  # type: ignore[untyped-decorator]
def late(self: Any) -> str:
    note(f"late {self.request.id}")
    return "stored"


@app.task(acks_late=True, acks_on_failure_or_timeout=False, time_limit=1, bind=True)  # type: ignore[untyped-decorator]
def too_long_at_first(self: Any) -> str:
    if self.request.delivery_info["redelivered"]:
        return "second run"
    time.sleep(50)
    return "first run"
