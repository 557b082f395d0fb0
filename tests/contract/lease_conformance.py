"""Drives a real broker through the steps of the model of leases, and compares after each."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from random import Random

from taskd.base.errors import LeaseLostError
from taskd.brokers.base import Broker, Intake
from taskd.brokers.once import OncePublisher, once_publisher
from taskd.config.kinds import BrokerCan
from taskd.protocol.delivery import Ack, Delay, Replace, Requeue, Settlement
from tests.contract.brokers import Clock, message, send
from tests.contract.lease_model import DELAY, LEASE, Model, Outcome, Place, State, Step, Verb, start

#: A turn of the model's clock.  A lease outlives ``LEASE`` turns and half of the next.
TURN_S = 10.0
LEASE_S = TURN_S * (LEASE + 0.5)


#: How often a state is headed for that a broker does not lead to.
_MOST_TRIES = 2


class Process:
    """A worker's process: its claims at the broker, and the tag of each message that it holds."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.tags: dict[int, int] = {}


class Driven:
    """One broker on its way through the model, in a queue of its own."""

    def __init__(self, broker: Broker, clock: Clock, *, reboots: bool, number: int = 0) -> None:
        self.state = start()
        self._number = number
        self._queue = f"mail-{number}"
        self._model = Model()
        self._broker = broker
        self._clock = clock
        self._reboots = reboots
        self._once: OncePublisher | None = (
            once_publisher(broker) if BrokerCan.ONCE in broker.kind.can else None
        )
        self._desk = broker.desk()
        self._intakes: list[Intake] = []
        self._latest: dict[int, Process] = {}
        self._former: dict[int, Process] = {}
        self._boots = 0

    def steps(self, state: State) -> Iterator[Step]:
        """Yield the steps that this broker can be driven through."""
        for step in self._model.steps(state):
            match step.verb:
                case Verb.SEND_ONCE if self._once is None:
                    continue
                case Verb.REBOOT if not self._reboots:
                    continue
                case Verb.CLOCK_BACK if any(
                    # The model does not know for how long a message has been due.
                    each.place is Place.DELAYED and not 0 < each.due_in <= DELAY
                    for each in state.messages
                ):
                    continue
            yield step

    def outcomes(self, state: State, step: Step) -> list[Outcome]:
        """Return how a step may come out."""
        return self._model.outcomes(state, step)

    def take(self, step: Step) -> None:
        """Have the broker do a step.  Raises: ``AssertionError`` where the model knows no such outcome."""
        allowed = self._model.outcomes(self.state, step)
        claimed, accepted = self._do(step)
        places = Counter(each.name for each in self._places())
        for outcome in allowed:
            if (outcome.claimed, outcome.accepted) == (claimed, accepted):
                model = Counter(_seen(each.place).name for each in outcome.state.messages)
                if model == places:
                    self.state = outcome.state
                    return
        raise AssertionError(
            f"{step} from {self.state} led to {claimed=} {accepted=} {places}, not to {allowed}"
        )

    def _places(self) -> list[Place]:
        """Return where the broker says that its messages are; what waits may be due or not."""
        info = next((each for each in self._desk.queues() if each.name == self._queue), None)
        if info is None:
            return [_seen(each.place) for each in self.state.messages]
        waiting = [Place.READY] * (info.ready + info.delayed) + [Place.CLAIMED] * info.claimed
        return waiting + [Place.DONE] * (len(self.state.messages) - len(waiting))

    def _do(self, step: Step) -> tuple[int, bool]:
        """Return the message that was claimed, -1 for none, and whether the broker accepted the step."""
        match step.verb:
            case Verb.SEND | Verb.SEND_DELAYED | Verb.SEND_ONCE:
                return -1, self._send(step)
            case Verb.CLAIM:
                return self._claim(self._latest[step.worker])
            case Verb.RENEW:
                return -1, self._renew(self._latest[step.worker])
            case Verb.STALE_ACK:
                return -1, self._settle(self._former[step.worker], step)
            case Verb.ACK | Verb.REQUEUE | Verb.POSTPONE | Verb.REPLACE:
                return -1, self._settle(self._latest[step.worker], step)
            case Verb.OPEN | Verb.CLOSE | Verb.DIE | Verb.STALE_DIE:
                self._come_or_go(step)
            case Verb.TICK | Verb.CLOCK_FORWARD | Verb.CLOCK_BACK | Verb.REBOOT:
                self._turn(step.verb)
        return -1, True

    def _come_or_go(self, step: Step) -> None:
        number = step.worker
        match step.verb:
            case Verb.OPEN:
                if number in self._latest:
                    self._former[number] = self._latest[number]
                self._latest[number] = self._opened(number)
            case Verb.CLOSE:
                self._latest.pop(number).intake.close()
            case Verb.DIE:
                del self._latest[number]  # without a word to the broker
            case _:
                del self._former[number]

    def _turn(self, verb: Verb) -> None:
        match verb:
            case Verb.TICK:
                self._clock.advance(TURN_S)
            case Verb.CLOCK_FORWARD:
                self._clock.now_at += TURN_S
            case Verb.CLOCK_BACK:
                self._clock.now_at -= TURN_S
            case _:
                self._reboot()

    def _opened(self, number: int) -> Process:
        name = f"worker-{self._number}-{number}"
        intake = self._broker.intake(name, [self._queue], lease_s=LEASE_S)
        self._intakes.append(intake)
        return Process(intake)

    def close(self) -> None:
        """Release what the processes had; those that have died too."""
        for intake in self._intakes:
            intake.close()
        if self._once is not None:
            self._once.close()

    def _send(self, step: Step) -> bool:
        text = str(step.message)
        if step.verb is Verb.SEND_ONCE:
            assert self._once is not None
            sent = message(text, self._queue, task_id=f"{self._number}-{text}")
            return not self._once.publish_once([sent], until=math.inf)
        delayed = step.verb is Verb.SEND_DELAYED
        send(self._broker, message(text, self._queue, due_at=self._due_at() if delayed else None))
        return True

    def _due_at(self) -> float:
        return self._clock.now_at + DELAY * TURN_S

    def _claim(self, process: Process) -> tuple[int, bool]:
        try:
            claimed = process.intake.claim(1)
        except LeaseLostError:
            return -1, False
        for delivery in claimed:
            process.tags[int(delivery.body)] = delivery.tag
            return int(delivery.body), True
        return -1, True

    @staticmethod
    def _renew(process: Process) -> bool:
        try:
            process.intake.renew()
        except LeaseLostError:
            return False
        return True

    def _settle(self, process: Process, step: Step) -> bool:
        tag = process.tags.pop(step.message)
        return not process.intake.settle([self._settlement(step, tag)])

    def _settlement(self, step: Step, tag: int) -> Settlement:
        match step.verb:
            case Verb.REQUEUE:
                return Requeue(tag)
            case Verb.POSTPONE:
                return Delay(tag, self._due_at())
            case Verb.REPLACE:
                return Replace(tag, message(str(step.message), self._queue))
            case _:
                return Ack(tag)

    def _reboot(self) -> None:
        self._boots += 1
        self._clock.boot_id = f"boot {self._boots}"
        self._clock.monotonic_s = 1.0
        self._latest.clear()
        self._former.clear()


class Tour:
    """Leads brokers through the states of the model, the ones that were not met first."""

    def __init__(self, random: Random, most_steps: int = 1_000_000) -> None:
        """``most_steps``: of one lead."""
        self._most_steps = most_steps
        self.met: set[State] = set()
        #: States that a broker need not reach: it came out another way, which is allowed too.
        self._avoided: Counter[State] = Counter()
        self._random = random
        self._edges: dict[State, list[tuple[Step, State]]] = {}

    def lead(self, driven: Driven) -> None:
        """Take steps until nothing new can be reached."""
        taken = 0
        self.met.add(driven.state)
        while taken < self._most_steps:
            way = self._way_to_new(driven)
            if not way:
                break
            for step, expected in way:
                driven.take(step)
                taken += 1
                self.met.add(driven.state)
                if driven.state != expected:
                    self._avoided[way[-1][1]] += 1
                    break

    def _way_to_new(self, driven: Driven) -> list[tuple[Step, State]]:
        """Return the fewest steps, each with the state after it, to a state that was not met; maybe none."""
        came: dict[State, tuple[State, Step] | None] = {driven.state: None}
        waiting = deque([driven.state])
        while waiting:
            state = waiting.popleft()
            for step, after in self._edges_from(driven, state):
                if after in came:
                    continue
                came[after] = (state, step)
                if after not in self.met and self._avoided[after] < _MOST_TRIES:
                    return _way_to(after, came)
                waiting.append(after)
        return []

    def _edges_from(self, driven: Driven, state: State) -> list[tuple[Step, State]]:
        """Return the steps from a state with where they lead: the same for all that this tour leads."""
        known = self._edges.get(state)
        if known is None:
            known = [
                (step, outcome.state)
                for step in driven.steps(state)
                for outcome in driven.outcomes(state, step)
            ]
            self._random.shuffle(known)
            self._edges[state] = known
        return known


def _way_to(state: State, came: Mapping[State, tuple[State, Step] | None]) -> list[tuple[Step, State]]:
    way: list[tuple[Step, State]] = []
    led = came[state]
    while led is not None:
        way.append((led[1], state))
        state = led[0]
        led = came[state]
    return way[::-1]


def _seen(place: Place) -> Place:
    """Return what a look into the queue shows."""
    match place:
        case Place.DELAYED:
            return Place.READY
        case Place.UNSENT:
            return Place.DONE
        case _:
            return place
