"""Uses of the task API that mypy --strict must accept."""

from __future__ import annotations

from datetime import datetime, timezone

from taskd import App, AsyncResult, cron, every
from taskd.app.bound import BoundTask
from taskd.app.hooks import Ended
from taskd.sending.calls import Call
from taskd.sending.request import Request

app = App()


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(queue="mail", max_retries=5, retry_for=(ConnectionError,), acks="early")
def send(to: str, *, subject: str) -> None:
    del to, subject


@app.task(bind=True)
def fetch(self: BoundTask, url: str) -> bytes:
    if not url:
        self.retry(countdown=1.5)
    return url.encode() + self.request.id.encode()


@app.task(bind=True, rate_limit="10/m", track_started=True)
def copy(self: BoundTask, path: str) -> None:
    self.update_state(meta={"path": path})


@app.periodic(cron("0 3 * * *", zone="Europe/Berlin", dst_gap="skip"), entry="nightly", queue="slow")
@app.periodic(every("5m", jitter=10), 7)
@app.task
def tidy(level: int = 0) -> int:
    return level


tidy_result: AsyncResult[int] = tidy.delay(1)  # it is the task still


@app.task(rate_limit=2.5)
async def crawl(url: str) -> list[str]:
    return [url]


@app.task(bind=True, time_limit=5)
async def crawl_more(self: BoundTask, url: str) -> list[str]:
    return [self.name, url]


@app.hooks.before_task
def before(request: Request) -> None:
    del request


@app.hooks.on_failure
def failed(request: Request, ended: Ended) -> None:
    print(request.id, ended.state)


one: AsyncResult[int] = add.delay(1, y=2)
number: int = one.get(timeout=1) + add(1, 2)
nothing: AsyncResult[None] = send.delay("a@b", subject="hello")
body: bytes = fetch.delay("http://x").get()
body_here: bytes = fetch("http://x")
links: list[str] = crawl.delay("http://x").get()
more: list[str] = crawl_more.delay("http://x").get()
later = add.apply_async((1,), {"y": 2}, countdown=1.5, eta=datetime.now(timezone.utc), headers={"tenant": 1})
call: Call[int] = add.call(1).with_options(priority=9)
many: list[int] = app.wait_all(app.send_many([add.call(n) for n in range(10)]))
mapped: list[AsyncResult[int]] = add.map([(1,), (2,)])
gathered: list[int | Exception] = app.gather(mapped, return_exceptions=True, timeout=5)
squares: list[int] = app.map(add, range(10), chunk=5, bar=True)
pages: list[list[str] | Exception] = app.map(crawl, ["http://x"], return_exceptions=True)
firsts: list[int] = [ended.get(0) for ended in app.as_completed(mapped)]
linked = add.apply_async((1,), link=[send.s(subject="x"), add.si(1, y=2)], link_error={"task": "shop.report"})
chained: Call[int] = add.s().with_options(link=crawl.s())
by_name: AsyncResult[object] = app.send_task("shop.add", (1,), expires=60)


async def main() -> int:
    result = await add.adelay(1, y=3)
    here: list[str] = await crawl("http://x")
    return await result.aget() + len(here)
