"""Tasks, calls and results in other processes, and copies of them."""

from __future__ import annotations

import copy
import pickle

import pytest

from taskd import App

app = App(broker="memory://unused", results="memory://pickled")


@app.task(retry_for=(OSError,))
def square(number: int) -> int:
    """Return its square."""
    return number * number


def test_a_task_is_pickled_and_copied_as_the_function_that_it_stands_for() -> None:
    assert pickle.loads(pickle.dumps(square)) is square
    assert copy.deepcopy({"task": square})["task"] is square


def test_a_call_is_pickled_and_copied() -> None:
    call = square.call(3).with_options(countdown=5, link=square.s())

    for again in (pickle.loads(pickle.dumps(call)), copy.deepcopy(call)):
        assert again == call
        assert again.signature() == call.signature()


def test_results_that_were_pickled_share_one_connection_and_copies_that_of_the_original() -> None:
    result = app.result("i")

    first, second = (pickle.loads(pickle.dumps(result)) for _ in range(2))

    assert (first.id, first.state) == ("i", "PENDING")
    assert first._connections is second._connections
    assert copy.deepcopy(result)._connections is result._connections


def test_a_class_is_not_taken_for_a_function() -> None:
    with pytest.raises(TypeError, match="not of the class Parcel"):

        @app.task
        class Parcel:
            pass
