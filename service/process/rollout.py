"""A change of model in all workers or in none.

All workers load the new model beside the one that they serve; when all have loaded it, all replace
the old one. There is one change at a time.
"""

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.inference.served_model import Administration, ServedModel
from service.process.messages import Commit, Drop, Prepare, Reply, ToWorker, Unload

# How long all workers may take for one step.
STEP_S = 120
_CLOSED = "The service is shutting down."

logger = logging.getLogger(__name__)

Answer = Callable[[str | None], None]


class Peer(Protocol):
    """A worker that takes part in a change."""

    def send(self, message: ToWorker) -> None:
        """Sends it a message, unless it has ended."""

    def kill(self) -> None:
        """Ends it immediately."""


@dataclass(eq=False)
class _Change:
    number: int
    what: Administration
    answer: Answer
    waiting: list[Peer] = field(default_factory=list)
    served: ServedModel | None = None
    committed: bool = False
    deadline: float = 0


class Rollout:
    """Changes the model, one change after another."""

    def __init__(
        self,
        ready: Callable[[], Sequence[Peer]],
        on_end: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Changes nothing yet.

        `ready` returns the workers that serve; `on_end` is called when a change has ended,
        successful or not.
        """
        # What all workers serve or are told to serve; None before the first model and if unloaded.
        self.served: ServedModel | None = None
        self.unloaded = False  # by an administrator
        self.warning: str | None = None  # why the last change failed
        self._ready = ready
        self._on_end = on_end
        self._clock = clock
        self._current: _Change | None = None
        self._asked: deque[_Change] = deque()
        self._numbers = itertools.count(1)
        self._closed = False

    def ask(self, what: Administration, answer: Answer) -> None:
        """Requests a change; `answer` is called with None, or with the reason why it has failed."""
        if self._closed:
            answer(_CLOSED)
            return
        self._asked.append(_Change(next(self._numbers), what, answer))
        self._begin()

    def on_ready(self, peer: Peer) -> None:
        """Includes a worker that has begun to serve what the others serve."""
        change = self._current
        if change and not change.committed:
            change.waiting.append(peer)
            peer.send(Prepare(change.number))
        self._begin()

    def on_reply(self, peer: Peer, reply: Reply) -> None:
        """Handles the reply of a worker to a step."""
        change = self._current
        if change is None or reply.change != change.number or peer not in change.waiting:
            return  # to a change that has been cancelled
        if reply.reason:
            self._cancel(change, reply.reason)
        elif change.served and reply.served and not reply.served.agrees_with(change.served):
            self._cancel(change, "Its files were changed while they were read.")
        else:
            change.served = change.served or reply.served
            self._complete_step(change, peer)

    def on_death(self, peer: Peer) -> None:
        """Continues without a worker that has ended, or cancels the change."""
        change = self._current
        if change is None or peer not in change.waiting:
            return
        if change.committed:
            self._complete_step(change, peer)  # its replacement loads the new model
        else:
            self._cancel(change, "A worker ended while it loaded the model.")

    def check_deadlines(self) -> None:
        """Cancels a change that takes too long, or kills the workers that did not commit it."""
        change = self._current
        if change is None or self._clock() < change.deadline:
            return
        if change.committed:
            for peer in change.waiting:
                peer.kill()
        else:
            self._cancel(change, f"It took longer than {STEP_S} s.")

    def close(self) -> None:
        """Cancels all changes and accepts no more."""
        for change in filter(None, [self._current, *self._asked]):
            change.answer(_CLOSED)
        self._current = None
        self._asked.clear()
        self._closed = True

    def _begin(self) -> None:
        """Begins the next change, if there is one, none is running, and a worker is ready."""
        if self._current or not self._asked or not self._ready():
            return
        change = self._current = self._asked.popleft()
        if change.what == "load":
            self._begin_step(change, Prepare(change.number))
        else:
            self._commit(change)

    def _begin_step(self, change: _Change, message: Prepare | Commit | Unload) -> None:
        change.waiting = list(self._ready())
        change.deadline = self._clock() + STEP_S
        for peer in change.waiting:
            peer.send(message)

    def _complete_step(self, change: _Change, peer: Peer) -> None:
        change.waiting.remove(peer)
        if change.waiting:
            return
        if change.committed:
            self._end(change, None)
        else:
            self._commit(change)

    def _commit(self, change: _Change) -> None:
        """Makes all workers serve what they have prepared."""
        change.committed = True
        self.unloaded = change.what == "unload"
        self.served = change.served
        message = Unload if self.unloaded else Commit
        self._begin_step(change, message(change.number))

    def _cancel(self, change: _Change, reason: str) -> None:
        """Makes all workers discard what they have prepared."""
        for peer in self._ready():
            peer.send(Drop())
        self._end(change, reason)

    def _end(self, change: _Change, reason: str | None) -> None:
        fields = {"why": reason} if reason else change.served._asdict() if change.served else {}
        level = logging.ERROR if reason else logging.INFO
        message = f"not {change.what}ed" if reason else f"{change.what}ed"
        logger.log(level, message, extra={"fields": fields})
        self._current = None
        self.warning = f"The last model was not loaded. {reason}" if reason else None
        change.answer(reason)
        self._on_end()
        self._begin()
