"""The stacks that faulthandler writes, and the stack on which it runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

_ALL_AT_ONCE = """
import os, signal
from taskd.host import stacks

stacks.{asked}
numbers = {{each for each in signal.Signals if each < 32}}
numbers -= {{signal.SIGKILL, signal.SIGSTOP, signal.SIGUSR2}}
numbers -= {{signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}}  # a SIGCONT takes them back
numbers -= {{signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}}
seen = set()
for each in numbers:
    signal.signal(each, lambda number, frame: seen.add(number))
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
for each in numbers:
    os.kill(os.getpid(), each)
signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
print(len(seen) == len(numbers) == 20, flush=True)
os.kill(os.getpid(), signal.{number})
"""


@pytest.mark.parametrize(
    ("asked", "number"),
    [("write_at_a_crash()", "SIGABRT"), ("write_at(signal.SIGUSR2)", "SIGUSR2")],
)
def test_there_is_room_for_all_signals_at_once_and_the_stacks_are_written(asked: str, number: str) -> None:
    code = _ALL_AT_ONCE.format(asked=asked, number=number)

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stdout == "True\n", done
    assert 'File "<string>"' in done.stderr
