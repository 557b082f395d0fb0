"""The objects that ``@app.task`` makes of functions, and the calls that send them.

``Task`` and ``CoroutineTask`` add the typed calls to ``BoundTask``: ``delay`` takes what the function takes,
and the ``AsyncResult`` carries what it returns.  They differ in what a direct call returns.
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    ParamSpec,
    TypeVar,
    cast,
)

from taskd.app.bound import BoundTask
from taskd.sending.calls import Call
from taskd.sending.options import SendOptions
from taskd.sending.result import AsyncResult
from taskd.sending.send import send, send_many

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = ParamSpec("P")
R = TypeVar("R")


def _anything(*args: object, **kwargs: object) -> None: ...


_ANY_PARAMETERS = inspect.signature(_anything)


class Sendable(BoundTask, Generic[P, R]):
    """The calls that send a message.  All may block for the time of one write to the broker."""

    _parameters: inspect.Signature | None = None

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send a message that runs the task with these arguments.

        Raises: ``TypeError`` for arguments that the function does not take, ``SerializationError`` for
        those that JSON cannot represent; ``BackendError`` when the message could not be written, and
        ``ConfigError``.
        """
        return self._send(args, kwargs)

    def apply_async(
        self,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[R]:
        """Send with options; the arguments are not checked by type checkers (``call`` has both).

        Raises: as ``delay``, and ``ValueError`` or ``TypeError`` for options that cannot be meant.
        """
        return self._send(args, kwargs or {}, **options)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """``delay`` without blocking the event loop."""
        import asyncio

        return await asyncio.to_thread(self._send, args, kwargs)

    async def aapply_async(
        self,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[R]:
        """``apply_async`` without blocking the event loop."""
        import asyncio

        return await asyncio.to_thread(self.apply_async, args, kwargs, **options)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Return a call that is not sent yet, for ``app.send_many`` or for ``.with_options()``."""
        return Call(self.settings, args, kwargs)

    def s(self, *args: object, **kwargs: object) -> Call[R]:
        """Return a call for ``link``: the outcome of the other task comes before these arguments."""
        return Call(self.settings, args, kwargs)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Return an immutable call for ``link``: it gets these arguments and no other."""
        return Call(self.settings, args, kwargs, immutable=True)

    def map(self, arguments: Sequence[Sequence[object]]) -> list[AsyncResult[R]]:
        """Send one message for each tuple of positional arguments, a few hundred a trip."""
        calls: list[Call[R]] = [Call(self.settings, args, {}) for args in arguments]
        return send_many(self.app.connections, calls)

    def check_arguments(self, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """Raise ``TypeError`` for arguments of another function here, not in a worker later."""
        if not (isinstance(args, (list, tuple)) and isinstance(kwargs, (dict, Mapping))):
            return  # refused with better words when the message is built
        if self._parameters is None:
            try:
                # A decorator may take others than the function inside of it.
                self._parameters = inspect.signature(self.__wrapped__, follow_wrapped=False)
            except (TypeError, ValueError):
                self._parameters = _ANY_PARAMETERS  # a callable that does not tell
        try:
            self._parameters.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f'task "{self.name}" does not take these arguments: {error}') from None

    def _send(
        self, args: Sequence[object], kwargs: Mapping[str, object], **options: Unpack[SendOptions]
    ) -> AsyncResult[R]:
        self.check_arguments(args, kwargs)
        return cast("AsyncResult[R]", send(self.app.connections, self.settings, args, kwargs, options))


class Task(Sendable[P, R]):
    """A task made of a plain function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now, without a message."""
        return cast("R", self.run(*args, **kwargs))


class CoroutineTask(Sendable[P, R]):
    """A task made of an ``async def`` function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Return the function's coroutine, without a message."""
        return cast("Coroutine[Any, Any, R]", self.run(*args, **kwargs))
