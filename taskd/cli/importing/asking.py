"""Ask a Celery app for its facts, in a process of its own: no code of the user's runs in this one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

import msgspec

from taskd.base import exit_codes
from taskd.cli.output import Failure
from taskd.host.safe_python import module_command
from taskd.sending.celery_facts import CeleryFacts

#: An import that takes longer hangs.
LONGEST_S = 120.0


def ask(app: str, *, directory: str, interpreter: str, environment: Mapping[str, str]) -> CeleryFacts:
    """Return the facts.  The output of the app goes to standard error.

    Raises: ``Failure`` that says why there are none.
    """
    command = module_command("taskd.execution.celery.conf.facts", app, python=interpreter)
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(f"the import of {app} is not done after {LONGEST_S:g} s") from error
    except OSError as error:
        raise Failure(f"{command[0]} in {directory} cannot be started: {error.strerror}") from error
    if done.returncode != exit_codes.OK:
        raise Failure(
            f"{app} cannot be imported in {directory} by {command[0]}, as said above; --directory names the "
            "place of the code, and --interpreter a Python that has it, Celery and taskd",
            exit_codes.APP_BROKEN,
        )
    try:
        return msgspec.json.decode(done.stdout, type=CeleryFacts)
    except msgspec.DecodeError as error:
        raise Failure(f"the facts of {app} are not understood; does {command[0]} have this taskd?") from error
