"""What happens inside the box of ``box.sh``: ``inside.py SCENARIO``, as root under a real systemd.

The unit of the repository is installed as a package would install it, except for two drop-ins that the
test machine may need.  Writes go to the box alone.  Not a test module: ``test_unit.py`` runs it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from taskd import procinfo
from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
SHOP = Path("/srv/shop")
CONFIG = Path("/etc/taskd.toml")
GATE = SHOP / "gate"

SHOP_CODE = f"""
import time
from pathlib import Path
from taskd import App

app = App()

# Importing takes as long as the test wants: until somebody writes into the pipe.
if Path("{GATE}").exists():
    Path("{GATE}").read_bytes()


@app.task(name="shop.add")
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="shop.doze")
def doze(seconds: float) -> str:
    time.sleep(seconds)
    return "rested"
"""

CONFIG_TEXT = f"""
app = "shop:app"

[worker.mail]
concurrency = 2
directory = "{SHOP}"

[worker.io]
queues = ["io"]
pool = "threads"
concurrency = 2
directory = "{SHOP}"
"""

# Scripts that run as the unit's user.
_APP = f"from taskd import App; app = App(config='{CONFIG}')\n"
_SEND = _APP + "print(app.send_task('shop.add', args=(2, 40)).get(timeout=20))"
_BUSY = """
from taskd.supervisor.control_client import ControlClient
rows = ControlClient("/run/taskd/taskd.sock").call("status")["programs"]
print("busy" if any(row["busy"] for row in rows) else "idle")
"""


def run(*command: str, check: bool = True, timeout_s: float = 60.0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if check and done.returncode != 0:
        raise AssertionError(
            f"{command} failed with {done.returncode}: {done.stdout}{done.stderr}\n{journal()}"
        )
    return done.stdout.strip()


def journal() -> str:
    return subprocess.run(
        ["journalctl", "--no-pager", "-u", "taskd"], capture_output=True, text=True, check=False
    ).stdout


def shown(name: str) -> str:
    """Return a property of the unit."""
    return run("systemctl", "show", "--value", "-p", name, "taskd")


def install(config: str = CONFIG_TEXT) -> None:
    units = Path("/etc/systemd/system")
    shutil.copy(REPOSITORY / "systemd/taskd.service", units)
    run("systemd-sysusers", str(REPOSITORY / "systemd/sysusers.d/taskd.conf"))
    Path("/usr/bin/taskd").unlink(missing_ok=True)
    Path("/usr/bin/taskd").symlink_to(Path(sys.executable).with_name("taskd"))
    SHOP.mkdir(parents=True)
    (SHOP / "shop.py").write_text(SHOP_CODE)
    CONFIG.write_text(config)
    reveal_python(units / "taskd.service.d")
    run("systemctl", "daemon-reload")


def reveal_python(drop_ins: Path) -> None:
    """Let the unit's user reach a Python or a checkout that lies where the unit hides things.

    Home directories, /tmp and directories for one user only are usual on developers' machines.
    """
    needed = [Path(sys.base_prefix), REPOSITORY, Path(sys.prefix)]
    for path in needed:
        for place in (path, *path.parents):
            place.chmod(place.stat().st_mode | 0o111)
    settings = []
    if any(path.parts[1] in {"root", "home"} for path in needed):
        settings.append("ProtectHome=read-only")
    if any(path.is_relative_to(tmp) for path in needed for tmp in ("/tmp", "/var/tmp")):
        settings.append("PrivateTmp=no")
    if settings:
        drop_ins.mkdir()
        (drop_ins / "reveal.conf").write_text("\n".join(["[Service]", *settings, ""]))


def main_pid() -> int:
    return int(shown("MainPID"))


def processes() -> list[int]:
    """Return the pids of all processes of the unit's user."""
    uid = pwd.getpwnam("taskd").pw_uid
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and owner(p) == uid]


def owner(directory: Path) -> int:
    try:
        return directory.stat().st_uid
    except OSError:
        return -1


def as_taskd(script: str) -> str:
    return run("runuser", "-u", "taskd", "--", sys.executable, "-c", script)


def send_a_task() -> str:
    return as_taskd(_SEND)


def add_drop_in(name: str, settings: str) -> None:
    directory = Path("/etc/systemd/system/taskd.service.d")
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.conf").write_text(f"[Service]\n{settings}\n")
    run("systemctl", "daemon-reload")


# -- scenarios ------------------------------------------------------------------------------------


def start_returns_only_after_every_worker_is_ready() -> None:
    install()
    os.mkfifo(GATE)
    shutil.chown(GATE, "taskd")
    starting = subprocess.Popen(["systemctl", "start", "taskd"])
    wait_until(lambda: "programs ready" in shown("StatusText"), timeout_s=20)
    assert shown("ActiveState") == "activating", shown("ActiveState")
    assert starting.poll() is None

    open_gate()

    assert starting.wait(30) == 0, journal()
    assert shown("ActiveState") == "active"
    assert shown("StatusText") == "2 of 2 programs ready", shown("StatusText")


def open_gate() -> None:
    """Let everybody who waits at the gate through, and take it away."""
    hidden = GATE.rename(GATE.with_suffix(".open"))

    def write() -> bool:
        try:
            fd = os.open(hidden, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return "2 of 2" in shown("StatusText")  # nobody waits any more
        os.close(fd)
        return False

    wait_until(write, timeout_s=30)


def a_task_runs() -> None:
    install()
    run("systemctl", "start", "taskd")
    assert send_a_task() == "42"


def stop_leaves_nothing() -> None:
    install()
    run("systemctl", "start", "taskd")
    assert len(processes()) >= 3, processes()

    started = time.monotonic()
    run("systemctl", "stop", "taskd")

    assert time.monotonic() - started < 10
    assert shown("Result") == "success", journal()
    assert processes() == []
    assert not Path("/run/taskd/taskd.sock").exists()


def a_stop_while_workers_start_leaves_nothing() -> None:
    install()
    os.mkfifo(GATE)
    shutil.chown(GATE, "taskd")
    starting = subprocess.Popen(["systemctl", "start", "taskd"], stderr=subprocess.DEVNULL)
    wait_until(lambda: "programs ready" in shown("StatusText"), timeout_s=20)

    run("systemctl", "stop", "taskd")

    assert starting.wait(30) != 0
    assert processes() == []


def a_drain_may_last_longer_than_the_units_stop_timeout() -> None:
    install()
    add_drop_in("stop", "TimeoutStopSec=1s")
    run("systemctl", "start", "taskd")
    task_id = as_taskd(_APP + 'print(app.send_task("shop.doze", args=(4,)).id)')
    wait_until(lambda: "busy" in as_taskd(_BUSY), timeout_s=10)

    started = time.monotonic()
    run("systemctl", "stop", "taskd")

    assert time.monotonic() - started > 2.0
    assert shown("Result") == "success", journal()
    assert as_taskd(_APP + f'print(app.result("{task_id}").get(timeout=5))') == "rested"


def a_killed_main_process_is_recovered() -> None:
    install()
    run("systemctl", "start", "taskd")
    former = main_pid()
    below = procinfo.descendants(former)
    assert below

    os.kill(former, signal.SIGKILL)

    wait_until(lambda: shown("NRestarts") == "1" and shown("ActiveState") == "active", timeout_s=30)
    assert main_pid() != former
    assert not [pid for pid in below if procinfo.is_alive(pid)]
    assert send_a_task() == "42"


def a_hung_main_process_is_replaced_by_the_watchdog() -> None:
    install()
    add_drop_in("watchdog", "WatchdogSec=2s\nTimeoutAbortSec=2s")
    run("systemctl", "start", "taskd")
    former = main_pid()

    os.kill(former, signal.SIGSTOP)

    wait_until(lambda: shown("NRestarts") == "1" and shown("ActiveState") == "active", timeout_s=30)
    assert "watchdog" in journal().lower()


def a_wrong_configuration_is_not_tried_again() -> None:
    install('app = "shop:app"\n[worker.mail]\nconcurency = 2\n')
    run("systemctl", "start", "taskd", check=False)

    assert shown("Result") == "exit-code", journal()
    assert shown("ExecMainStatus") == "78"
    assert shown("NRestarts") == "0"
    assert "/etc/taskd.toml:3: worker.mail.concurency" in journal()


def the_journal_gets_priorities() -> None:
    install()
    run("systemctl", "start", "taskd")
    os.kill(procinfo.descendants(main_pid())[0], signal.SIGKILL)

    def errors() -> bool:
        return "signal SIGKILL" in run("journalctl", "--no-pager", "-u", "taskd", "-p", "err")

    wait_until(errors, timeout_s=10)
    assert "taskd: program=" in run("journalctl", "--no-pager", "-u", "taskd", "-p", "info")


def the_unit_is_sound_and_hardened() -> None:
    install()
    assert run("systemd-analyze", "verify", "--man=no", "/etc/systemd/system/taskd.service") == ""
    run("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", "taskd.service")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
