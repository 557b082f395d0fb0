"""A model of claims, leases and generations: every state that two workers and a sender can reach.

Explicit states, breadth first.  A step is what a broker does at once.  Between two steps a process may die,
time may pass, a clock may be set, and another process may start under a name that is in use.  ``Flaw`` takes
out one safeguard.  Then an invariant must fail: the safeguard is needed, and the invariant looks at it.

A message is not followed by its id: a retry that replaces it takes its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

#: Whole turns of the clock that a lease outlives; -1 is a lease that has run out.
LEASE = 1
RUN_OUT = -1
#: The turns for which a delayed message waits.
DELAY = 1


class Place(Enum):
    """Where a message is."""

    UNSENT = auto()
    READY = auto()
    DELAYED = auto()
    CLAIMED = auto()
    DONE = auto()
    #: Nowhere, though it was accepted: no correct broker leads there.
    LOST = auto()


class Verb(Enum):
    """What a process, or the world, does in one step."""

    SEND = auto()
    SEND_DELAYED = auto()
    SEND_ONCE = auto()
    OPEN = auto()
    CLAIM = auto()
    ACK = auto()
    REQUEUE = auto()
    POSTPONE = auto()
    REPLACE = auto()
    RENEW = auto()
    CLOSE = auto()
    DIE = auto()
    #: The same by the process that another one has replaced.
    STALE_ACK = auto()
    STALE_DIE = auto()
    TICK = auto()
    CLOCK_FORWARD = auto()
    CLOCK_BACK = auto()
    REBOOT = auto()


class Flaw(Enum):
    """A safeguard that is taken out."""

    NO_FENCE = auto()
    NO_LEASE_COMPARE = auto()
    TAKEOVER_KEEPS_CLAIMS = auto()
    LEASE_COMES_BACK = auto()
    CLAIM_IN_TWO_STEPS = auto()
    REPLACE_IN_TWO_STEPS = auto()
    ONCE_FORGETS = auto()
    NO_GIVING_BACK = auto()


class Step(NamedTuple):
    """One step: of a worker, of a message, of both, or of the world."""

    verb: Verb
    worker: int = -1
    message: int = -1


class Message(NamedTuple):
    """One message as the broker has it."""

    place: Place = Place.UNSENT
    #: The worker for which it is claimed.
    holder: int = -1
    #: The turns until it is due.
    due_in: int = 0
    #: Accepted settlements that ended it, and messages that its id has led to: 1 at most.
    ends: int = 0
    copies: int = 0
    #: It was sent by a sender whose broker remembers ids.
    once: bool = False
    #: A settlement was accepted that was not its holder's.
    robbed: bool = False


class Worker(NamedTuple):
    """One name of a worker: its row in the broker, and the processes that believe to be it."""

    #: The turns that its lease still runs; None: there is no row.
    lease: int | None = None
    #: What the latest process holds in its memory; None: there is none.
    held: frozenset[int] | None = None
    #: What the process before it still holds, which lives on; None: there is none.
    stale: frozenset[int] | None = None
    #: What the process has seen in the queue and has not claimed yet: with ``CLAIM_IN_TWO_STEPS`` alone.
    seen: int = -1
    #: A lease that ran was ended by somebody else.
    robbed: bool = False


class State(NamedTuple):
    """Everything that is known and stored at one time."""

    messages: tuple[Message, ...]
    workers: tuple[Worker, ...]

    def with_message(self, number: int, message: Message) -> State:
        """Return it with another message."""
        return self._replace(messages=_with(self.messages, number, message))

    def with_worker(self, number: int, worker: Worker) -> State:
        """Return it with another worker."""
        return self._replace(workers=_with(self.workers, number, worker))


def _with(values: tuple, number: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*values[:number], value, *values[number + 1 :])


def start(messages: int = 1, workers: int = 2) -> State:
    """Return the state before anything has happened."""
    return State((Message(),) * messages, (Worker(),) * workers)


class Outcome(NamedTuple):
    """One way that a step can come out."""

    state: State
    #: The message that a claim returned, -1 for none.
    claimed: int = -1
    #: The broker carried the call out: a settlement counted, a lease stands, a message was taken on.
    accepted: bool = True


class Model:
    """The steps of a broker that has all safeguards, or lacks one."""

    def __init__(self, flaw: Flaw | None = None, without: frozenset[Verb] = frozenset()) -> None:
        """``without``: steps that are left out, so that fewer states are left."""
        self._flaw = flaw
        self._without = without

    def steps(self, state: State) -> Iterator[Step]:
        """Yield every step that can be tried."""
        return (step for step in self._every_step(state) if step.verb not in self._without)

    @staticmethod
    def _every_step(state: State) -> Iterator[Step]:
        for number, message in enumerate(state.messages):
            if message.place is Place.UNSENT:
                yield Step(Verb.SEND, message=number)
                yield Step(Verb.SEND_DELAYED, message=number)
            if message.once or message.place is Place.UNSENT:
                yield Step(Verb.SEND_ONCE, message=number)
        for number, worker in enumerate(state.workers):
            yield Step(Verb.OPEN, number)
            if worker.held is not None:
                for verb in (Verb.CLAIM, Verb.RENEW, Verb.CLOSE, Verb.DIE):
                    yield Step(verb, number)
                for held in worker.held:
                    for verb in (Verb.ACK, Verb.REQUEUE, Verb.POSTPONE, Verb.REPLACE):
                        yield Step(verb, number, held)
            if worker.stale is not None:
                yield Step(Verb.STALE_DIE, number)
                for held in worker.stale:
                    yield Step(Verb.STALE_ACK, number, held)
        yield from (Step(Verb.TICK), Step(Verb.CLOCK_FORWARD), Step(Verb.CLOCK_BACK), Step(Verb.REBOOT))

    def outcomes(self, state: State, step: Step) -> list[Outcome]:
        """Return the ways that a step can come out: brokers may differ in what is not promised."""
        if step.verb is Verb.CLAIM:
            return self._claim(state, step.worker)
        return [self._outcome(state, step)]

    def _outcome(self, state: State, step: Step) -> Outcome:
        match step.verb:
            case Verb.SEND | Verb.SEND_DELAYED | Verb.SEND_ONCE:
                return self._send(state, step)
            case Verb.OPEN:
                return self._open(state, step.worker)
            case Verb.RENEW:
                return self._renew(state, step.worker)
            case Verb.CLOSE | Verb.DIE | Verb.STALE_DIE:
                return Outcome(_without_process(state, step))
            case Verb.TICK | Verb.CLOCK_FORWARD | Verb.CLOCK_BACK | Verb.REBOOT:
                return Outcome(_in_another_world(state, step.verb))
            case _:
                return self._settle(state, step)

    def _send(self, state: State, step: Step) -> Outcome:
        message = state.messages[step.message]
        if message.copies and self._flaw is not Flaw.ONCE_FORGETS:
            return Outcome(state, accepted=False)
        delayed = step.verb is Verb.SEND_DELAYED
        place = Place.DELAYED if delayed else Place.READY
        sent = message._replace(place=place, due_in=DELAY if delayed else 0, copies=message.copies + 1)
        return Outcome(state.with_message(step.message, sent._replace(once=step.verb is Verb.SEND_ONCE)))

    def _open(self, state: State, number: int) -> Outcome:
        former = state.workers[number]
        if former.lease is not None and self._flaw is not Flaw.TAKEOVER_KEEPS_CLAIMS:
            state = _given_back(state, number)
        opened = Worker(LEASE, frozenset(), former.stale if former.held is None else former.held)
        return Outcome(state.with_worker(number, opened._replace(robbed=former.robbed)))

    def _claim(self, state: State, number: int) -> list[Outcome]:
        worker = state.workers[number]
        if worker.lease is None:
            return [Outcome(state, accepted=False)]
        if worker.seen >= 0:
            return [self._claim_what_was_seen(state, number)]
        state = _promoted(state)
        # Whether what a silent worker had is given back before or after the taking is not promised.
        after = self._with_silent_ended(state, number)
        found = [Outcome(after)] if not _ready(after) else []
        found += [self._taken(after, number, message) for message in _ready(after)]
        for message in _ready(state):
            taken = self._taken(state, number, message)
            found.append(taken._replace(state=self._with_silent_ended(taken.state, number)))
        return found

    def _taken(self, state: State, number: int, message: int) -> Outcome:
        worker = state.workers[number]
        if self._flaw is Flaw.CLAIM_IN_TWO_STEPS:
            return Outcome(state.with_worker(number, worker._replace(seen=message)))
        assert worker.held is not None
        taken = state.messages[message]._replace(place=Place.CLAIMED, holder=number)
        state = state.with_worker(number, worker._replace(held=worker.held | {message}))
        return Outcome(state.with_message(message, taken), claimed=message)

    def _claim_what_was_seen(self, state: State, number: int) -> Outcome:
        worker = state.workers[number]
        assert worker.held is not None
        seen = worker.seen
        if state.messages[seen].place not in {Place.READY, Place.CLAIMED}:
            return Outcome(state.with_worker(number, worker._replace(seen=-1)))
        taken = state.messages[seen]._replace(place=Place.CLAIMED, holder=number)
        state = state.with_worker(number, worker._replace(seen=-1, held=worker.held | {seen}))
        return Outcome(state.with_message(seen, taken), claimed=seen)

    def _with_silent_ended(self, state: State, but: int) -> State:
        for number, worker in enumerate(state.workers):
            if number == but or worker.lease is None:
                continue
            silent = worker.lease == RUN_OUT and self._flaw is not Flaw.NO_GIVING_BACK
            if silent or self._flaw is Flaw.NO_LEASE_COMPARE:
                state = _given_back(state, number)
                ended = worker._replace(lease=None, robbed=worker.robbed or not silent)
                state = state.with_worker(number, ended)
        return state

    def _settle(self, state: State, step: Step) -> Outcome:
        worker = state.workers[step.worker]
        message = state.messages[step.message]
        stale = step.verb is Verb.STALE_ACK
        own = not stale and worker.lease is not None and message.holder == step.worker
        accepted = message.place is Place.CLAIMED and (own or self._flaw is Flaw.NO_FENCE)
        if stale:
            assert worker.stale is not None
            worker = worker._replace(stale=worker.stale - {step.message})
        else:
            assert worker.held is not None
            worker = worker._replace(held=worker.held - {step.message})
        state = state.with_worker(step.worker, worker)
        if not accepted:
            return Outcome(state, accepted=False)
        message = message._replace(holder=-1, robbed=message.robbed or not own)
        return Outcome(state.with_message(step.message, self._settled(message, step.verb)))

    def _settled(self, message: Message, verb: Verb) -> Message:
        match verb:
            case Verb.REQUEUE:
                return message._replace(place=Place.READY)
            case Verb.POSTPONE:
                return message._replace(place=Place.DELAYED, due_in=DELAY)
            case Verb.REPLACE if self._flaw is Flaw.REPLACE_IN_TWO_STEPS:
                return message._replace(place=Place.LOST)  # its process dies before it sends the other one
            case Verb.REPLACE:
                return message._replace(place=Place.READY)
            case _:
                return message._replace(place=Place.DONE, ends=message.ends + 1)

    def _renew(self, state: State, number: int) -> Outcome:
        worker = state.workers[number]
        if worker.lease is None and self._flaw is not Flaw.LEASE_COMES_BACK:
            return Outcome(state, accepted=False)
        return Outcome(state.with_worker(number, worker._replace(lease=LEASE)))


def _without_process(state: State, step: Step) -> State:
    worker = state.workers[step.worker]
    if step.verb is Verb.STALE_DIE:
        return state.with_worker(step.worker, worker._replace(stale=None))
    lease = worker.lease
    if step.verb is Verb.CLOSE and lease is not None:
        state = _given_back(state, step.worker)
        lease = None
    return state.with_worker(step.worker, worker._replace(lease=lease, held=None, seen=-1))


def _in_another_world(state: State, verb: Verb) -> State:
    if verb is not Verb.REBOOT:
        return _at_another_time(state, verb)
    # A lease of another boot counts as run out.
    left = [Worker(None if each.lease is None else RUN_OUT, robbed=each.robbed) for each in state.workers]
    return state._replace(workers=tuple(left))


def _ready(state: State) -> list[int]:
    return [number for number, each in enumerate(state.messages) if each.place is Place.READY]


def _given_back(state: State, number: int) -> State:
    """Return the claims of a worker to the queue."""
    messages = [
        each._replace(place=Place.READY, holder=-1)
        if each.place is Place.CLAIMED and each.holder == number
        else each
        for each in state.messages
    ]
    return state._replace(messages=tuple(messages))


def _promoted(state: State) -> State:
    messages = [
        each._replace(place=Place.READY) if each.place is Place.DELAYED and each.due_in <= 0 else each
        for each in state.messages
    ]
    return state._replace(messages=tuple(messages))


def _at_another_time(state: State, verb: Verb) -> State:
    """Return it a turn later, or with its wall clock set: leases go by a clock that nobody sets."""
    passed = -1 if verb is Verb.CLOCK_BACK else 1
    messages = [
        each._replace(due_in=min(max(each.due_in - passed, 0), DELAY + 1))
        if each.place is Place.DELAYED
        else each
        for each in state.messages
    ]
    workers = state.workers
    if verb is Verb.TICK:
        workers = tuple(
            each._replace(lease=None if each.lease is None else max(each.lease - 1, RUN_OUT))
            for each in workers
        )
    return State(tuple(messages), workers)


# -- invariants ------------------------------------------------------------------------------------------


def broken(state: State) -> str | None:
    """Return the invariant that a state breaks, None for a state that is right."""
    for message in state.messages:
        if wrong := _broken_by_message(message):
            return wrong
    for number in range(len(state.workers)):
        if wrong := _broken_by_worker(state, number):
            return wrong
    return None


def _broken_by_message(message: Message) -> str | None:
    if message.place is Place.LOST:
        return "no accepted message is missing"
    if message.copies > 1:
        return "an id is sent once"
    if message.robbed or message.ends > 1:
        return "a claim is settled by its generation alone"
    return None


def _broken_by_worker(state: State, number: int) -> str | None:
    worker = state.workers[number]
    if worker.robbed:
        return "a lease that runs is nobody else's"
    claimed = {
        at for at, each in enumerate(state.messages) if each.place is Place.CLAIMED and each.holder == number
    }
    if claimed and worker.lease is None:
        return "no claim is without a lease"
    if worker.lease is not None and worker.held is not None and worker.held != claimed:
        return "a generation holds what is claimed for it"
    return None


@dataclass(frozen=True)
class Found:
    """All states that were reached, by the step that led to each, and the first that breaks an invariant."""

    reached: Mapping[State, tuple[State, Step] | None]
    wrong: State | None

    @property
    def invariant(self) -> str | None:
        """The invariant that does not hold."""
        return None if self.wrong is None else broken(self.wrong)

    def way_to(self, state: State) -> list[Step]:
        """Return the shortest steps that lead to a state."""
        steps = []
        led = self.reached[state]
        while led is not None:
            state, step = led
            steps.append(step)
            led = self.reached[state]
        return steps[::-1]


def explore(model: Model, first: State) -> Found:
    """Reach every state, and end at the first that breaks an invariant."""
    reached: dict[State, tuple[State, Step] | None] = {first: None}
    waiting = deque([first])
    while waiting:
        state = waiting.popleft()
        for step in model.steps(state):
            for outcome in model.outcomes(state, step):
                after = outcome.state
                if after in reached:
                    continue
                reached[after] = (state, step)
                if broken(after) is not None:
                    return Found(reached, after)
                waiting.append(after)
    return Found(reached, None)


#: What a worker does that wants to get its work done.
_DILIGENT = frozenset({Verb.OPEN, Verb.CLAIM, Verb.ACK, Verb.RENEW})


def stuck(model: Model, states: Iterable[State], worker: int) -> set[State]:
    """Return the states from which this worker cannot end every message, with all others silent for ever."""
    states = set(states)
    before: dict[State, list[State]] = {state: [] for state in states}
    for state in states:
        for step in model.steps(state):
            if step.verb is Verb.TICK or (step.worker == worker and step.verb in _DILIGENT):
                for outcome in model.outcomes(state, step):
                    before[outcome.state].append(state)
    ended = {
        state for state in states if all(each.place in {Place.UNSENT, Place.DONE} for each in state.messages)
    }
    waiting = list(ended)
    while waiting:
        for state in before[waiting.pop()]:
            if state not in ended:
                ended.add(state)
                waiting.append(state)
    return states - ended
