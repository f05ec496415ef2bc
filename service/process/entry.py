"""The function that a worker process starts with.

The supervisor imports neither this module nor the worker: it is given the function, so that it
stays free of the libraries that only workers need.
"""

import signal
from multiprocessing.connection import Connection

from service.process.messages import Start
from service.process.signals import SIGNALS


def run_worker(start: Start, connection: Connection) -> None:
    """Runs a worker in this process until it is told to stop.

    Args:
        start: what the worker is given.
        connection: the worker's end of the pipe to the supervisor.
    """
    # Inherited from the supervisor, but `multiprocessing` unblocks some signals when it starts.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    from service.process.worker import run

    run(start, connection)
