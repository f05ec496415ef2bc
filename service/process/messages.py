"""What the supervisor and its workers say to each other, each pair over a pipe of its own."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from service.inference.served_model import Administration, ServedModel
from service.settings import Settings


class Start(NamedTuple):
    """What a worker is given when it starts.

    Attributes:
        settings: the settings.
        listeners: the listening sockets of all workers.
        folder: a folder of all workers, for temporary files.
        started_at: when the service was started, on the monotonic clock.
        replaces: whether it comes in place of another worker.
        version: what the other workers serve, if they do: it is to begin with that.
    """

    settings: Settings
    listeners: Sequence[socket.socket]
    folder: Path
    started_at: float
    replaces: bool
    version: int | None


# From the supervisor to a worker


class Listen(NamedTuple):
    """Accept connections from these listening sockets, and from no others."""

    sockets: frozenset[int]


class Prepare(NamedTuple):
    """Load the model anew beside the one that serves; reply."""

    change: int


class Commit(NamedTuple):
    """Serve what was prepared; reply."""

    change: int


class Drop(NamedTuple):
    """Forget what was prepared."""


class Unload(NamedTuple):
    """Serve no model; reply."""

    change: int


class Warn(NamedTuple):
    """Show this in /health, or nothing any more."""

    warning: str | None


class Done(NamedTuple):
    """What you asked for has been done, or has failed for this reason."""

    request: int
    reason: str | None


class Drain(NamedTuple):
    """Say that you are not ready, and go on answering."""


class Stop(NamedTuple):
    """Take no new connections, answer what you have, and end."""


# From a worker to the supervisor


class Heartbeat(NamedTuple):
    """The event loop turns; what only a new process can cure, if anything."""

    fault: str | None


class Ready(NamedTuple):
    """The model is loaded."""

    served: ServedModel


class Failed(NamedTuple):
    """The model cannot be loaded, for this reason; the worker ends."""

    reason: str


class Reply(NamedTuple):
    """A step of a change is done; prepared was this, or nothing for this reason."""

    change: int
    served: ServedModel | None = None
    reason: str | None = None


class Ask(NamedTuple):
    """A client asks all workers to load or unload the model."""

    request: int
    what: Administration


ToWorker = Listen | Prepare | Commit | Drop | Unload | Warn | Done | Drain | Stop
ToSupervisor = Heartbeat | Ready | Failed | Reply | Ask
