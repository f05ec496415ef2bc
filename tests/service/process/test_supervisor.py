"""The supervisor with faulty workers; tests/e2e/test_faults.py has real ones."""

import logging
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from socket import socket
from types import SimpleNamespace

import pytest

from service.process import lifecycle
from service.process.sockets import listen
from service.process.supervisor import Supervisor
from service.process.worker_pool import RunWorker
from service.settings import Settings
from tests.service import workers


@pytest.fixture
def listeners() -> Iterator[list[socket]]:
    opened = listen("127.0.0.1", 0, 2)
    yield opened
    for listener in opened:
        listener.close()


def supervise(listeners: list[socket], worker: RunWorker) -> Supervisor:
    return Supervisor(Settings.model_validate({"drain_s": 0}), listeners, worker)


def test_workers_that_cannot_start_end_the_service_after_a_few_failures(
    listeners: list[socket], caplog: pytest.LogCaptureFixture
) -> None:
    crashing = supervise(listeners, workers.crashes)
    assert crashing.run() == 1
    assert crashing.failure == "the workers end while they start. It ended with status 3."
    assert 3 <= len([line for line in caplog.records if line.getMessage() == "worker ended"]) <= 5


def test_refused_model_ends_the_service_at_once(
    listeners: list[socket], caplog: pytest.LogCaptureFixture
) -> None:
    refusing = supervise(listeners, workers.refuses)
    assert refusing.run() == 1
    assert refusing.failure == "It is damaged."
    assert caplog.records == []


def test_worker_that_does_not_exit_is_killed(
    listeners: list[socket], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "GRACE_S", 0.1)
    monkeypatch.setattr(lifecycle, "EXIT_S", 0.1)
    endless = supervise(listeners, workers.never_exits)

    class StopWhenReady(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "ready":
                threading.Timer(0, os.kill, (os.getpid(), signal.SIGTERM)).start()

    with caplog.at_level(logging.INFO):
        lifecycle.logger.addHandler(handler := StopWhenReady())
        try:
            assert endless.run() == 1
        finally:
            lifecycle.logger.removeHandler(handler)
    assert "killing workers: the grace period is over" in caplog.messages
    assert endless.failure is None


def test_full_disk_is_reported_before_anything_starts(
    listeners: list[socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=1000))
    starting = supervise(listeners, workers.crashes)
    assert starting.run() == 1
    assert str(starting.failure).startswith(
        "cannot use a folder for temporary files: No space left on device: "
    )
