"""Signals that arrive as messages, and descriptions of how processes end."""

import os
import signal
import threading
from multiprocessing.connection import wait

import pytest

from service.process.signals import SIGNALS, blocked_signals, describe_exit, received_signals


@pytest.mark.parametrize(
    ("code", "description"),
    [
        (None, "It ended with status None."),
        (3, "It ended with status 3."),
        (-signal.SIGTERM, "It was ended by SIGTERM."),
        (-signal.SIGKILL, "It was ended by SIGKILL, as when memory is short."),
        (-40, "It was ended by signal 40."),
    ],
)
def test_exit_is_described(code: int | None, description: str) -> None:
    assert describe_exit(code) == description


def test_signals_arrive_in_order_and_handlers_are_restored() -> None:
    before = [signal.getsignal(which) for which in SIGNALS]
    with received_signals() as signals:
        for which in SIGNALS:
            os.kill(os.getpid(), which)
            assert wait([signals], 10)
            assert signals.recv() == which
    assert [signal.getsignal(which) for which in SIGNALS] == before


def test_blocked_signals_wait() -> None:
    with received_signals() as signals:
        with blocked_signals():
            signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
            assert not wait([signals], 0.1)
        assert wait([signals], 10)
