"""The worker processes, and the listeners from which each accepts connections."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe, get_context, resource_tracker, util
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Self

from service.process.messages import Files, Listen, Start, ToWorker, limit_waiting, send
from service.process.system import SIGNALS, blocked_signals, import_to_fork

# How long a worker may be silent while it starts.
START_S = 120
# Longest delay before a worker is started again, in seconds.
MAX_BACK_OFF_S = 30
# How long the supervisor waits for a worker to read a message, or to send the rest of one.
_WAIT_S = 2

RunWorker = Callable[[Start, Connection], None]


def run_worker(start: Start, connection: Connection) -> None:
    """Runs a worker in this process until it is told to stop; each worker process starts here."""
    # Inherited from the supervisor, but `multiprocessing` unblocks some signals when it spawns.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for which in SIGNALS:  # a forked process has the supervisor's handlers
        signal.signal(which, signal.SIG_DFL)
    # Imported late: a supervisor that cannot fork stays free of what only workers need.
    from service.process.worker import run

    run(start, connection)


@dataclass(eq=False, kw_only=True)
class Member(ABC):
    """A worker that serves, starts, or was told to exit; times are on the supervisor's clock."""

    heard_at: float  # when its last message came
    may_be_silent_s: float = START_S  # without a message for so long it is replaced
    has_joined: bool = False  # whether it has sent its first heartbeat
    ready_at: float | None = None  # when it was told to serve
    kill_at: float | None = None  # when it is killed, once it was told to exit
    listens: frozenset[int] = frozenset()  # numbers of the listeners that it accepts from
    reason: str | None = None  # why it ends, if that is known before it does

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """The number of its process."""

    @abstractmethod
    def send(self, message: ToWorker, files: Files = ()) -> None:
        """Sends a message and files; does nothing if it has ended."""

    @abstractmethod
    def kill(self) -> None:
        """Ends it immediately."""


@dataclass(eq=False)
class WorkerProcess(Member):
    """A worker in a process of its own."""

    process: BaseProcess
    connection: Connection  # the supervisor's end of the pipe
    disconnected: bool = False  # whether its end of the pipe is closed

    @classmethod
    def start(cls, run_worker: RunWorker, start: Start, now: float) -> Self:
        """Starts a process that runs the function; it is given the worker's end of a new pipe.

        Raises:
            OSError: there are too many processes, or too little memory.
        """
        make_process: type[BaseProcess]
        if import_to_fork("service.process.worker"):
            make_process = get_context("fork").Process
        else:
            make_process = get_context("spawn").Process
            # It would be started with the worker, and unblock signals in it.
            resource_tracker.ensure_running()
        connection, worker_connection = Pipe()
        # Else each worker that is forked holds it open, and no other sees the supervisor end.
        util.register_after_fork(connection, Connection.close)
        process = make_process(target=run_worker, args=(start, worker_connection))
        try:
            with blocked_signals():
                process.start()
        except OSError:
            connection.close()
            raise
        finally:
            worker_connection.close()
        limit_waiting(connection, _WAIT_S)
        return cls(process, connection, heard_at=now)

    @property
    def pid(self) -> int | None:
        """The number of the process."""
        return self.process.pid

    def send(self, message: ToWorker, files: Files = ()) -> None:
        """Sends a message; does nothing if the process is dead, which its sentinel reports."""
        try:
            send(self.connection, message, files)
        except ConnectionError:
            pass
        except OSError:  # it does not read its messages, or has an incomplete one
            self.kill()

    def kill(self) -> None:
        """Kills the process."""
        self.process.kill()


@dataclass(eq=False)
class Slot:
    """A place for one worker, whose own listener has the same number."""

    number: int
    worker: Member | None = None
    failures: int = 0  # how many workers ended here since one was stable
    start_at: float = 0  # earliest time to start the next one

    def add_failure(self, now: float) -> None:
        """Schedules the next worker: at once, or after a delay that grows with the failures."""
        self.failures += 1
        self.start_at = now + min(2 ** (self.failures - 1) - 1, MAX_BACK_OFF_S)


class WorkerPool:
    """The slots, some of which may have no worker, and the workers in them."""

    def __init__(self, size: int) -> None:
        """Makes empty slots."""
        self.slots = [Slot(number) for number in range(size)]

    @property
    def workers(self) -> list[Member]:
        """All workers, those that start or exit included."""
        return [slot.worker for slot in self.slots if slot.worker]

    @property
    def ready(self) -> list[Member]:
        """The workers that serve."""
        return [
            worker
            for worker in self.workers
            if worker.ready_at is not None and worker.kill_at is None
        ]

    def remove(self, worker: Member) -> Slot:
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

    def assign_listeners(self, before_any_is_ready: Member | None = None) -> None:
        """Assigns each listener to its own worker or, until that one is ready, to another.

        Args:
            before_any_is_ready: accepts all connections while none is ready, to answer that the
                model is loading. Without it connections wait for the next worker.
        """
        serving = self.ready
        if not serving and before_any_is_ready:
            serving = [before_any_is_ready]
        assigned: dict[Member, set[int]] = {worker: set() for worker in self.workers}
        for number, slot in enumerate(self.slots if serving else ()):
            own = slot.worker if slot.worker in serving else None
            assigned[own or serving[number % len(serving)]].add(number)
        for worker, numbers in assigned.items():
            if worker.listens != numbers:
                worker.listens = frozenset(numbers)
                worker.send(Listen(worker.listens))
