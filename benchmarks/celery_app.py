"""A Celery app in our worker and in Celery's, in alternation: drain, start, memory, cost of a task.

Both have two children, late acknowledgement, and one private Redis without persistence for messages and
results.  Medians of the rounds are compared.  The start is that of a Django project of 300 modules.  Memory
is measured with eight children, too, and of both applications.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from redis import Redis

from benchmarks.harness import ROOT, cpu_s, environment, median, report, wait_for
from taskd.host import procinfo
from tests.services import RedisServer

TASKS = int(os.environ.get("BENCH_TASKS", "20000"))
CELERY_TASKS = int(os.environ.get("BENCH_PEER_TASKS", "3000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
MODULES = 300
SMALL = "bench_app:app"
DJANGO = "proj:app"
FILE = """
app = "{app}"
broker = "{url}"
results = "{url}"
[supervisor]
control_socket = "taskd.sock"
state_directory = "."
[log]
level = "error"
[worker.bench]
queues = ["celery"]
pool = "prefork"
concurrency = {children}
directory = "{directory}"
"""
APP = """
import os
from celery import Celery

app = Celery("bench", broker=os.environ["BENCH_REDIS"], backend=os.environ["BENCH_REDIS"])
app.conf.update(task_acks_late=True, task_ignore_result=os.environ["BENCH_RESULTS"] == "off")


@app.task(name="bench.noop")
def noop():
    pass


@app.task(name="bench.mark")
def mark(path):
    open(path, "w").close()
"""
PROJECT = """
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
from celery import Celery

app = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
SETTINGS = """
import os
SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", *(f"part{n}" for n in range(%d))]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = os.environ["BENCH_REDIS"]
CELERY_TASK_ACKS_LATE = True
"""
MODELS = """
from django.db import models


class Part(models.Model):
    title = models.CharField(max_length=100)
    owner = models.ForeignKey("auth.User", on_delete=models.CASCADE)
"""
PART_TASKS = """
from celery import shared_task


@shared_task
def work(path):
    open(path, "w").close()
"""


@contextmanager
def running(
    worker: str, app: str, directory: Path, url: str, *, results: str = "on", children: int = 2
) -> Iterator[int]:
    """Run a worker over an app of a directory; yield the process at the head of its tree."""
    file = directory / "taskd.toml"
    file.write_text(FILE.format(app=app, url=url, directory=directory, children=children))
    celery = [str(Path(sys.executable).with_name("celery")), "-A", app, "worker", "-P", "prefork"]
    commands = {
        "taskd": [sys.executable, "-m", "taskd", "--config", str(file)],
        "celery": [*celery, "-c", str(children), "-l", "ERROR"],
    }
    null = subprocess.DEVNULL
    process = subprocess.Popen(
        commands[worker],
        cwd=directory,
        env={
            **environment(),
            "BENCH_REDIS": url,
            "BENCH_RESULTS": results,
            "PYTHONPATH": f"{directory}:{ROOT}",
        },
        stdout=null,
        stderr=null,
        start_new_session=True,
    )
    try:
        yield process.pid
    finally:
        tree = [process.pid, *procinfo.descendants(process.pid)]
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            for pid in filter(procinfo.is_alive, tree):
                os.kill(pid, signal.SIGKILL)
            process.wait()


def send(url: str, name: str, *args: object, count: int = 1) -> None:
    """Send tasks, as a client of Celery does; results are asked for by nobody."""
    from celery import Celery

    client = Celery("client", broker=url)
    with client.producer_pool.acquire() as producer:
        for _ in range(count):
            client.send_task(name, args, producer=producer)
    client.close()


def is_drained(client: Redis) -> bool:
    """Return whether nothing waits and nothing is claimed, by us or by Celery."""
    if any(client.llen(key) for key in ("celery", *(f"celery\x06\x16{step}" for step in (3, 6, 9)))):
        return False
    return not client.hlen("unacked") and not any(map(client.hlen, client.keys("taskd:claims:*")))


def drain(worker: str, client: Redis, url: str, directory: Path, results: str) -> tuple[float, float, float]:
    """Return tasks a second, the processor time of the tree for a task, and its PSS in MB afterwards."""
    tasks = TASKS if worker == "taskd" else CELERY_TASKS
    client.flushall()
    with running(worker, SMALL, directory, url, results=results) as pid:
        mark = directory / "mark"
        mark.unlink(missing_ok=True)
        send(url, "bench.mark", str(mark))
        wait_for(mark.exists, 60)
        tree = [pid, *procinfo.descendants(pid)]
        for each in tree:
            os.kill(each, signal.SIGSTOP)
        send(url, "bench.noop", count=tasks)
        before = cpu_s(tree)
        began = time.monotonic()
        for each in tree:
            os.kill(each, signal.SIGCONT)
        wait_for(lambda: is_drained(client), 300, pause_s=0.005)
        took_s = time.monotonic() - began
        used_s = cpu_s(tree) - before
        pss = sum(procinfo.pss_bytes(each) for each in (pid, *procinfo.descendants(pid)))
        return tasks / took_s, used_s / tasks, pss / 1e6


def start(worker: str, client: Redis, url: str, directory: Path) -> float:
    """Return the seconds from the start of the worker to the first task of the project, which was waiting."""
    client.flushall()
    mark = directory / "mark"
    mark.unlink(missing_ok=True)
    send(url, "part7.tasks.work", str(mark))
    began = time.monotonic()
    with running(worker, DJANGO, directory, url):
        wait_for(mark.exists, 120)
        return time.monotonic() - began


def memory(worker: str, app: str, client: Redis, url: str, directory: Path, *, children: int) -> float:
    """Return the PSS of the tree in MB, after so many short tasks that each child has run some."""
    client.flushall()
    mark = directory / "mark"
    mark.unlink(missing_ok=True)
    task = "bench.mark" if app == SMALL else "part7.tasks.work"
    with running(worker, app, directory, url, children=children) as pid:
        send(url, task, str(mark))
        wait_for(mark.exists, 60)
        send(url, task, str(mark), count=100 * children)
        wait_for(lambda: is_drained(client), 300)
        return sum(procinfo.pss_bytes(each) for each in (pid, *procinfo.descendants(pid))) / 1e6


def write_project(directory: Path) -> None:
    """Write the app of the drains, and a project of 300 modules, three in each of its applications."""
    (directory / "bench_app.py").write_text(APP)
    (directory / "proj.py").write_text(PROJECT)
    (directory / "settings.py").write_text(SETTINGS % (MODULES // 3))
    for number in range(MODULES // 3):
        part = directory / f"part{number}"
        part.mkdir()
        for name, text in (
            ("__init__", ""),
            ("models", MODELS.replace("Part", f"Part{number}")),
            ("tasks", PART_TASKS),
        ):
            (part / f"{name}.py").write_text(text)


def compare(
    name: str, ours: list[float], theirs: list[float], show: Callable[[float], str], aim: float
) -> None:
    """Print the medians and their ratio; ``aim`` above 1 is wanted at least, below 1 at most."""
    found = median(ours) / median(theirs)
    reached = found >= aim if aim > 1 else found <= aim
    report(name, f"{show(median(ours))}; Celery {show(median(theirs))}; ratio {found:.2f}", reached)


def main() -> None:
    """Print the figures."""
    server = RedisServer()
    workers = ("taskd", "celery")
    drains: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    starts: dict[str, list[float]] = {}
    sizes: dict[tuple[str, str, int], list[float]] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="taskd-bench-") as made, Redis(port=server.port) as client:
            directory = Path(made)
            write_project(directory)
            for _ in range(ROUNDS):
                for results in ("on", "off"):
                    for worker in workers:
                        found = drain(worker, client, server.url, directory, results)
                        drains.setdefault((worker, results), []).append(found)
                for worker in workers:
                    starts.setdefault(worker, []).append(start(worker, client, server.url, directory))
                for app, children, worker in product((SMALL, DJANGO), (2, 8), workers):
                    size = memory(worker, app, client, server.url, directory, children=children)
                    sizes.setdefault((worker, app, children), []).append(size)
    finally:
        server.end()
    for results, aim in (("on", 8.0), ("off", 12.0)):
        ours, theirs = (list(zip(*drains[worker, results], strict=True)) for worker in workers)
        compare(f"drain, results {results}", [*ours[0]], [*theirs[0]], lambda rate: f"{rate:,.0f}/s", aim)
        compare(
            f"processor time for a task, results {results}",
            [*ours[1]],
            [*theirs[1]],
            lambda cost: f"{cost * 1e6:.0f} us",
            1 / aim,
        )
        if results == "on":
            compare("PSS after the drain", [*ours[2]], [*theirs[2]], lambda size: f"{size:.0f} MB", 0.7)
    for app, name in ((SMALL, "small"), (DJANGO, f"Django, {MODULES} modules")):
        for children in (2, 8):
            mine, peers = (sizes[worker, app, children] for worker in workers)
            compare(f"PSS, {name}, {children} children", mine, peers, lambda size: f"{size:.0f} MB", 0.7)
    compare(
        f"start to first task, Django, {MODULES} modules",
        starts["taskd"],
        starts["celery"],
        lambda wait: f"{wait * 1000:.0f} ms",
        1.0,
    )


if __name__ == "__main__":
    main()
