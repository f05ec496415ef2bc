"""The messages between the supervisor and each worker, sent over one pipe per worker."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from service.inference.served_model import Administration, ServedModel
from service.settings import Settings


class Start(NamedTuple):
    """What a worker is given when it starts; all workers share the listeners and the folder."""

    settings: Settings
    listeners: Sequence[socket.socket]
    folder: Path  # for temporary files
    started_at: float  # when the service was started, on the monotonic clock
    grace_s: int  # how long requests in flight may take once the worker is told to stop
    replaces: bool  # whether it takes the place of a worker that ended
    version: int | None  # what the other workers serve and this one must start with


# From the supervisor to a worker


class Listen(NamedTuple):
    """Accept connections from these listeners and from no others."""

    listeners: frozenset[int]


class Prepare(NamedTuple):
    """Load the model again beside the one that is served; reply."""

    change: int


class Commit(NamedTuple):
    """Serve the prepared model; reply."""

    change: int


class Drop(NamedTuple):
    """Discard the prepared model."""


class Unload(NamedTuple):
    """Serve no model; reply."""

    change: int


class Warn(NamedTuple):
    """Show this warning in /health; None removes it."""

    warning: str | None


class Done(NamedTuple):
    """The requested change is done, or has failed for this reason."""

    request: int
    reason: str | None


class Drain(NamedTuple):
    """Report that the service is not ready, and continue to answer."""


class Stop(NamedTuple):
    """Accept no new connections, finish the open requests, and exit."""


# From a worker to the supervisor


class Heartbeat(NamedTuple):
    """The event loop is running. A fault is what only a new process can resolve."""

    fault: str | None


class Ready(NamedTuple):
    """The model is loaded."""

    served: ServedModel


class Failed(NamedTuple):
    """The model cannot be loaded for this reason; the worker exits."""

    reason: str


class Reply(NamedTuple):
    """A step of a change is done: the model that was prepared, or the reason why none was."""

    change: int
    served: ServedModel | None = None
    reason: str | None = None


class Ask(NamedTuple):
    """A client asks all workers to load or unload the model."""

    request: int
    what: Administration


ToWorker = Listen | Prepare | Commit | Drop | Unload | Warn | Done | Drain | Stop
ToSupervisor = Heartbeat | Ready | Failed | Reply | Ask
