"""Task code that waits for sockets, by blocking calls and in coroutines."""

from __future__ import annotations

import asyncio
import socket
import time

from taskd import App, SoftTimeLimitExceeded

app = App()


def _ask(port: int, question: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"{question}\n".encode())
        return connection.recv(100).decode()


async def _ask_async(port: int, question: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{question}\n".encode())
    answer = await reader.read(100)
    writer.close()
    return answer.decode()


@app.task(name="waiting.ask")
def ask(port: int, question: str) -> str:
    """Ask over a blocking socket."""
    return _ask(port, question)


@app.task(name="waiting.ask_async")
async def ask_async(port: int, question: str) -> str:
    """Ask in a coroutine."""
    return await _ask_async(port, question)


@app.task(name="waiting.ask_by_run")
def ask_by_run(port: int, question: str) -> str:
    """Ask in an event loop of the task's own."""
    return asyncio.run(_ask_async(port, question))


@app.task(name="waiting.patient", soft_time_limit=0.2, time_limit=30)
def patient() -> str:
    """Wait until the soft limit says enough."""
    try:
        for _ in range(6000):
            time.sleep(0.01)
    except SoftTimeLimitExceeded:
        return "stopped in time"
    return "never"


@app.task(name="waiting.patient_async", soft_time_limit=0.2, time_limit=30)
async def patient_async() -> str:
    """Wait until the soft limit says enough."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return "stopped in time"
    return "never"


@app.task(name="waiting.endless", time_limit=0.3)
def endless() -> None:
    """Wait for ever."""
    while True:
        time.sleep(0.01)


@app.task(name="waiting.endless_async", time_limit=0.3)
async def endless_async() -> None:
    """Wait for ever."""
    await asyncio.sleep(3600)


@app.task(name="waiting.exit")
async def exit_process() -> None:
    """Try to end the process from a coroutine."""
    raise SystemExit(3)
