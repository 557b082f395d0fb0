"""An app with remote-control commands of its own, and tasks that keep the pool busy."""

from __future__ import annotations

import os
import time

from taskd import App

app = App()


@app.inspect_command()
def child_pid() -> int:
    return os.getpid()


@app.control_command("set_price")
def change_price(shop: str, price: int = 1) -> dict[str, str]:
    if price < 0:
        raise ValueError("a price is not negative", price)
    return {"ok": f"{shop} {price}"}


@app.control_command(timeout=0.5)
def sleep_long() -> None:
    time.sleep(60)


@app.control_command()
def odd() -> object:
    return object()


@app.control_command()
def die() -> None:
    os._exit(3)


@app.control_command()
async def later() -> str:
    return "later"


@app.task(name="commanded.add")
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="commanded.hold")
def hold(path: str, gate: str) -> None:
    with open(path, "w") as runs:
        runs.write(str(os.getpid()))
    while not os.path.exists(gate):
        time.sleep(0.01)
