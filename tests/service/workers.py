"""Faulty workers; each runs in a process of its own."""

import os
import time
from multiprocessing.connection import Connection

from service.inference.served_model import ServedModel
from service.process.messages import Failed, Heartbeat, Ready

SERVED = ServedModel("tiny", "1", "model.onnx", "1" * 64, "CPU", "CPU")


def crashes(*_: object) -> None:
    """Exits before it sends a message."""
    os._exit(3)


def refuses(_start: object, connection: Connection) -> None:
    """Reports that the model cannot be loaded."""
    connection.send(Failed("It is damaged."))


def never_exits(_start: object, connection: Connection) -> None:
    """Serves, and ignores that it is told to stop."""
    connection.send(Heartbeat(None))
    connection.send(Ready(SERVED))
    time.sleep(60)
