"""A node that answers remote control as a worker does."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

from taskd.base.wakeup import Wakeup
from taskd.brokers.factory import connect
from taskd.config.stores import Stores
from taskd.control.node import Command, ControlNode
from taskd.protocol import pidbox
from taskd.protocol.lamport import LamportClock


@contextmanager
def node(url: str, name: str, commands: dict[str, Command]) -> Iterator[None]:
    """Answer as a worker of this name would, in a thread, until the end of the block."""
    end = Wakeup()
    with closing(connect(url, Stores())) as broker, closing(broker.publisher()) as publisher:
        mailbox = broker.mailbox(f"{name}.{pidbox.EXCHANGE}", pidbox.EXCHANGE, "fanout")
        control = ControlNode(mailbox, publisher, name, commands, LamportClock())

        def answer() -> None:
            while end.fileno() not in select.select([end.fileno(), mailbox.fileno()], [], [], 10)[0]:
                control.process()

        thread = threading.Thread(target=answer, name=name)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()
            end.close()
            mailbox.close()
