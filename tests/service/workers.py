"""Lives of workers that go wrong; each runs in a process of its own."""

import os
import time
from multiprocessing.connection import Connection

from service.inference.served_model import ServedModel
from service.process.messages import Failed, Heartbeat, Ready

SERVED = ServedModel("tiny", "1", "model.onnx", "1" * 64, "CPU", "CPU")


def crashes(*_: object) -> None:
    """Ends before it has said a word."""
    os._exit(3)


def refuses(_start: object, link: Connection) -> None:
    """Says that the model cannot be loaded."""
    link.send(Failed("It is damaged."))


def is_deaf(_start: object, link: Connection) -> None:
    """Serves, and never ends."""
    link.send(Heartbeat(None))
    link.send(Ready(SERVED))
    time.sleep(60)
