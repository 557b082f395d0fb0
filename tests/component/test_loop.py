"""The event loop: descriptors, timers, calls from threads, signals."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from taskd.base import clock
from taskd.base.loop import Loop, Owner
from tests.waiting import wait_until


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    yield here, there
    here.close()
    there.close()


def test_a_readable_descriptor_is_called_back_until_it_is_read(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    here, there = pair
    seen: list[str] = []
    loop.add_reader(here.fileno(), lambda: seen.append("readable"))
    loop.run_once(0.0)
    assert seen == []

    there.send(b"x")
    loop.run_once(1.0)
    loop.run_once(1.0)
    here.recv(1)
    loop.run_once(0.0)

    assert seen == ["readable", "readable"]


def test_a_writer_and_a_reader_share_a_descriptor(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    here, there = pair
    seen: list[str] = []
    loop.add_reader(here.fileno(), lambda: seen.append("read"))
    loop.add_writer(here.fileno(), lambda: seen.append("write"))
    there.send(b"x")
    loop.run_once(1.0)
    loop.remove_writer(here.fileno())
    loop.run_once(1.0)

    assert seen == ["read", "write", "read"]


def test_a_later_reader_takes_the_place_of_the_former(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    here, there = pair
    seen: list[str] = []
    loop.add_reader(here.fileno(), lambda: seen.append("former"))
    loop.add_reader(here.fileno(), lambda: seen.append("later"))
    there.send(b"x")
    loop.run_once(1.0)

    assert seen == ["later"]


def test_a_reader_removed_in_the_same_turn_is_not_called(loop: Loop) -> None:
    ends = [socket.socketpair() for _ in range(2)]
    seen: list[int] = []

    def reader(index: int) -> None:
        seen.append(index)
        loop.remove_reader(ends[1 - index][0].fileno())

    for index, (here, there) in enumerate(ends):
        loop.add_reader(here.fileno(), partial(reader, index))
        there.send(b"x")
    loop.run_once(1.0)

    assert len(seen) == 1
    for here, there in ends:
        here.close()
        there.close()


def test_removing_what_is_not_watched_does_nothing(loop: Loop) -> None:
    here, there = socket.socketpair()
    seen: list[str] = []
    loop.add_reader(here.fileno(), lambda: seen.append("read"))

    loop.remove_reader(12345)
    loop.remove_writer(12345)
    loop.remove_writer(here.fileno())
    there.send(b"x")
    loop.run_once(5.0)

    assert seen == ["read"]
    loop.remove_reader(here.fileno())
    here.close()
    there.close()


def test_timers_run_in_the_order_of_their_times_and_once(loop: Loop) -> None:
    seen: list[str] = []
    now = clock.monotonic()
    loop.call_at(now - 1.0, lambda: seen.append("second"))
    loop.call_at(now - 2.0, lambda: seen.append("first"))
    loop.call_at(now - 1.0, lambda: seen.append("third"))
    loop.run_once(0.0)
    loop.run_once(0.0)

    assert seen == ["first", "second", "third"]


def test_a_timer_is_not_early(loop: Loop) -> None:
    called: list[float] = []
    began = clock.monotonic()
    loop.call_later(0.05, lambda: called.append(clock.monotonic()))
    while not called:
        loop.run_once(5.0)

    assert called[0] - began >= 0.05


def test_a_cancelled_timer_is_not_called_and_wakes_nobody(loop: Loop) -> None:
    seen: list[str] = []
    timer = loop.call_later(0.0, lambda: seen.append("cancelled"))
    timer.cancel()
    timer.cancel()
    loop.call_later(0.02, lambda: seen.append("kept"))
    while not seen:
        loop.run_once(5.0)

    assert seen == ["kept"]


def test_a_timer_may_cancel_the_next_one(loop: Loop) -> None:
    seen: list[str] = []
    second = loop.call_at(0.0, lambda: seen.append("second"))
    loop.call_at(-1.0, second.cancel)
    loop.run_once(0.0)

    assert seen == []


def test_what_is_called_soon_runs_in_the_next_turn_and_not_in_an_endless_one(loop: Loop) -> None:
    seen: list[str] = []

    def again() -> None:
        seen.append("run")
        loop.call_soon(again)

    loop.call_soon(again)
    loop.run_once()
    assert seen == ["run"]
    loop.run_once()
    assert seen == ["run", "run"]


def test_a_call_from_a_thread_wakes_the_loop_and_runs_in_its_thread(loop: Loop) -> None:
    seen: list[int] = []
    thread = threading.Thread(
        target=lambda: loop.call_from_thread(lambda: seen.append(threading.get_ident()))
    )
    thread.start()
    while not seen:
        loop.run_once(5.0)
    thread.join()

    assert seen == [threading.get_ident()]


def test_the_longest_wait_ends_a_turn_without_anything_to_do(loop: Loop) -> None:
    began = clock.monotonic()
    loop.run_once(0.02)

    assert clock.monotonic() - began >= 0.015


def test_an_exception_of_a_callback_leaves_the_turn(loop: Loop) -> None:
    def fail() -> None:
        raise ValueError("of the callback")

    loop.call_soon(fail)

    with pytest.raises(ValueError, match="of the callback"):
        loop.run_once(0.0)


def test_a_signal_is_delivered_in_the_loop() -> None:
    former = signal.getsignal(signal.SIGUSR1)
    loop = Loop()
    try:
        seen: list[int] = []
        loop.watch_signals({signal.SIGUSR1}, seen.append)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert seen == []
        while not seen:
            loop.run_once(5.0)
        assert seen == [signal.SIGUSR1]
    finally:
        loop.close()
        signal.signal(signal.SIGUSR1, former)


def test_closing_gives_the_signal_wake_up_descriptor_back() -> None:
    former_handler = signal.getsignal(signal.SIGUSR1)
    loop = Loop()
    loop.watch_signals({signal.SIGUSR1}, lambda number: None)
    loop.close()
    signal.signal(signal.SIGUSR1, former_handler)

    descriptor = signal.set_wakeup_fd(-1)

    assert descriptor == -1


def broken() -> None:
    raise LookupError("nobody\nforesaw this")


def test_what_a_callback_raises_costs_its_owner_and_the_loop_turns_on(
    loop: Loop, pair: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    here, there = pair
    paid: list[str] = []
    owner = Owner("program mail-1", paid.append)
    loop.add_reader(here.fileno(), broken, owner)
    loop.call_later(0.0, broken, owner)
    loop.call_soon(broken, owner)
    loop.call_soon(lambda: paid.append("the next"))
    there.send(b"x")

    loop.run_once(1.0)

    assert paid == ["internal error in broken: LookupError: nobody\\nforesaw this"] * 3 + ["the next"]
    assert "unforeseen error in broken, which costs program mail-1" in caplog.text


def test_a_descriptor_whose_callback_fails_each_time_does_not_spin_the_loop(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    here, there = pair
    paid: list[str] = []
    loop.add_reader(here.fileno(), broken, Owner("it", paid.append))
    there.send(b"x")
    for _ in range(10):
        loop.run_once(0.01)
    assert len(paid) == 1

    def paid_again() -> bool:
        loop.run_once(0.1)
        return len(paid) == 2

    wait_until(paid_again, 10.0, "the callback is called again after a rest")
    loop.remove_reader(here.fileno())  # while it rests
    loop.add_reader(here.fileno(), lambda: paid.append("another"), None)
    loop.run_once(1.0)
    assert paid[2:] == ["another"]


def test_an_owner_that_cannot_pay_costs_nothing_more(loop: Loop) -> None:
    def cannot(_why: str) -> None:
        raise RuntimeError("and this neither")

    assert loop.attempt(broken, Owner("it", cannot)) is False


def test_without_an_owner_the_loop_s_own_pays_and_without_that_the_caller(loop: Loop) -> None:
    with pytest.raises(LookupError):
        loop.attempt(broken)
    paid: list[str] = []
    guarded = Loop(Owner("beat", paid.append))
    guarded.call_soon(broken)
    guarded.run_once(0.0)
    guarded.close()
    assert len(paid) == 1


def test_a_thing_that_goes_on_is_called_again_once_and_at_each_interval(loop: Loop) -> None:
    calls: list[str] = []
    owner = Owner("the worker", lambda _why: None, again=True)

    def fails(name: str) -> None:
        calls.append(name)
        raise LookupError(name)

    loop.call_soon(lambda: fails("soon"), owner)
    timer = loop.every(0.01, lambda: fails("every"), owner)

    def called() -> bool:
        loop.run_once(0.1)
        return calls.count("soon") == 2 and calls.count("every") > 3

    wait_until(called, 10.0)
    timer.cancel()
    calls.clear()
    loop.run_once(0.05)
    assert calls == []


def test_errors_that_are_foreseen_leave_the_loop(loop: Loop) -> None:
    guarded = Loop(Owner("the worker", lambda _why: None), passing=(LookupError,))
    guarded.call_soon(broken)
    with pytest.raises(LookupError):
        guarded.run_once(0.0)
    guarded.close()
