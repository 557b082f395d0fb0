"""The architecture as tables, which ``arch_check`` enforces; a change of one is a change of the other.

Modules are dotted names relative to the package; patterns are regular expressions over whole names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

MAX_MODULE = 400
MAX_FUNCTION = 60

# fmt: off
RANKS: Mapping[str, int] = {
    "base": 0, "host": 0,
    "config": 1, "protocol": 1, "storage": 1,
    "brokers": 2, "results": 2, "revocations": 2, "pools": 2, "supervisor": 2, "program": 2,
    "sending": 3, "events": 3, "control": 3,
    "app": 4, "beat": 4,
    "consumer": 5, "execution": 5,
    "worker": 6,
    "cli": 7,
}
# fmt: on

# fmt: off
#: Which rooms a room may import, all of lower rank; its docstring says the same.
DOORS: Mapping[str, Sequence[str]] = {
    "base": (),
    "host": (),
    "config": ("base",),
    "protocol": ("base",),
    "storage": ("base",),
    "brokers": ("base", "config", "protocol", "storage"),
    "results": ("base", "config", "protocol", "storage"),
    "revocations": ("base", "config", "protocol", "storage"),
    "pools": ("base", "host"),
    "supervisor": ("base", "host", "config", "protocol"),
    "program": ("base", "host", "config", "protocol"),
    "sending": ("base", "config", "protocol", "brokers", "results", "revocations"),
    "events": ("base", "protocol", "brokers"),
    "control": ("base", "config", "protocol", "brokers"),
    "app": ("base", "config", "protocol", "results", "sending"),
    "beat": ("base", "host", "config", "protocol", "storage", "brokers", "program", "sending"),
    "consumer": (
        "base",
        "host",
        "config",
        "protocol",
        "brokers",
        "results",
        "revocations",
        "pools",
        "sending",
        "events",
        "control",
    ),
    "execution": ("base", "host", "config", "protocol", "results", "pools", "program", "sending", "app"),
    "worker": (
        "base",
        "host",
        "config",
        "protocol",
        "storage",
        "brokers",
        "results",
        "revocations",
        "pools",
        "program",
        "sending",
        "app",
        "consumer",
        "execution",
    ),
    "cli": (
        "base",
        "host",
        "config",
        "protocol",
        "storage",
        "brokers",
        "results",
        "revocations",
        "pools",
        "supervisor",
        "program",
        "sending",
        "events",
        "control",
        "app",
        "beat",
    ),
}

# fmt: on
#: On a floor: all modules that no floor names; they may see one another.
REST = "*"

#: The floors of rooms, from the ground up: what stands on a floor is blind to what stands beside it.
FLOORS: Mapping[str, Sequence[Sequence[str]]] = {
    "brokers": (
        ("desk", "timing", "dead", "failures"),
        ("base",),
        ("topology",),
        ("once", "event_sender"),
        ("memory", "sqlite", "redis", "kombu"),
        ("amqp",),
        ("factory", "kombu_client"),
    ),
    "beat": (("schedules",), ("entries",), ("stores",), (REST,)),
    "cli": ((REST,), ("beat", "doctor", "store", "importing"), ("install_unit",)),
    "consumer": (
        ("request", "facts", "live_config", "orders", "backends", "voice"),
        ("moments",),
        ("settling",),
        ("running",),
        ("connection", "claiming"),
        ("neighbours",),
        ("heart", "tasks"),
        ("commands", "evloop"),
        ("parts",),
        ("consumer",),
    ),
    "execution": (
        ("missing_module",),
        ("ledger", "finding", "rehearsal"),
        ("task_app",),
        ("native", "celery"),
        ("opening", "following"),
        ("declarations",),
    ),
    "pools": (("base", "daemon_executor", "interrupt"), ("opening",), ("prefork", REST)),
    "sending": (
        ("message", "forms", "due", "request", "bar"),
        ("options",),
        ("checks", "signature", "reference"),
        ("calls",),
        (REST,),
    ),
    "storage": (("upkeep",), ("redis", "sqlite")),
    "supervisor": (
        ("model", "clock_watch", "systemd"),
        ("process", "reference"),
        ("output",),
        ("deaths",),
        ("programs",),
        ("scaling", "reload"),
        ("control",),
        ("supervisor",),
    ),
    "worker": (
        ("program", "pool_events", "stages"),
        ("foundations", "ledger", "life"),
        ("signals", "pools"),
        ("reporting", "stores", "template", "trial", "shadow"),
        ("pool_step",),
        ("policies", "autoscale"),
        ("rereading",),
        ("consumer_step",),
        ("__main__",),
        ("gevent_entry", "eventlet_entry"),
    ),
}

#: Outside all ranks: the package's front door, and its program.
FRONT = frozenset({"__init__", "__main__"})

#: Modules that may import own modules inside functions, as patterns over dotted names.
LAZY = (
    r"__init__",
    r"base\.resolve",
    r"cli\.taskd",
    r"(.+\.)?__main__",
    # Factories: one of several implementations is chosen by the configuration, the others cost nothing.
    r"brokers\.factory",
    r"results\.factory",
    r"beat\.stores\.factory",
    r"revocations\.store",
    r"execution\.opening",
    r"execution\.celery\.schedule\.declared",
    r"worker\.pools",
    r"worker\.(gevent|eventlet)_entry",  # the process is patched before anything else is imported
)

#: Guarded module -> patterns of the modules that may import it.  An empty tuple: nobody.
GATES: Mapping[str, Sequence[str]] = {
    "sqlite3": (r"storage\.sqlite\..+",),
    "redis": (r"storage\.redis\..+",),
    "kombu": (r"brokers\..+", r"control\..+", r"events\..+", r"execution\.celery\..+"),
    "celery": (r"execution\.celery\..+",),
    "billiard": (r"execution\.celery\..+",),
    "amqp": (r"brokers\..+",),
    "psutil": (r"host\.procinfo",),
    "setproctitle": (r"host\.proctitle",),
    "sdnotify": (r"supervisor\.systemd",),
    "tomllib": (r"config\.load",),
    "tomli": (r"config\.load",),
    "astral": (r"beat\.schedules\.solar",),
    "gevent": (r"pools\.gevent", r"worker\.gevent_entry"),
    "eventlet": (r"pools\.eventlet", r"worker\.eventlet_entry"),
    "click": (r"cli\..+",),
    "rich": (r"cli\..+", r"sending\.bar"),  # the latter when a caller asks for a bar
    "signal": (
        r"base\.loop",
        r"host\.prctl",
        r"base\.program_signals",
        r"program\.bond",  # the signal at which a program shows its stacks
        r"base\.exit_codes",
        r"supervisor\..+",
        r"worker\..+",
        r"beat\..+",
        r"pools\.prefork\..+",
        r"cli\.time_limit",
        r"cli\.importing\.shadowing",  # a signal ends a watch, whose report is still made
        r"consumer\.commands\.revoking",  # names of signals for ``revoke --terminate``
    ),
    "pickle": (r"protocol\.content",),  # reads it only where the operator allows it by name
    "marshal": (),
    "shelve": (),
    "multiprocessing": (r"execution\.celery\.worker_start",),  # functions that Celery's libraries want called
    # The second ones wait for a process that imports a user's app.
    "subprocess": (
        r"cli\.doctor\.unit",
        r"cli\.importing\.(asking|judge)",
    ),  # systemctl and systemd-analyze; no daemon is ever this process
}

#: Guarded name, called or only mentioned -> patterns of the modules that may.
CALLS: Mapping[str, Sequence[str]] = {
    "time.time": (r"base\.clock",),
    "time.monotonic": (r"base\.clock",),
    "time.sleep": (),
    "datetime.now": (r"base\.clock",),
    "datetime.utcnow": (),
    "datetime.today": (),
    "os.fork": (r"supervisor\.process\.spawn", r"pools\.prefork\..+"),
    "os.kill": (r"supervisor\..+", r"pools\.prefork\..+", r"beat\.app_process"),
    "os.killpg": (r"supervisor\..+", r"pools\.prefork\..+"),
    "os.waitpid": (r"supervisor\.process\.reaper", r"pools\.prefork\..+", r"beat\.app_process"),
    "os.waitid": (r"supervisor\.process\.(reaper|trial)", r"pools\.prefork\..+"),
    "signal.pidfd_send_signal": (r"supervisor\..+", r"pools\.prefork\..+"),
    # The last is the alarm of ``taskctl --timeout``, the one way to end a system call that waits.
    "signal.signal": (
        r"base\.loop",
        r"base\.program_signals",
        r"supervisor\..+",
        r"pools\.prefork\..+",
        r"cli\.time_limit",
        r"cli\.importing\.shadowing",
    ),
    "importlib.import_module": (r"__init__", r"base\.resolve", r"base\.named"),
    "print": (r"cli\.taskd",),  # which must not pay for click before the daemon starts
    "eval": (),
    "exec": (),
}

NAMELESS = frozenset({"utils", "util", "helpers", "helper", "common", "misc", "tools", "base_utils"})
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
