"""Uses of the task API in which mypy must find an error: each line marked so, and no other."""

from __future__ import annotations

from taskd import App, cron, every
from taskd.app.bound import BoundTask

app = App()


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(bind=True)
def fetch(self: BoundTask, url: str) -> bytes:
    return url.encode()


@app.task
async def crawl(url: str) -> list[str]:
    return [url]


add.delay("one")  # error
add.delay(1, z=2)  # error
add.delay()  # error
add("one")  # error
add.call(1, 2, 3)  # error
fetch.delay(1)  # error
fetch.delay()  # error
crawl.delay(2)  # error
add.apply_async((1,), countdwn=3)  # error
app.send_task("add", queue=7)  # error
add.apply_async((1,), link=7)  # error
add.si("one")  # error
text: str = add.delay(1).get()  # error
code: int = crawl.delay("x").get()  # error
app.send_many([add.call("one")])  # error


@app.task(rate_limit=None)  # error
def unlimited() -> None:
    pass


@app.task(qeue="mail")  # error
def misspelt() -> None:
    pass


@app.periodic(cron("0 3 * * *", dst_gap="later"))  # error
@app.periodic(every("5m", align=7))  # error
@app.periodic(every("5m"), qeue="mail")  # error
@app.task
def tidy() -> None:
    pass


@app.periodic(every("5m"))  # error
def no_task() -> None:
    pass


@app.hooks.after_task  # error
def after(request: int) -> None:
    del request


app.map(add, ["one"])  # error
app.map(len, ["one"])  # error
app.gather([1])  # error


async def main() -> None:
    await add.adelay("one")  # error
