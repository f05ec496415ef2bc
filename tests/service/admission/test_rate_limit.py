"""The rate limit of each API key."""

import asyncio
import errno
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.admission import rate_limit
from service.admission.rate_limit import RateLimit
from service.errors import RateLimitedError

KEY = b"\1\2"
LOCK = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""

pytestmark = pytest.mark.anyio


class Clock:
    """Tells the time that it is given."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def taken(limit: RateLimit, attempts: int, key: bytes = KEY) -> int:
    """How many of so many requests pass."""
    passed = 0
    for _ in range(attempts):
        try:
            await limit.take(key)
        except RateLimitedError:
            continue
        passed += 1
    return passed


async def test_no_more_than_the_rate_passes_at_once(tmp_path: Path) -> None:
    limit = RateLimit("60/minute", tmp_path, Clock())
    assert await taken(limit, 100) == 60
    assert await taken(limit, 100, b"another") == 60


# Of the first two, the sum with an hour is rounded up: (63632.81111 + 3600) - 63632.81111 > 3600.
@pytest.mark.parametrize("now", [63_632.81111, 64_955.47648033767, 65_535.9, 1e9 / 3])
@pytest.mark.parametrize("rate", ["1/hour", "7/minute", "1000/day"])
async def test_whole_allowance_passes_at_any_time(tmp_path: Path, now: float, rate: str) -> None:
    count = int(rate.split("/")[0])
    assert await taken(RateLimit(rate, tmp_path, Clock(now)), count + 3) == count


async def test_allowance_is_restored_evenly(tmp_path: Path) -> None:
    clock = Clock()
    limit = RateLimit("60/minute", tmp_path, clock)
    await taken(limit, 60)
    clock.now += 10
    assert await taken(limit, 100) == 10
    clock.now += 3600
    assert await taken(limit, 100) == 60


async def test_error_says_when_to_try_again(tmp_path: Path) -> None:
    limit = RateLimit("4/minute", tmp_path, Clock())
    await taken(limit, 4)
    with pytest.raises(RateLimitedError, match="15 s") as caught:
        await limit.take(KEY)
    assert caught.value.retry_after_s == 15


def _take_many(folder: Path, results: "multiprocessing.Queue[int]") -> None:
    results.put(asyncio.run(taken(RateLimit("100/hour", folder), 100)))


def test_processes_count_together(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[int] = context.Queue()
    workers = [context.Process(target=_take_many, args=(tmp_path, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert sum(results.get(timeout=60) for _ in workers) == 100
    for worker in workers:
        worker.join()


@contextmanager
def locked(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Starts a process that holds the lock on the file of KEY until it is killed."""
    command = [sys.executable, "-c", LOCK, str(folder / f"rate-{KEY.hex()}")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


async def longest_pause(until: "asyncio.Future[list[BaseException | None]]") -> float:
    """The longest time in which the event loop took no step, in seconds.

    The time for which it waited for a processor on a busy machine is left out, where Linux tells.
    """
    longest = 0.0
    while not until.done():
        before, waited = time.monotonic(), run_delay()
        await asyncio.sleep(0.001)
        pause = time.monotonic() - before - 0.001 - (run_delay() - waited)
        longest = max(longest, pause)
    return longest


def run_delay() -> float:
    """Seconds for which this thread was ready to run and had no processor."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except FileNotFoundError:
        return 0


@pytest.mark.alone
async def test_lock_of_another_process_never_blocks_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "PATIENCE_S", 60)
    pauses: list[float] = []
    # A blocking lock pauses the loop each time; a busy machine may do so once.
    while min(pauses, default=1) > 0.01 and len(pauses) < 3:
        folder = tmp_path / str(len(pauses))
        folder.mkdir()
        limit = RateLimit("1/hour", folder)
        with locked(folder) as holder:
            asyncio.get_running_loop().call_later(0.5, holder.kill)
            requests = asyncio.gather(*(limit.take(KEY) for _ in range(3)), return_exceptions=True)
            pauses.append(await longest_pause(requests))
        outcomes = sorted(type(result).__name__ for result in await requests)
        assert outcomes == ["NoneType", "RateLimitedError", "RateLimitedError"]
    assert min(pauses) < 0.01


async def test_lock_that_is_held_too_long_lets_requests_pass(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "PATIENCE_S", 0.1)
    with locked(tmp_path):
        assert await taken(RateLimit("1/hour", tmp_path), 2) == 2
    assert caplog.messages == ["rate limit not enforced"]


async def test_full_disk_lets_requests_pass_and_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    limit = RateLimit("1/hour", tmp_path, Clock())
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", fail)
        assert await taken(limit, 10) == 10
    assert caplog.messages == ["rate limit not enforced"]
    assert await taken(limit, 10) == 1
