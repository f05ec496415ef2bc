"""Faulty workers; each runs in a process of its own."""

import os
import time
from multiprocessing.connection import Connection

from service.inference.served_model import Manifest, ServedModel
from service.process.messages import (
    Build,
    Built,
    Commit,
    Committed,
    Heartbeat,
    NotBuilt,
    Stop,
    receive,
    send,
)

SERVED = ServedModel("tiny", "1", "model.onnx", "1" * 64, "CPU", "CPU")
MANIFEST = Manifest((SERVED,), {}, {}, frozenset(), "tiny")


def crashes(*_: object) -> None:
    """Exits before it sends a message."""
    os._exit(3)


def refuses(_start: object, connection: Connection) -> None:
    """Reports that the models cannot be loaded, and ends when it is told to."""
    send(connection, Heartbeat(None))
    message = None
    while not isinstance(message, Stop):
        message, _files = receive(connection)
        if isinstance(message, Build):
            send(connection, NotBuilt(message.number, "It is damaged.", refused=True))


def never_exits(_start: object, connection: Connection) -> None:
    """Serves, and ignores that it is told to stop."""
    send(connection, Heartbeat(None))
    while True:
        message, _files = receive(connection)
        if isinstance(message, Build):
            send(connection, Built(message.number, MANIFEST))
        elif isinstance(message, Commit):
            send(connection, Committed(message.number))
            time.sleep(60)
