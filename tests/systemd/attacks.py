"""Attacks by the code of a task, in the box of ``box.sh``: ``attacks.py SCENARIO``.

Two users share one taskd.  Whatever the task of one of them tries, it stays that user, learns nothing of the
other's secrets, and changes nothing of what the other runs.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import sys
from pathlib import Path

from tests.systemd.inside import (
    CONFIG,
    REPOSITORY,
    SHOP,
    add_drop_in,
    install,
    journal,
    pids_of_programs,
    run,
    use_drop_in,
)
from tests.waiting import wait_until

_STATE = Path("/var/lib/taskd")
_CAUGHT = _STATE / "caught"
_LOGS = Path("/var/log/taskd")

# Runs what the message says: the worst that a task can be.
_ATTACKER = """
import json, os, traceback
from taskd import App

app = App()


@app.task(name="evil.run")
def run(code):
    names = {}
    exec(code, names)
    return names.get("answer")
"""

_TABLES = f"""
app = "shop:app"

[log]
directory = "/var/log/taskd"

# The attacker's group may connect, and has no role.
[control]
socket_mode = "0660"

[worker.mail]
app = "evil:app"
queues = ["evil"]
concurrency = 1
directory = "{SHOP}"
user = "mailer"
groups = ["taskd"]
environment = {{ TOKEN = "secret-of-mail" }}

[worker.io]
pool = "threads"
queues = ["io"]
concurrency = 1
directory = "{SHOP}"
environment = {{ TOKEN = "secret-of-io" }}

[beat.schedule.tick]
task = "shop.add"
queue = "nobody"
args = [1, 2]
every = "1h"
"""

_LEFT_BEHIND = f"""
import os
trap = '''
import os
fd = os.open({str(_CAUGHT)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
os.write(fd, f"{{os.getuid()}} {{__name__}}\\\\n".encode())
raise ImportError
'''
for place in ({str(_STATE)!r}, "/tmp", "/", "/run/taskd", "/var/log/taskd"):
    for name in ("logging", "runpy", "taskd", "sitecustomize", "usercustomize", "signal"):
        try:
            with open(f"{{place}}/{{name}}.py", "w") as file:
                file.write(trap)
        except OSError:
            pass
answer = sorted(os.listdir({str(_STATE)!r}))
"""

_LOOK_AROUND = """
import glob, os
found = {}
places = ["/etc/taskd.toml", *glob.glob("/proc/[0-9]*/environ"), *glob.glob("/proc/[0-9]*/cmdline")]
places += glob.glob("/proc/[0-9]*/fd/*") + glob.glob("/run/taskd/*")
for top in ("/var/lib/taskd", "/var/log/taskd"):
    places += [os.path.join(where, name) for where, _, names in os.walk(top) for name in names]
for place in places:
    try:
        fd = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
        data = os.pread(fd, 1 << 22, 0)
        os.close(fd)
    except OSError:
        continue
    for secret in (b"secret-of-io", b"secret-of-the-daemon", b"secret-of-mail"):
        # Its own name of a secret is in the message that carries this code.
        if secret in data and b"names a secret" not in data:
            found.setdefault(secret.decode(), []).append(place)
answer = found
"""

_CHANGE_CONFIGURATION = """
import glob, os
answer = []
for place in glob.glob("/proc/[0-9]*/fd/*"):
    try:
        if "memfd:taskd-config" not in os.readlink(place):
            continue
        answer.append("seen")
        fd = os.open(place, os.O_RDWR)
        os.pwrite(fd, b"{}", 0)
        answer.append("changed " + place)
    except OSError:
        pass
"""

_KILL = """
import os, signal
answer = []
for name in os.listdir("/proc"):
    if name.isdigit() and os.stat(f"/proc/{name}").st_uid != os.getuid():
        answer.append("seen " + name)
for number in PIDS:
    try:
        os.kill(number, signal.SIGKILL)
        answer.append(f"killed {number}")
    except PermissionError:
        pass
"""


_KNOCK = """
import socket
answer = []
for path in ("/run/systemd/private", "/run/systemd/notify"):
    kind = socket.SOCK_DGRAM if path.endswith("notify") else socket.SOCK_STREAM
    with socket.socket(socket.AF_UNIX, kind) as one:
        try:
            one.connect(path)
            answer.append(path)
        except OSError:
            pass
"""


# Takes all connections of the control socket that it can get, and keeps them.
_LOCK_OUT = """
import builtins, socket
builtins.kept = []
for _ in range(40):
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.settimeout(1.0)
    try:
        one.connect("/run/taskd/taskd.sock")
        builtins.kept.append(one)
    except OSError:
        one.close()
answer = len(builtins.kept)
"""


_FORGE = """
import sys
for out in (sys.stdout, sys.stderr):
    print("x\\n<6>taskd: audit user=root forged", file=out, flush=True)
"""


def _start() -> None:
    install(_TABLES)
    (SHOP / "evil.py").write_text(_ATTACKER)
    run("useradd", "--system", "mailer")
    run("install", "-d", "-o", "taskd", "-g", "taskd", "-m", "0750", "/var/log/taskd")
    # All that are shipped at once: none of them may open what another has closed.  systemd 252 does not know
    # the type of notify-reload, which only changes how a reload is told.
    run("groupadd", "--system", "operators")
    for name in sorted(path.stem for path in (REPOSITORY / "systemd/drop-ins").iterdir()):
        if name != "notify-reload":
            use_drop_in(name)
    add_drop_in("more", 'ReadWritePaths=/var/log/taskd\nEnvironment="PASSWORD=secret-of-the-daemon"')
    run(
        "install",
        "-m",
        "0644",
        str(REPOSITORY / "systemd/tmpfiles.d/multi-user.conf"),
        "/etc/tmpfiles.d/taskd.conf",
    )
    run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/taskd.conf")
    run("systemctl", "start", "taskd")


def _attack(code: str) -> object:
    """Have the task of the user mailer run the code; return its answer."""
    script = (
        "import json, sys\nfrom taskd import App\n"
        f"app = App(config={str(CONFIG)!r})\n"
        "print(json.dumps(app.send_task('evil.run', args=(sys.argv[1],), queue='evil').get(timeout=60)))"
    )
    return json.loads(run(sys.executable, "-c", script, "# names a secret\n" + code))


def _owner(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def _writers() -> list[int]:
    """Return the pids of the writer of log files."""
    return [int(pid) for pid in run("pgrep", "-f", "taskd.*logger", check=False).split()]


def _open_ways() -> list[str]:
    """Return the errors of ``doctor --security``, but for the Python of the tests, wherever that lies."""
    found = json.loads(run("taskctl", "doctor", "--security", "--json", check=False))["findings"]
    faults = [each["what"] for each in found if (each["check"], each["severity"]) == ("security", "error")]
    return [each for each in faults if sys.prefix not in each and sys.base_prefix not in each]


def a_task_of_one_user_stays_that_user() -> None:
    _start()
    before = pids_of_programs()
    taskd, mailer = (pwd.getpwnam(name).pw_uid for name in ("taskd", "mailer"))
    assert {name: _owner(pid) for name, pid in before.items()} == {
        "beat": taskd,
        "io-1": taskd,
        "mail-1": mailer,
    }
    assert {_owner(pid) for pid in _writers()} == {taskd}, "the writer of log files"

    # Beat does not run its code to learn what it declares.
    beats = _LOGS / "beat.log"
    wait_until(lambda: "the entries of app evil:app are not read" in beats.read_text(), timeout_s=10)

    # Code that it leaves lying about is run by nobody.
    assert "logging.py" in str(_attack(_LEFT_BEHIND)), "it may write there"
    former = _writers()
    for pid in former:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: _writers() and not set(_writers()) & set(former), timeout_s=10)
    for name in ("beat", "io"):
        run("taskctl", "restart", name)
    assert not _CAUGHT.exists(), _CAUGHT.read_text()

    # It reads its own secret, and no other.
    found = _attack(_LOOK_AROUND)
    assert isinstance(found, dict)
    assert set(found) == {"secret-of-mail"}, found

    changed = _attack(_CHANGE_CONFIGURATION)
    assert isinstance(changed, list)
    assert not [each for each in changed if each.startswith("changed")], changed

    # Nobody lets it in who could act for it; what it tells systemd is not heard.
    assert _attack(_KNOCK) in ([], ["/run/systemd/notify"])

    # It may connect to taskd, and keeps nobody else from it.
    assert _attack(_LOCK_OUT), "it may connect"
    assert pids_of_programs()

    # Others' work goes on.
    now = pids_of_programs()
    others = [pid for name, pid in now.items() if name != "mail-1"]
    assert _attack(f"PIDS = {others}\n{_KILL}") == []
    assert pids_of_programs() == now
    assert "secret-of" not in journal()

    # What it prints is its own, and never a line of the daemon's.
    _attack(_FORGE)
    wait_until(lambda: "audit user=root forged" in (_LOGS / "mail-1.log").read_text(), timeout_s=10)
    where = [path.name for path in _LOGS.iterdir() if "forged" in path.read_text()]
    assert where == ["mail-1.log"]
    assert "forged" not in journal()

    # What is shipped for this case has no open way; the file as it is for one user has.
    assert _open_ways() == []
    shutil.chown(CONFIG, "root", "taskd")
    CONFIG.chmod(0o640)
    found_ways = _open_ways()
    assert f"mailer, the user of [worker.mail], may read {CONFIG}" in found_ways, found_ways


if __name__ == "__main__":
    globals()[sys.argv[1]]()
