"""A real supervisor over fake programs: ``fake_daemon.py DIRECTORY SETTINGS_JSON``.

``SETTINGS_JSON`` is an object: ``modes`` maps a worker's name to the mode of ``fake_program.py``,
``workplace`` is the workers' directory, ``control`` has keys of [control] and ``log`` of [log], ``toml`` is a
text with further tables, the other keys are those of [supervisor].  Not a test module.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from taskd.base import exit_codes, log
from taskd.base.errors import ControlError
from taskd.config.control import ControlConfig
from taskd.config.daemon import LogConfig, SupervisorConfig
from taskd.config.load import check_bytes, load
from taskd.config.programs import WorkerConfig
from taskd.config.schema import Config
from taskd.supervisor.reload import reload
from taskd.supervisor.supervisor import Supervisor
from tests.component import faulty_loop

PROGRAM = str(Path(__file__).with_name("fake_program.py"))


def fake_command(kind: str, name: str, pool: str) -> Sequence[str]:
    return (sys.executable, PROGRAM, name)


def main(directory: str, settings: dict[str, Any]) -> int:
    if os.environ.pop("FAKE_BROKEN_CHECKER", ""):
        vars(reload)["check"] = lambda *_, **__: 1 // 0
    if mode := os.environ.pop("FAKE_FAULTS", ""):
        faulty_loop.install(Path(directory), mode)
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])  # the fake programs are modules of the tests
    if settings.pop("file", False):
        return run(load(f"{directory}/taskd.toml"))
    modes = settings.pop("modes", {})
    settings.setdefault("state_directory", directory)
    settings.setdefault("heartbeat_timeout", 0.0)  # the fake programs report once
    assert isinstance(modes, dict)
    workplace = str(settings.pop("workplace", ""))
    output = settings.pop("log", {})
    assert isinstance(output, dict)
    control = settings.pop("control", {})
    assert isinstance(control, dict)
    further, problems = check_bytes(str(settings.pop("toml", "")).encode(), f"{directory}/taskd.toml")
    assert further is not None, problems
    config = replace(
        further,
        path=f"{directory}/taskd.toml",
        supervisor=SupervisorConfig(control_socket=f"{directory}/s", **settings),
        control=ControlConfig(**control),
        log=LogConfig(level="debug", **output),
        workers={
            name: WorkerConfig(name=name, directory=workplace, environment={"FAKE_MODE": mode})
            for name, mode in modes.items()
        }
        | dict(further.workers),
    )
    return run(config)


def run(config: Config) -> int:
    log.setup("debug", "plain", program="taskd")
    try:
        return Supervisor(config, table=fake_command).run()
    except ControlError as error:
        print(error, file=sys.stderr)
        return exit_codes.CANTCREAT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], json.loads(sys.argv[2])))
