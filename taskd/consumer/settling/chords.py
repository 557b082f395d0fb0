"""Chords from the worker's side: count the parts that have ended here, and send the body after the last.

Parts that the task ended and parts that the worker decided (lost, late, revoked, expired, unknown) come the
same way, so that no body waits for ever.  A body goes out before the last part is acknowledged; a crash
in between runs that part again, which finds the chord complete.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from taskd.base import clock, ids
from taskd.base.errors import ProtocolError
from taskd.protocol import serializers
from taskd.protocol.chord import Begun, ChordPart
from taskd.protocol.delivery import Outgoing
from taskd.protocol.exceptions import ChordError, decode_exception
from taskd.protocol.message import TaskHeaders
from taskd.protocol.results import TaskState, decode_record, failure_record
from taskd.protocol.steps import listed, members, options_of
from taskd.results.base import ChordStore, Counted, ResultStore
from taskd.sending.callbacks import UNSENDABLE, begun_by, errback_messages, messages_of
from taskd.sending.options import TaskSettings
from taskd.sending.signature import promised, read_signatures

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Returned:
    """A part of a chord that has ended; ``record`` is how, ``headers`` are of the task with which it did."""

    part: ChordPart
    record: bytes
    headers: TaskHeaders
    queue: str
    last_word: bool = False


@dataclass(slots=True)
class ChordEnd:
    """The end of a chord after its last part."""

    group: str
    messages: Sequence[Outgoing] = ()
    begins: Sequence[Begun] = ()
    #: The tasks of the body that will not run, with the record of why.
    given_up: Sequence[str] = ()
    record: bytes = b""
    #: Parts of the chord around it.
    returned: Sequence[Returned] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether the body will not run."""
        return bool(self.record)


class Chords:
    """The chords that one worker has parts of.  For the loop's thread."""

    def __init__(
        self,
        store: ChordStore | None,
        results: ResultStore,
        settings_of: Callable[[str], TaskSettings] = TaskSettings,
    ) -> None:
        self._store = store
        self._results = results
        self._settings_of = settings_of
        self._token = ids.new_task_id()
        #: Complete ones whose end is on its way; a second question for them is not answered again.
        self._ending: set[str] = set()

    def begin(self, chord: Begun) -> None:
        """Make a chord known before its header is sent.  Raises: ``StorageError``."""
        if self._store is not None:
            self._store.begin(chord)

    def count(self, returned: Sequence[Returned]) -> Sequence[Counted]:
        """Count parts in one trip.  Raises: ``StorageError``."""
        if self._store is None:
            return [Counted.COMPLETE] * len(returned)  # for ``end`` to refuse
        return self._store.count([(each.part, value_of(each)) for each in returned], self._token)

    def end(self, returned: Returned) -> ChordEnd | None:
        """Return what follows the part that has completed its chord; None when that is on its way already.

        Raises: ``StorageError``.
        """
        if self._store is None:
            return self._refused(returned)
        if returned.part.group in self._ending:
            return None
        ended = self._end(returned)
        self._ending.add(returned.part.group)
        return ended

    def finish(self, ended: ChordEnd) -> None:
        """Forget a chord whose body, or whose failure, is out.  Raises: ``StorageError``."""
        if self._store is not None:
            if ended.failed:
                self._store.fail(ended.group)
            else:
                self._store.finish(ended.group, self._token)
        self._ending.discard(ended.group)

    def give_up(self, returned: Returned, error: Exception) -> ChordEnd:
        """Return the end of a chord of which a part cannot be counted: its body will not run."""
        return _failed(returned, _body_of(returned.part), error)

    def _refused(self, returned: Returned) -> ChordEnd:
        """Nobody counts: the body will not run, for the same reason as the part."""
        why = decode_record(returned.record).exception() or ChordError("nobody counts its parts")
        return _failed(returned, _body_of(returned.part), why)

    def _end(self, returned: Returned) -> ChordEnd:
        assert self._store is not None
        part = returned.part
        body = _body_of(part)
        tree = self._store.tree(part.group)
        try:
            values = [read_value(value) for value in self._store.values(part.group)]
            results = [value.result() for value in values]
            if tree is not None:
                results = self._arranged(tree, {v.task_id: r for v, r in zip(values, results, strict=True)})
            signatures = read_signatures(body, f"body of chord {part.group}")
            queue = returned.queue
            messages = messages_of(signatures, results, returned.headers, self._settings_of, queue=queue)
        except ChordError as error:
            logger.error("chord=%s will not run its body: %s", part.group, error)
            if tree is not None:
                error.__cause__ = None  # Celery joins such a header, and has the error of no part
            return _failed(returned, body, error)
        except (ProtocolError, *UNSENDABLE) as error:
            logger.error("chord=%s cannot run its body: %s", part.group, error)
            return _failed(returned, body, ChordError(f"Callback error: {error!r}"))
        return ChordEnd(part.group, messages, begun_by(signatures))

    def _arranged(self, tree: bytes, known: dict[str, object]) -> list[object]:
        """Return the results as the tree has them: those of a group as a list of their own."""
        saved = serializers.loads(tree)
        match saved:
            case {"result": [_, [*members]]}:
                return [self._branch(member, known) for member in members]
        raise ProtocolError("the saved record is not a group")

    def _branch(self, branch: object, known: dict[str, object]) -> object:
        match branch:
            case [_, [*members]]:
                return [self._branch(member, known) for member in members]
            case [[str(task_id), *_], _] if task_id in known:
                return known[task_id]
            case [[str(task_id), *_], _]:
                stored = self._results.get([task_id]).get(task_id)
                return None if stored is None else decode_record(stored).value()
        raise ProtocolError("the saved group has a member that is not a result")


class PartReturn(msgspec.Struct, array_like=True, frozen=True):
    """The return of one part, as Celery keeps it."""

    kind: int
    task_id: str
    state: str
    encoded: msgspec.Raw

    def result(self) -> object:
        """Return the result.  Raises: ``ChordError`` for a part that is not a success."""
        value = serializers.loads(bytes(self.encoded))
        if self.state in (TaskState.FAILURE, TaskState.REVOKED):
            error: object = decode_exception(value) if isinstance(value, dict) else value
            cause = error if isinstance(error, BaseException) else None
            raise ChordError(f"Dependency {self.task_id} raised {error!r}") from cause
        return value


_value_decoder = msgspec.json.Decoder(PartReturn)
_value_encoder = msgspec.json.Encoder()


def value_of(returned: Returned) -> bytes:
    """Return what is kept of a part: ``[1, task id, state, result]``."""
    record = decode_record(returned.record)
    return _value_encoder.encode(PartReturn(1, returned.part.task_id, record.status, record.result))


def read_value(text: bytes) -> PartReturn:
    """Return what was kept of a part.  Raises: ``ProtocolError``."""
    try:
        return _value_decoder.decode(text)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"a part of a chord is kept as {text[:100]!r}: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # NaN or a lone surrogate in the result, which msgspec does not read
    match serializers.loads(text):
        case [int(kind), str(task_id), str(state), result]:
            return PartReturn(kind, task_id, state, msgspec.Raw(serializers.dumps(result)))
    raise ProtocolError(f"a part of a chord is kept as {text[:100]!r}")


def _body_of(part: ChordPart) -> object:
    try:
        return serializers.loads(part.body)
    except ProtocolError as error:
        logger.error("chord=%s has a body that cannot be read: %s", part.group, error)
        return {}


def _failed(returned: Returned, body: object, error: Exception) -> ChordEnd:
    """Return the end of a chord whose body will not run: whoever waits for it, or behind it, is answered.

    A group as body gets the error of the part itself, as in Celery.
    """
    part = returned.part
    is_group = isinstance(body, dict) and body.get("subtask_type") == "group"
    shown = error.__cause__ if is_group and isinstance(error.__cause__, Exception) else error
    ends = promised(body)
    record = failure_record(part.group, shown, done_at=clock.now(), traceback="")
    outer = [
        Returned(each, record, returned.headers, returned.queue, returned.last_word) for each in ends.parts
    ]
    messages: list[Outgoing] = []
    try:
        for task_id, errbacks in _errbacks(body):
            signatures = read_signatures(errbacks, "link_error of a chord's body")
            messages += errback_messages(signatures, task_id, returned.headers, queue=returned.queue)
    except (ProtocolError, *UNSENDABLE) as wrong:
        logger.error("chord=%s errbacks not sent: %s", part.group, wrong)
    return ChordEnd(part.group, messages, (), ends.ids, record, outer)


def _errbacks(body: object) -> list[tuple[str, list[object]]]:
    """Return the errbacks of a body with the id that each gets: of a group, those of its tasks."""
    if not isinstance(body, Mapping):
        return []
    if body.get("subtask_type") != "group":
        return [_of_task(body)]
    own = _linked(body)
    return [
        (task_id, [*more, *(each for each in own if each not in more)])
        for task_id, more in map(_of_task, members(body))
    ]


def _of_task(task: object) -> tuple[str, list[object]]:
    """Return the id of what a task, chain or chord ends with, and what is linked to the whole of it."""
    errbacks: list[object] = []
    while isinstance(task, Mapping) and task.get("subtask_type") == "chord":
        errbacks += _linked(task)
        kwargs = task.get("kwargs")
        task = kwargs.get("body") if isinstance(kwargs, Mapping) else None
    if not isinstance(task, Mapping):
        return "", errbacks
    errbacks += _linked(task)
    if task.get("subtask_type") == "group":
        errbacks += [errback for each in members(task) for errback in _of_task(each)[1]]
    task_id = options_of(task).get("task_id")
    if not task_id and task.get("subtask_type") == "chain" and members(task):
        task_id = _of_task(members(task)[-1])[0]
    return task_id if isinstance(task_id, str) else "", errbacks


def _linked(task: Mapping[str, object]) -> list[object]:
    return listed(options_of(task).get("link_error"))
