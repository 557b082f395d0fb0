"""Times to live as AMQP clients ask for them, on a broker that knows the expiry of tasks alone.

A message's ``expiration`` becomes the ``expires`` of its task, the earlier of the two: an expired task is
not dropped in silence; a waiting client is answered.  A message that is not a task keeps the property for
its receiver, and stays.  ``x-message-ttl`` of a durable queue is refused: it would drop tasks of which
nobody hears.  Queues that expire themselves (of remote control, replies, events) do not need it, and
there it is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kombu.exceptions import ChannelError

from taskd.base import clock
from taskd.base.errors import ProtocolError
from taskd.protocol.message import decode_headers
from taskd.protocol.serializers import dumps


def with_expiration(headers: Mapping[str, Any], expiration: object) -> Mapping[str, Any]:
    """Return the headers of a message that is to live ``expiration`` milliseconds, a text as in AMQP.

    Raises: ``ChannelError`` when that is not a number.
    """
    if expiration is None or not headers.get("task"):
        return headers
    try:
        until = clock.now() + int(str(expiration)) / 1000
        present = decode_headers(dumps(dict(headers))).expires_at
        expires = clock.iso(until if present is None else min(present, until))
    except (ValueError, OverflowError, OSError, TypeError) as error:
        raise _refused(f"expiration {expiration!r} is not a number of milliseconds") from error
    except ProtocolError:
        return headers  # the worker will say what is wrong with them
    return {**headers, "expires": expires}


def check_queue(queue: str, arguments: Mapping[str, Any] | None) -> None:
    """Refuse what a durable queue of this broker does not keep.  Raises: ``ChannelError``."""
    if (arguments or {}).get("x-message-ttl"):
        raise _refused(
            f"x-message-ttl of {queue!r}: the embedded broker drops no task silently; give tasks expires"
        )


def _refused(what: str) -> ChannelError:
    return ChannelError(f"NOT_IMPLEMENTED - {what}", (60, 40), "Basic.publish", "540")
