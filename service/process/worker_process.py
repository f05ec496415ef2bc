"""A worker process as the supervisor sees it."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Self

from service.process.messages import Start, ToWorker
from service.process.signals import blocked_signals

# How long a worker may be silent while it starts.
START_S = 120

RunWorker = Callable[[Start, Connection], None]


@dataclass(eq=False)
class WorkerProcess:
    """A process that serves, starts, or was told to exit.

    Attributes:
        process: the process.
        connection: the supervisor's end of the pipe to it.
        heard_at: when its last message came, on the monotonic clock, as all times here.
        may_be_silent_s: how long it may send no message before it is replaced.
        ready_at: when it began to serve.
        kill_at: when it is killed if it has not exited by then; None unless it was told to exit.
        listens: the numbers of the listeners that it accepts connections from.
        reason: why it ends, if that is known before it does.
        refused: whether it cannot load the model.
        disconnected: whether its end of the pipe is closed.
    """

    process: BaseProcess
    connection: Connection
    heard_at: float
    may_be_silent_s: float = START_S
    ready_at: float | None = None
    kill_at: float | None = None
    listens: frozenset[int] = frozenset()
    reason: str | None = None
    refused: bool = False
    disconnected: bool = False

    @classmethod
    def start(cls, run_worker: RunWorker, start: Start, now: float) -> Self:
        """Starts a process.

        Args:
            run_worker: the function that it runs; it must be importable by name.
            start: what the function is given, with the worker's end of a new pipe.
            now: the time.

        Raises:
            OSError: there are too many processes, or too little memory.
        """
        context = get_context("spawn")
        connection, worker_connection = context.Pipe()
        process = context.Process(target=run_worker, args=(start, worker_connection))
        try:
            with blocked_signals():
                process.start()
        except OSError:
            connection.close()
            raise
        finally:
            worker_connection.close()
        return cls(process, connection, now)

    def send(self, message: ToWorker) -> None:
        """Sends a message; does nothing if the process is dead, which its sentinel reports."""
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def kill(self) -> None:
        """Kills the process."""
        self.process.kill()
