"""How often a key may ask."""

import errno
import multiprocessing
import os
from pathlib import Path

import pytest

from service.errors import RateLimitedError
from service.http.rate_limit import RateLimit

KEY = b"\1\2"


class Clock:
    """Tells the time that it is given."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def taken(limit: RateLimit, attempts: int, key: bytes = KEY) -> int:
    """How many of so many requests pass."""
    passed = 0
    for _ in range(attempts):
        try:
            limit.take(key)
        except RateLimitedError:
            continue
        passed += 1
    return passed


def test_no_more_than_the_rate_passes_at_once(tmp_path: Path) -> None:
    limit = RateLimit("60/minute", tmp_path, Clock())
    assert taken(limit, 100) == 60
    assert taken(limit, 100, b"another") == 60


def test_allowance_comes_back_bit_by_bit(tmp_path: Path) -> None:
    clock = Clock()
    limit = RateLimit("60/minute", tmp_path, clock)
    taken(limit, 60)
    clock.now += 10
    assert taken(limit, 100) == 10
    clock.now += 3600
    assert taken(limit, 100) == 60


def test_error_says_when_to_try_again(tmp_path: Path) -> None:
    limit = RateLimit("4/minute", tmp_path, Clock())
    taken(limit, 4)
    with pytest.raises(RateLimitedError, match="15 s") as caught:
        limit.take(KEY)
    assert caught.value.retry_after_s == 15


def _take_many(folder: Path, results: "multiprocessing.Queue[int]") -> None:
    results.put(taken(RateLimit("100/hour", folder), 100))


def test_processes_count_together(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[int] = context.Queue()
    workers = [context.Process(target=_take_many, args=(tmp_path, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert sum(results.get(timeout=60) for _ in workers) == 100
    for worker in workers:
        worker.join()


def test_full_disk_lets_requests_pass_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    limit = RateLimit("1/hour", tmp_path, Clock())
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", fail)
        assert taken(limit, 10) == 10
    assert caplog.messages == ["rates cannot be limited"]
    assert taken(limit, 10) == 1
