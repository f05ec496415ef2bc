"""Signals: those that the service handles, and those that end a worker."""

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection

# Handled by the supervisor and blocked in workers: Ctrl-C goes to every process of a terminal.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_HINTS = {
    signal.SIGKILL: ", as when memory is short",
    signal.SIGBUS: ", as when the disk with the temporary files is full",
}


@contextlib.contextmanager
def received_signals() -> Iterator[Connection]:
    """Gives a connection on which each signal arrives as its number.

    `multiprocessing.connection.wait` can then wait for signals and for other messages at once.
    """
    inbox, outbox = get_context("spawn").Pipe(duplex=False)
    before = [signal.signal(which, lambda it, _frame: outbox.send(it)) for which in SIGNALS]
    try:
        yield inbox
    finally:
        for which, handler in zip(SIGNALS, before, strict=True):
            signal.signal(which, handler)


@contextlib.contextmanager
def blocked_signals() -> Iterator[None]:
    """Blocks the signals in this thread; a process that is started meanwhile inherits that."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def describe_exit(code: int | None) -> str:
    """Describes how a process ended, by the exit code that `multiprocessing` gives it."""
    if code is None or code >= 0:
        return f"It ended with status {code}."
    try:
        which = signal.Signals(-code)
    except ValueError:  # the real-time signals have no names
        return f"It was ended by signal {-code}."
    return f"It was ended by {which.name}{_HINTS.get(which, '')}."
