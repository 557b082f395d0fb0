"""What happens inside the box of ``box.sh``: ``inside.py SCENARIO``, as root under a real systemd.

The unit of the repository is installed as a package would install it, except for two drop-ins that the
test machine may need.  Writes go to the box alone.  Not a test module: ``test_unit.py`` runs it.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from taskd.host import procinfo
from taskd.supervisor.deaths.certificate import MESSAGE_ID
from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
SHOP = Path("/srv/shop")
CONFIG = Path("/etc/taskd.toml")
GATE = SHOP / "gate"

SHOP_CODE = f"""
import socket
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


@app.task(name="shop.lie")
def lie(state: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(state.encode(), "/run/systemd/notify")
    return "told"


@app.task(name="shop.whoami")
def whoami() -> str:
    import getpass
    return getpass.getuser()


@app.task(name="shop.say")
def say() -> str:
    print("<4>sold out", flush=True)
    print("x" * 300_000, flush=True)
    return "said"


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
_SEND = _APP + "print(app.send_task('shop.add', args=(2, 40)).get(timeout=60))"
_BUSY = """
from taskd.supervisor.control.client import ControlClient
rows = ControlClient("/run/taskd/taskd.sock").call("status")["programs"]
print("busy" if any(row["busy"] for row in rows) else "idle")
"""


def run(*command: str, check: bool = True, timeout_s: float = 240.0) -> str:
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
    for name in ("taskd", "taskctl"):
        Path("/usr/bin", name).unlink(missing_ok=True)
        Path("/usr/bin", name).symlink_to(Path(sys.executable).with_name(name))
    SHOP.mkdir(parents=True)
    (SHOP / "shop.py").write_text(SHOP_CODE)
    CONFIG.write_text(config)
    assert run("systemd-tmpfiles", "--create", str(REPOSITORY / "systemd/tmpfiles.d/taskd.conf")) == ""
    reveal_python(units / "taskd.service.d")
    run("systemctl", "daemon-reload")


def install_without_network(place: Path) -> None:
    """Do what pip does to a virtualenv, with what the tests have: the package, its scripts and libraries."""
    (libraries,) = place.glob("lib/python3.*/site-packages")
    found, wanted = {"taskd"}, ["taskd"]
    while wanted:
        for requirement in metadata.requires(wanted.pop()) or ():
            name = re.split(r"[^\w.-]", requirement)[0]
            if "extra ==" not in requirement and name not in found and is_installed(name):
                found.add(name)
                wanted.append(name)
    for name in found - {"taskd"}:
        for file in metadata.files(name) or ():
            target = libraries / file
            if target.is_relative_to(libraries) and ".." not in file.parts:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), target)
    shutil.copytree(REPOSITORY / "taskd", libraries / "taskd")
    for name in ("taskd", "taskctl"):
        script = Path(sys.prefix, "bin", name).read_text()
        (place / "bin" / name).write_text(script.replace(sys.executable, f"{place}/bin/python"))
        (place / "bin" / name).chmod(0o755)


def is_installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


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

    assert starting.wait(60) == 0, journal()
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


# As an operator's shell has it: nothing of the tests' environment.
_BARE = ("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")


def it_works_as_the_page_says() -> None:
    """The commands of docs/operating.md, from a bare machine to a task that ran."""
    page = (REPOSITORY / "docs/operating.md").read_text()
    block = page.partition("```console\n")[2].partition("```")[0]
    commands = [line[2:].partition("  #")[0].strip() for line in block.splitlines()]
    for command in commands:
        if "pip install" in command:
            install_without_network(Path("/opt/taskd"))
            continue
        print(command, run(*_BARE, "sh", "-c", command), sep="\n", flush=True)

    assert shown("ActiveState") == "active"
    assert shown("StatusText") == "3 of 3 programs ready", shown("StatusText")
    assert "pong" in run(*_BARE, "taskctl", "send", "taskd.ping", "--wait", "20s")
    assert json.loads(run(*_BARE, "taskctl", "dlq", "list", "--json"))["letters"] == []


def a_start_fails_when_no_worker_is_ready() -> None:
    install(CONFIG_TEXT + '[beat.schedule.tick]\ntask = "shop.add"\nevery = "1h"\n')
    (SHOP / "shop.py").write_text("import os\n\nos._exit(7)\n")
    add_drop_in("soon", "TimeoutStartSec=8s")

    started = subprocess.run(["systemctl", "start", "taskd"], capture_output=True, text=True, check=False)

    assert started.returncode != 0, "beat alone does nobody's tasks"
    assert f"exit status 7 at {SHOP}/shop.py:3" in journal()
    assert "1 of 3 programs ready" in journal() or "1 of 3" in shown("StatusText"), journal()


def a_python_below_root_is_refused_by_name() -> None:
    install()
    hidden = Path("/root/env/bin")
    hidden.mkdir(parents=True)
    (hidden / "taskd").write_text("#!/root/env/bin/python\n")
    (hidden / "taskd").chmod(0o755)
    add_drop_in("start", "ProtectHome=yes\nExecStart=\nExecStart=/root/env/bin/taskd")

    told = subprocess.run(["taskctl", "doctor"], capture_output=True, text=True, check=False).stdout

    assert "ExecStart: /root/env/bin/taskd lies below /root, which the unit hides" in told, told
    assert "/usr/bin/python3 -m venv /opt/taskd" in told
    if str(Path(sys.executable).resolve()).startswith("/root/"):
        refused = subprocess.run(["taskctl", "install-unit"], capture_output=True, text=True, check=False)
        assert refused.returncode == 1
        assert "which the unit hides" in refused.stderr, refused


def a_stop_while_workers_start_leaves_nothing() -> None:
    install()
    os.mkfifo(GATE)
    shutil.chown(GATE, "taskd")
    starting = subprocess.Popen(["systemctl", "start", "taskd"], stderr=subprocess.DEVNULL)
    wait_until(lambda: "programs ready" in shown("StatusText"), timeout_s=20)

    run("systemctl", "stop", "taskd")

    assert starting.wait(60) != 0
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
    assert as_taskd(_APP + f'print(app.result("{task_id}").get(timeout=60))') == "rested"


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


def entries(*matches: str) -> list[dict[str, Any]]:
    """Return the entries of the journal that match, of this unit alone, the oldest first."""
    found = run("journalctl", "--no-pager", "--all", "-u", "taskd", "-o", "json", *matches)
    return [json.loads(line) for line in found.splitlines()]


def the_journal_knows_the_program_of_each_line() -> None:
    install()
    run("systemctl", "start", "taskd")
    assert as_taskd(_APP + "print(app.send_task('shop.say').get(timeout=60))") == "said"

    wait_until(lambda: len(entries("TASKD_PROGRAM=mail-1")) > 300_000 // (48 * 1024) + 1, timeout_s=10)
    assert not [each for each in entries("TASKD_PROGRAM=mail-1") if each["TASKD_PROGRAM"] != "mail-1"]
    (warning,) = entries("TASKD_PROGRAM=mail-1", "-p", "warning")
    assert warning["MESSAGE"] == "sold out"
    assert warning["PRIORITY"] == "4"
    assert warning["SYSLOG_IDENTIFIER"] == "taskd"
    assert int(warning["SYSLOG_PID"]) == pids_of_programs()["mail-1"]
    assert int(warning["_PID"]) == main_pid(), "it comes from the supervisor"
    long = "".join(each["MESSAGE"] for each in entries("TASKD_PROGRAM=mail-1") if "xxx" in each["MESSAGE"])
    assert long == "x" * 300_000
    assert any("programs=2" in each["MESSAGE"] for each in entries("TASKD_PROGRAM=taskd"))


def the_journal_has_the_facts_of_each_death() -> None:
    install(CONFIG_TEXT + '[worker.bad]\napp = "nowhere:app"\nqueues = ["bad"]\npool = "solo"\n')
    run("systemctl", "start", "--no-block", "taskd")  # which would wait for the broken one
    wait_until(lambda: "2 of 3 programs ready" in shown("StatusText"), timeout_s=20)
    worker = pids_of_programs()["io-1"]
    as_taskd(_APP + 'app.send_task("shop.doze", args=(60,))')

    def running() -> list[int]:
        told = run("taskctl", "status", "--children", "--json", "--socket", "/run/taskd/taskd.sock")
        rows = json.loads(told)["children"]
        return [row["pid"] for row in rows if row["program"] == "mail-1" and row["state"] == "running"]

    (child,) = wait_until(running, timeout_s=10)

    os.kill(worker, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)

    deaths = f"MESSAGE_ID={MESSAGE_ID}"
    (died,) = wait_until(lambda: entries(deaths, f"TASKD_PID={worker}"), timeout_s=10)
    assert (died["TASKD_DIED"], died["TASKD_SIGNAL"], died["PRIORITY"]) == ("io-1", "9", "3")
    assert died["TASKD_CAUSE"] == "signal SIGKILL"
    assert float(died["TASKD_LIVED_SEC"]) > 0.0
    assert int(died["TASKD_MAX_RSS"]) > 1 << 20
    (of_child,) = wait_until(lambda: entries(deaths, f"TASKD_PID={child}"), timeout_s=10)
    assert (of_child["TASKD_KIND"], of_child["TASKD_SIGNAL"]) == ("child", "9")
    broken = wait_until(lambda: entries(deaths, "TASKD_DIED=bad-1"), timeout_s=10)[0]
    assert 'no module "nowhere"' in broken["TASKD_CAUSE"], broken


def reload_returns_when_it_is_done_and_keeps_what_did_not_change() -> None:
    install()
    run("systemctl", "start", "taskd")
    main, before = main_pid(), pids_of_programs()

    CONFIG.write_text(CONFIG_TEXT.replace('queues = ["io"]', 'queues = ["io", "slow"]\nprocesses = 2'))
    run("systemctl", "reload", "taskd")

    after = pids_of_programs()
    assert shown("StatusText") == "3 of 3 programs ready", shown("StatusText")
    assert main_pid() == main
    assert after["mail-1"] == before["mail-1"], "a program that did not change was restarted"
    assert before["io-1"] not in after.values(), "a program that changed was kept"
    assert shown("ActiveState") == "active"
    assert send_a_task() == "42"


def a_reload_of_a_wrong_file_fails_and_changes_nothing() -> None:
    install()
    run("systemctl", "start", "taskd")
    before = pids_of_programs()

    CONFIG.write_text(CONFIG_TEXT.replace("concurrency", "concurency"))
    failed = subprocess.run(["systemctl", "reload", "taskd"], capture_output=True, text=True, check=False)

    assert failed.returncode != 0
    assert shown("ActiveState") == "active"
    assert pids_of_programs() == before
    assert "worker.mail.concurency" in journal()
    assert send_a_task_with(CONFIG_TEXT) == "42"


def send_a_task_with(config: str) -> str:
    CONFIG.write_text(config)
    return send_a_task()


def pids_of_programs() -> dict[str, int]:
    rows = json.loads(run("taskctl", "status", "--json", "--socket", "/run/taskd/taskd.sock"))["programs"]
    return {row["name"]: row["pid"] for row in rows if row["state"] == "READY"}


def a_hung_main_process_leaves_its_traceback() -> None:
    install()
    add_drop_in("watchdog", f"WatchdogSec=2s\nTimeoutAbortSec=5s\nEnvironment=PYTHONPATH={SHOP}/hang")
    (SHOP / "hang").mkdir()
    # A program that was asked to hang does so in a loop of Python: still alive, and doing nothing.
    (SHOP / "hang" / "sitecustomize.py").write_text(
        "import signal\n\ndef hang_for_ever(number, frame):\n    while True:\n        pass\n\n"
        "signal.signal(signal.SIGRTMIN, hang_for_ever)\n"
    )
    run("systemctl", "start", "taskd")

    os.kill(main_pid(), signal.SIGRTMIN)

    wait_until(lambda: shown("NRestarts") == "1" and shown("ActiveState") == "active", timeout_s=30)
    written = journal()
    assert "Fatal Python error: Aborted" in written, written
    assert "in hang_for_ever" in written, written
    assert "in run_once" in written, written
    assert send_a_task() == "42"


def what_a_worker_tells_systemd_is_ignored() -> None:
    install()
    run("systemctl", "start", "taskd")
    before = main_pid()

    for state in ("STATUS=lies", "STOPPING=1", f"MAINPID={os.getpid()}", "WATCHDOG=trigger", "RELOADING=1"):
        answer = as_taskd(_APP + f"print(app.send_task('shop.lie', args=({state!r},)).get(timeout=60))")
        assert answer == "told"

    assert shown("ActiveState") == "active"
    assert shown("SubState") == "running", shown("SubState")
    assert shown("StatusText") == "2 of 2 programs ready"
    assert main_pid() == before
    assert "lies" not in shown("StatusText")


def a_shutdown_by_taskctl_is_final() -> None:
    install()
    run("systemctl", "start", "taskd")

    assert run("taskctl", "shutdown") == "taskd has ended"

    wait_until(lambda: shown("ActiveState") == "inactive", timeout_s=10)
    assert shown("NRestarts") == "0"
    assert shown("Result") == "success"


def the_last_state_outlives_a_stop() -> None:
    install()
    run("systemctl", "start", "taskd")
    run("systemctl", "stop", "taskd")

    done = subprocess.run(["taskctl", "status"], capture_output=True, text=True, check=False)

    assert done.returncode == 69, done
    assert "taskd ended" in done.stdout, done
    assert "mail-1" in done.stdout


def members_of_the_group_may_do_what_their_role_allows() -> None:
    install(CONFIG_TEXT + '[control]\nsocket_mode = "0660"\nviewers = ["@taskd"]\noperators = ["alice"]\n')
    for user, more in (("alice", ["-G", "taskd"]), ("bob", ["-G", "taskd"]), ("eve", [])):
        run("useradd", "--system", *more, user)
    run("systemctl", "start", "taskd")

    def taskctl(user: str, *words: str) -> tuple[int, str]:
        # The configuration is not for everybody to read; the socket is named instead.
        command = ["runuser", "-u", user, "--", "taskctl", *words, "--socket", "/run/taskd/taskd.sock"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    assert taskctl("alice", "restart", "io") == (0, "")
    assert taskctl("bob", "status") == (0, "")
    assert "restart needs the role operator" in taskctl("bob", "restart", "io")[1]
    assert "no permission for the control socket" in taskctl("eve", "status")[1]
    assert "verb=restart" in journal()
    assert "user=alice" in journal()


def the_socket_can_belong_to_another_group() -> None:
    install(CONFIG_TEXT + '[control]\nsocket_mode = "0660"\nsocket_group = "operators"\n')
    run("groupadd", "--system", "operators")
    run("systemctl", "start", "taskd", check=False)
    assert "cannot be given to the group 'operators'" in journal(), journal()
    run("systemctl", "reset-failed", "taskd", check=False)
    run("systemctl", "stop", "taskd")
    use_drop_in("socket-group")

    run("systemctl", "start", "taskd")

    assert Path("/run/taskd/taskd.sock").group() == "operators"
    assert send_a_task() == "42"


def programs_may_have_users_of_their_own() -> None:
    """The drop-in for many users, on the embedded broker that they share."""
    with_users = CONFIG_TEXT.replace(
        "[worker.mail]", '[worker.mail]\nuser = "mailer"\ngroups = ["taskd"]'
    ).replace("[worker.io]", '[worker.io]\nuser = "taskd"')
    install(with_users)
    run("useradd", "--system", "mailer")
    use_drop_in("multi-user")

    run("systemctl", "start", "taskd")

    ask = _APP + "print(app.send_task('shop.whoami', queue={queue!r}).get(timeout=60))"
    assert as_taskd(ask.format(queue="default")) == "mailer"
    assert as_taskd(ask.format(queue="io")) == "taskd"
    shared = {path.group() for path in Path("/var/lib/taskd").rglob("*")}
    assert shared == {"taskd"}, "programs cannot wake each other, or write what the others made"
    below = procinfo.descendants(main_pid())
    assert owner(Path(f"/proc/{main_pid()}")) == 0
    assert 0 not in {owner(Path(f"/proc/{pid}")) for pid in below}, "a program runs as root"
    run("systemctl", "stop", "taskd")
    assert shown("Result") == "success", journal()
    assert not [pid for pid in below if procinfo.is_alive(pid)]


def the_doctor_finds_nothing_wrong_with_what_is_shipped() -> None:
    install()
    run("systemctl", "enable", "--now", "taskd")

    found = json.loads(run("taskctl", "doctor", "--json", check=False))["findings"]

    # What the test machine itself may lack.
    faults = [each for each in found if each["severity"] in {"warning", "error"} and each["check"] != "clock"]
    assert faults == [], faults
    assert any(each["check"] == "unit" and "exposure" in each["what"] for each in found), found

    CONFIG.chmod(0o666)
    add_drop_in("worse", "Type=simple\nKillMode=process")
    done = subprocess.run(["taskctl", "doctor"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for text in (f"everybody may write {CONFIG}", "Type=simple", "KillMode=process"):
        assert text in done.stdout, done.stdout


def start_and_stop_a_hundred_times_leave_nothing() -> None:
    install('app = "shop:app"\n[worker.io]\npool = "solo"\n' + f'directory = "{SHOP}"\n')
    run("systemctl", "start", "taskd")
    run("systemctl", "stop", "taskd")
    before = leftovers()

    for _ in range(int(os.environ.get("TASKD_CYCLES", "100"))):
        run("systemctl", "start", "taskd")
        run("systemctl", "stop", "taskd")

    assert shown("Result") == "success"
    assert processes() == []
    assert leftovers() == before


def leftovers() -> dict[str, object]:
    """Return what a service could leave behind, once it has been started and stopped."""
    pid_1 = Path("/proc/1/fd")
    return {
        "run": sorted(each.name for each in Path("/run/taskd").iterdir()),
        "state": sorted(each.name for each in Path("/var/lib/taskd").iterdir()),
        "tmp": sorted(each.name for each in Path("/tmp").glob("systemd-private-*-taskd*")),
        "cgroup": Path("/sys/fs/cgroup/system.slice/taskd.service").exists(),
        "descriptors of systemd": sum(1 for _ in pid_1.iterdir()) // 10,  # journal streams come and go
        "sockets": run("ss", "-xlH", check=False).count("taskd"),
        "shared memory": sorted(each.name for each in Path("/dev/shm").iterdir()),
    }


def the_unit_is_sound_and_hardened() -> None:
    install()
    assert run("systemd-analyze", "verify", "--man=no", "/etc/systemd/system/taskd.service") == ""
    run("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", "taskd.service")


def every_drop_in_is_sound_and_costs_little_protection() -> None:
    """Each one for itself; the numbers are ten times those of ``systemd-analyze security``."""
    install()
    directory = Path("/etc/systemd/system/taskd.service.d")
    most = {"jit": 20, "local-network": 20, "socket-group": 20, "multi-user": 25, "notify-reload": 20}
    shipped = {path.stem for path in (REPOSITORY / "systemd/drop-ins").iterdir()}
    assert shipped == set(most), shipped
    knows_notify_reload = int(run("systemctl", "--version").split()[1]) >= 253
    for name, threshold in most.items():
        if name == "notify-reload" and not knows_notify_reload:
            continue
        use_drop_in(name)
        assert run("systemd-analyze", "verify", "--man=no", "taskd.service") == "", name
        exposure = run(
            "systemd-analyze", "security", "--no-pager", f"--threshold={threshold}", "taskd.service"
        )
        print(name, exposure.splitlines()[-1])
        (directory / f"{name}.conf").unlink()


def use_drop_in(name: str) -> None:
    """Install a drop-in of the repository as an operator would."""
    directory = Path("/etc/systemd/system/taskd.service.d")
    directory.mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / f"systemd/drop-ins/{name}.conf", directory)
    run("systemctl", "daemon-reload")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
