"""Deaths of pool children in the register: counted when they are alike, and never in the way of programs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from taskd.consumer.request import WorkerRequest
from taskd.consumer.running.obituaries import obituary
from taskd.pools.base import Cancelled, ChildEnd, ChildLost, Outcome, TimedOut
from taskd.protocol.delivery import Delivery
from taskd.protocol.message import TaskHeaders
from taskd.protocol.status import ChildDied, RunningTask, decode_line, encode_line
from taskd.sending.forms import Acks
from taskd.sending.options import TaskOptions
from taskd.supervisor.deaths.alike import ALIKE_S, counted, like, to_forget
from taskd.supervisor.deaths.certificate import Certificate, of_child

SEGFAULT = ChildLost(7, 4711, started=True, exit_code=-1, signal=11)
END = ChildEnd(4711, -1, 11, max_rss_bytes=5, lived_s=3.0, last_words="boom", outcome=SEGFAULT, began=8.0)


def request(*, deaths: int = 0, acks: Acks = Acks.LATE) -> WorkerRequest:
    delivery = Delivery(7, "q", "id", b"", b"", "", "", 0, 1, deaths, "", "", "", "")
    options = TaskOptions(name="shop.add", acks=acks)
    return WorkerRequest(delivery, TaskHeaders(task="shop.add", id="id", root_id="id"), options, 1)


def line(**fields: Any) -> ChildDied:
    task = RunningTask("id", "shop.add", 4711, 2.0)
    return ChildDied(**{"pid": 4711, "signal": 11, "cause": "signal 11", "task": task, **fields})


def death(at: float, **fields: Any) -> Certificate:
    return of_child("mail-1", "mail", line(**fields), at=at, out_of_memory=False)


def test_the_line_tells_how_in_which_task_and_what_became_of_it() -> None:
    said = obituary(END, request(), 3, now=10.0)

    assert decode_line(encode_line(said).rstrip()) == said
    assert (said.signal, said.exit_code, said.cause) == (11, None, "signal 11 (SIGSEGV)")
    assert said.task == RunningTask("id", "shop.add", 4711, 2.0)
    assert (said.fate, said.last_words) == ("queued again (death 1 of 3)", "boom")


def test_the_fate_is_the_one_that_the_settlement_will_be() -> None:
    def of(outcome: Outcome, **words: Any) -> str:
        return obituary(replace(END, outcome=outcome), request(**words), 3, now=10.0).fate

    assert of(SEGFAULT, deaths=2) == "dead-lettered: its pool child died 3 times, last by signal 11 (SIGSEGV)"
    assert of(SEGFAULT, acks=Acks.EARLY) == "failed (acknowledged before it ran)"
    assert of(TimedOut(7, 1.0)) == "failed by its time limit"
    assert of(Cancelled(7, started=True)) == "terminated on request"


def test_a_request_to_end_the_task_is_told_from_an_accident() -> None:
    assert obituary(replace(END, outcome=Cancelled(7, started=True)), request(), 3, now=10.0).asked
    assert not obituary(END, request(), 3, now=10.0).asked
    assert obituary(replace(END, outcome=None), None, 3, now=10.0).task is None


def test_like_deaths_within_a_while_are_one_with_a_count() -> None:
    first = death(100.0)
    again = death(100.0 + ALIKE_S, pid=4712)

    assert like([first], again) == first
    both = counted(first, again)
    assert (both.count, both.pid) == (2, 4712)
    assert counted(both, death(170.0)).count == 3


def test_deaths_of_another_cause_task_program_or_time_stand_for_themselves() -> None:
    first = death(100.0)

    assert like([first], death(100.1 + ALIKE_S)) is None
    assert like([first], death(101.0, signal=9)) is None
    assert like([first], death(101.0, task=None)) is None
    assert like([msgspec.structs.replace(first, program="mail-2")], death(101.0)) is None
    assert like([msgspec.structs.replace(first, kind="worker")], death(101.0)) is None


def test_children_do_not_crowd_out_programs() -> None:
    program = Certificate(program="mail-1", kind="worker")
    children = [death(1.0), death(2.0, signal=9)]

    assert to_forget([program, *children]) == children[0]
    assert to_forget([program, program, *children]) == program
