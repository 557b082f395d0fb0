"""The answering end of remote control: requests out of a mailbox, answers through a publisher.

Behaves on the wire as kombu's ``pidbox.Node``, without kombu: a worker must not pay its 10 MB.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from taskd.base.errors import BackendError, ProtocolError
from taskd.brokers.base import Mailbox, Publisher
from taskd.protocol import pidbox
from taskd.protocol.delivery import Delivery, Outgoing
from taskd.protocol.lamport import LamportClock

logger = logging.getLogger(__name__)

#: A command takes the request's arguments by keyword and answers with JSON values.  Celery's shapes
#: are ``{"ok": ...}`` for an effect, ``{"error": text}`` for a refusal, and the bare value for a query.
#: It must not block: it runs in the worker's loop.
Command = Callable[..., object]


class Later:
    """The value that a command returns which answers later: ``begin`` gets the function to answer by."""

    def __init__(self, begin: Callable[[Callable[[object], None]], None]) -> None:
        self.begin = begin


class ControlNode:
    """Answers the requests that reach one node.  For the loop's thread; never waits for a message."""

    def __init__(
        self,
        mailbox: Mailbox,
        publisher: Publisher,
        node_name: str,
        commands: Mapping[str, Command],
        logical: LamportClock,
    ) -> None:
        self._mailbox = mailbox
        self._publisher = publisher
        self._node_name = node_name
        self._commands = commands
        self._logical = logical

    def process(self) -> int:
        """Answer everything that has arrived and return how many messages that was.

        A message that is not a request is logged and dropped.  A command that fails answers with its error.
        Answers that cannot be sent are logged: only the asker loses them, and it has a time limit.  Raises:
        ``BackendError`` when nothing can be received now.
        """
        deliveries = self._mailbox.receive()
        replies: list[Outgoing] = []
        for delivery in deliveries:
            try:
                reply = self._answer(delivery)
                if reply is not None:
                    replies.append(reply)
            except Exception:  # the barrier for messages that are not requests either
                logger.exception("remote control message dropped")
        if replies:
            self._publish(replies)
        return len(deliveries)

    def _publish(self, replies: Sequence[Outgoing]) -> None:
        try:
            self._publisher.publish(replies)
        except BackendError as error:
            logger.error("remote control answers=%d not sent: %s", len(replies), error)
        except Exception:
            logger.exception("remote control answers=%d not sent", len(replies))
            if len(replies) > 1:  # one of them is to blame
                for reply in replies:
                    self._publish([reply])

    def _answer(self, delivery: Delivery) -> Outgoing | None:
        try:
            request = pidbox.decode_request(delivery.body, delivery.headers, delivery.content_type)
            concerned = request.concerns(self._node_name)
        except ProtocolError as error:
            logger.warning("remote control message dropped: %s", error)
            return None
        self._logical.adjust(request.clock)
        if not concerned:
            return None
        answer = self._run(request)
        return None if isinstance(answer, Later) else self._reply(request, answer)

    def _answer_later(self, request: pidbox.ControlRequest, answer: object) -> None:
        reply = self._reply(request, answer)
        if reply is not None:
            self._publish([reply])

    def _reply(self, request: pidbox.ControlRequest, answer: object) -> Outgoing | None:
        body = self._encode(request, answer)
        if request.reply_to is None:
            return None
        return Outgoing(
            exchange=request.reply_to.exchange,
            routing_key=request.reply_to.routing_key,
            headers=pidbox.encode_reply_headers(request.ticket, self._logical.forward()),
            body=body,
            content_type=pidbox.CONTENT_TYPE,
        )

    def _run(self, request: pidbox.ControlRequest) -> object:
        try:
            answer = self._commands[request.method](**(request.arguments or {}))
            if isinstance(answer, Later):
                answer.begin(lambda value: self._answer_later(request, value))
            return answer
        except Exception as error:  # the barrier of control commands: whoever asked learns what failed
            unknown = isinstance(error, KeyError) and request.method not in self._commands
            logger.error(
                "remote control command failed method=%s: %r", request.method, error, exc_info=not unknown
            )
            return {"error": repr(error)}

    def _encode(self, request: pidbox.ControlRequest, answer: object) -> bytes:
        try:
            return pidbox.encode_reply(self._node_name, answer)
        except Exception as error:  # noqa: BLE001 - whoever asked learns what failed
            logger.error("remote control answer is not JSON method=%s: %s", request.method, error)
            return pidbox.encode_reply(self._node_name, {"error": repr(error)})
