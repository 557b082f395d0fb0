"""Errors of servers with what helps."""

from __future__ import annotations

from taskd.base.remedies import with_remedy


def test_a_remedy_follows_what_the_server_said() -> None:
    refused = "Error 111 connecting to localhost:6379. Connection refused."

    assert with_remedy(refused) == (
        "Error 111 connecting to localhost:6379. Connection refused; "
        "nobody listens there: is the server up, and the port right?"
    )
    assert with_remedy("It is Monday.") == "It is Monday."
