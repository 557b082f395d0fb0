"""Where logging goes: the choice between plain and journal, made on a real descriptor."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import logging
from taskd.base import log
log.setup("info", "auto", program="mail-1")
logging.getLogger("x").debug("unseen")
logging.getLogger("x").warning("queue=%s", "mail")
"""


def logged(journal_stream: str | None) -> str:
    reading, writing = os.pipe()
    status = os.fstat(writing)
    environ = {key: value for key, value in os.environ.items() if key != "JOURNAL_STREAM"}
    if journal_stream is not None:
        environ["JOURNAL_STREAM"] = journal_stream or f"{status.st_dev}:{status.st_ino}"
    subprocess.run([sys.executable, "-c", SCRIPT], stderr=writing, env=environ, check=True, timeout=60)
    os.close(writing)
    with os.fdopen(reading) as file:
        return file.read()


def test_journald_gets_priorities_when_it_reads_standard_error() -> None:
    assert logged("") == "<4>mail-1: queue=mail\n"


def test_a_stream_that_was_redirected_away_from_journald_is_plain() -> None:
    assert logged("1:2").endswith(" WARNING mail-1: queue=mail\n")


def test_without_systemd_it_is_plain() -> None:
    assert logged(None).endswith(" WARNING mail-1: queue=mail\n")
