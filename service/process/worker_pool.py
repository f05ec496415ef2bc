"""The worker processes and which of the listeners each of them accepts connections from."""

from dataclasses import dataclass

from service.process.messages import Listen, ToWorker
from service.process.worker_process import WorkerProcess

# Longest delay before a worker is started again, in seconds.
MAX_BACK_OFF_S = 30


@dataclass(eq=False)
class Slot:
    """A place for one worker, whose own listener has the same number.

    Attributes:
        worker: the worker, if there is one at present.
        failures: how many workers ended here, since one was stable.
        start_at: earliest time to start the next one, on the monotonic clock.
    """

    worker: WorkerProcess | None = None
    failures: int = 0
    start_at: float = 0

    def add_failure(self, now: float) -> None:
        """Schedules the next worker: at once, or after a delay that grows with the failures."""
        self.failures += 1
        self.start_at = now + min(2 ** (self.failures - 1) - 1, MAX_BACK_OFF_S)


class WorkerPool:
    """The workers in their slots.

    Attributes:
        slots: all slots, those without a worker included.
    """

    def __init__(self, size: int) -> None:
        """Makes empty slots."""
        self.slots = [Slot() for _ in range(size)]

    @property
    def workers(self) -> list[WorkerProcess]:
        """All workers, those that start or exit included."""
        return [slot.worker for slot in self.slots if slot.worker]

    @property
    def ready(self) -> list[WorkerProcess]:
        """The workers that serve."""
        return [worker for worker in self.workers if worker.ready_at and not worker.kill_at]

    @property
    def is_complete(self) -> bool:
        """Whether every slot has a worker that serves."""
        return len(self.ready) == len(self.slots)

    def remove(self, worker: WorkerProcess) -> Slot:
        """Takes a worker out of its slot; returns the slot."""
        slot = next(slot for slot in self.slots if slot.worker is worker)
        slot.worker = None
        return slot

    def broadcast(self, message: ToWorker) -> None:
        """Sends a message to all workers."""
        for worker in self.workers:
            worker.send(message)

    def kill(self) -> None:
        """Kills all workers."""
        for worker in self.workers:
            worker.kill()

    def assign_listeners(self, *, starting: bool) -> None:
        """Assigns each listener to its own worker or, until that one is ready, to another.

        Args:
            starting: whether none has served yet: the first worker then accepts all connections,
                to answer that the model is loading. Later, connections wait for the next worker.
        """
        serving = self.ready
        if not serving and starting:
            serving = self.workers[:1]
        assigned: dict[WorkerProcess, set[int]] = {worker: set() for worker in self.workers}
        for number, slot in enumerate(self.slots if serving else ()):
            own = slot.worker if slot.worker in serving else None
            assigned[own or serving[number % len(serving)]].add(number)
        for worker, numbers in assigned.items():
            if worker.listens != numbers:
                worker.listens = frozenset(numbers)
                worker.send(Listen(worker.listens))
