"""A simulated fleet of instances under a load that changes.

Time passes in steps of a tenth of a second. Least connections keep the queues of all instances
equally long, so they are one queue here. Requests are as many as a step has of them and not one by
one: in a step there are hundreds for each instance, and each takes about a millisecond.
"""

from collections.abc import Generator
from dataclasses import dataclass, fields

import numpy as np
import simpy
from numpy.typing import NDArray

from service.admission.retry_after import MAX_WAIT_S, RETURNS_PER_ANSWER

STEP_S = 0.1
# An answer that takes longer is late.
LATE_S = 1.0

Numbers = NDArray[np.float64]
Process = Generator[simpy.Event]


@dataclass(frozen=True)
class Instance:
    """What one instance does.

    Attributes:
        cores: processors that it may use.
        answer_s: processor time of an answer.
        refusal_s: processor time of a refusal.
        queue: the most requests that wait in it.
        start_s: seconds from the decision to start it until it answers.
    """

    cores: int
    answer_s: float
    refusal_s: float
    queue: int
    start_s: float

    @property
    def per_s(self) -> float:
        """The most answers a second."""
        return self.cores / self.answer_s


@dataclass(frozen=True)
class Seen:
    """What happened in each step.

    Attributes:
        asked: requests that came, of clients who come again too.
        refused: how many of them were refused.
        lost: how many of those had been refused before, and do not come again.
        late: requests that were accepted and answered later than `LATE_S` after the first try.
        used_s: processor time of all instances.
        waiting: requests in the queues at the end.
        size: instances that are paid for.
        ready: instances that answer.
    """

    asked: Numbers
    refused: Numbers
    lost: Numbers
    late: Numbers
    used_s: Numbers
    waiting: Numbers
    size: Numbers
    ready: Numbers

    @classmethod
    def nothing(cls, steps: int) -> "Seen":
        """As many steps in which nothing has happened yet."""
        return cls(**{field.name: np.zeros(steps) for field in fields(cls)})


class Fleet:
    """Instances that answer a load.

    A client who is refused comes again once, after what `Retry-After` says, which the service
    spreads over time.

    Attributes:
        instance: what each of them does.
        size: how many are wanted.
        ready: how many of them answer.
        step: the present step.
        seen: what happened so far.
    """

    def __init__(
        self, env: simpy.Environment, instance: Instance, load: Numbers, size: int
    ) -> None:
        """Has so many instances, all ready.

        Args:
            env: its time, in seconds.
            instance: what each does.
            load: requests of new clients in each step.
            size: how many there are.
        """
        self.instance, self.size, self.ready, self.step = instance, size, size, 0
        self.seen = Seen.nothing(len(load))
        self._env, self._load, self._waiting = env, load, 0.0
        self._returning = np.zeros(len(load) + round(MAX_WAIT_S / STEP_S) + 1)
        self._last_return = 0
        env.process(self._serve())

    def resize(self, size: int) -> None:
        """Starts or stops instances; one that stops answers what it has accepted."""
        for _ in range(size - self.size):
            self._env.process(self._start())
        self.size = size
        self.ready = min(self.ready, size)

    def _start(self) -> Process:
        yield self._env.timeout(self.instance.start_s)
        self.ready = min(self.ready + 1, self.size)

    def _serve(self) -> Process:
        while self.step < len(self._load):
            self._answer()
            self.step += 1
            yield self._env.timeout(STEP_S)

    def _answer(self) -> None:
        """Works through one step."""
        one, step, seen = self.instance, self.step, self.seen
        new, again = self._load[step], self._returning[step]
        present, room = self._waiting + new + again, self.ready * one.queue
        answered, refused = self._divide(present, room)
        self._waiting = max(present - answered - refused, 0.0)
        refused_new = refused * new / (new + again) if refused else 0.0
        self._come_again(refused_new)
        wait_s = self._waiting / (self.ready * one.per_s)
        late_new = new - refused_new if wait_s > LATE_S else 0.0
        seen.asked[step], seen.refused[step] = new + again, refused
        seen.lost[step] = refused - refused_new
        seen.late[step] = again - seen.lost[step] + late_new
        seen.used_s[step] = answered * one.answer_s + refused * one.refusal_s
        seen.waiting[step], seen.size[step], seen.ready[step] = self._waiting, self.size, self.ready

    def _divide(self, present: float, room: float) -> tuple[float, float]:
        """How many of those present are answered in a step, and how many are refused.

        Refusals come first: they take the processor from answers.
        """
        one = self.instance
        time_s = self.ready * one.cores * STEP_S
        answered = min(present, time_s / one.answer_s)
        if present - answered <= room:
            return answered, 0.0
        left_s = time_s - one.refusal_s * (present - room)
        answered = max(left_s / (one.answer_s - one.refusal_s), 0.0)
        return answered, max(present - room - answered, 0.0)

    def _come_again(self, count: float) -> None:
        """Spreads refused clients over time, as the service does."""
        each = RETURNS_PER_ANSWER * self.ready * self.instance.per_s * STEP_S
        last = self.step + round(MAX_WAIT_S / STEP_S)
        slot = max(self._last_return, self.step + round(1 / STEP_S))
        while count > 0:
            slot = min(slot, last)
            take = count if slot == last else min(count, max(each - self._returning[slot], 0.0))
            self._returning[slot] += take
            count -= take
            self._last_return = slot
            slot += 1
