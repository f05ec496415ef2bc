"""The messages between the supervisor and each worker, and how they are sent over a pipe.

A message may be followed by files, whose descriptors are handed over with it.
"""

import contextlib
import errno
import os
import select
import socket
import struct
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from service.inference.memory_file import SealedFile
from service.inference.served_model import Change, Manifest
from service.settings import Settings

# Linux takes 253 descriptors at a time.
_DESCRIPTORS_AT_A_TIME = 250


class Start(NamedTuple):
    """What a worker is given when it starts; all workers share the listeners and the folder."""

    settings: Settings
    listeners: Sequence[socket.socket]
    folder: Path  # for temporary files
    started_at: float  # when the service was started, on the monotonic clock
    grace_s: int  # how long requests in flight may take once the worker is told to stop
    slot: int  # its place among the workers, which one at a time has
    replaces: bool  # whether it takes the place of a worker that ended


class Outcome(NamedTuple):
    """The outcome of a requested change."""

    reason: str | None = None  # why it has failed
    note: str | None = None  # how a model that was loaded differs from the one before
    transient: bool = False  # whether it has failed for a reason that passes by itself


# From the supervisor to a worker


class Listen(NamedTuple):
    """Accept connections from these listeners and from no others."""

    listeners: frozenset[int]


class Build(NamedTuple):
    """Build the next snapshot beside the one that is served; reply with `Built`.

    It is read from the repository or, for a manifest, built of the files that follow: the card and
    the file of each of its models.
    """

    number: int
    order: Change | Manifest


class Commit(NamedTuple):
    """Serve the snapshot that was built; reply with `Committed`."""

    number: int


class Drop(NamedTuple):
    """Discard the snapshot that was built or is being built."""

    number: int


class Warn(NamedTuple):
    """Show this warning in /health; None removes it."""

    warning: str | None


class Done(NamedTuple):
    """The requested change is done, or has failed."""

    request: int
    outcome: Outcome


class Drain(NamedTuple):
    """Report that the service is not ready, and continue to answer."""


class Stop(NamedTuple):
    """Accept no new connections, finish the open requests, and exit."""


# From a worker to the supervisor


class Heartbeat(NamedTuple):
    """The event loop is running. A fault is what only a new process can resolve."""

    fault: str | None


class Built(NamedTuple):
    """The snapshot is built; its files follow if it was read from the repository."""

    number: int
    manifest: Manifest


class NotBuilt(NamedTuple):
    """The snapshot cannot be built for this reason.

    It is refused where the next attempt would fail as well, until somebody mends what is wrong.
    """

    number: int
    reason: str
    refused: bool


class Committed(NamedTuple):
    """The snapshot is served."""

    number: int


class Ask(NamedTuple):
    """A client asks for a change in all workers."""

    request: int
    change: Change


ToWorker = Listen | Build | Commit | Drop | Warn | Done | Drain | Stop
ToSupervisor = Heartbeat | Built | NotBuilt | Committed | Ask
Files = Sequence[SealedFile]


def send(connection: Connection, message: ToWorker | ToSupervisor, files: Files = ()) -> None:
    """Sends a message, and hands over files.

    Raises:
        OSError: the other end is closed, or does not read; see `limit_waiting`.
    """
    connection.send((message, len(files)))
    for start in range(0, len(files), _DESCRIPTORS_AT_A_TIME):
        chunk = files[start : start + _DESCRIPTORS_AT_A_TIME]
        with _socket_of(connection) as channel:
            socket.send_fds(channel, [b"\0"], [file.fileno() for file in chunk])


def receive(connection: Connection) -> tuple[Any, list[SealedFile]]:
    """Receives a message and the files that follow it.

    Raises:
        EOFError: the other end is closed.
        OSError: the same, or there are too many open files; BlockingIOError if the rest of the
            message does not come, see `limit_waiting`.
    """
    message, count = connection.recv()
    files: list[SealedFile] = []
    while len(files) < count:
        with _socket_of(connection) as channel:
            data, descriptors, flags, _ = socket.recv_fds(channel, 1, _DESCRIPTORS_AT_A_TIME)
        files += map(SealedFile, descriptors)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        if not data:
            raise EOFError
        if flags & socket.MSG_CTRUNC:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return message, files


def is_read(connection: Connection) -> bool:
    """Whether a short message can be sent without waiting for the other end to read others."""
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLOUT)
    return bool(poller.poll(0))


def limit_waiting(connection: Connection, seconds: int) -> None:
    """Lets neither `send` nor `receive` wait for longer, once a message has begun."""
    with _socket_of(connection) as channel:
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            channel.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))


@contextlib.contextmanager
def _socket_of(connection: Connection) -> Iterator[socket.socket]:
    """The socket that a pipe of `multiprocessing` is."""
    with socket.socket(fileno=os.dup(connection.fileno())) as channel:
        yield channel
