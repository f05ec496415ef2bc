"""Reads of a repository that hangs."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from service.errors import NotReadyError
from service.inference.repository_threads import THREADS, RepositoryThreads

pytestmark = pytest.mark.anyio


@pytest.fixture
def drive() -> Iterator[threading.Event]:
    """A network drive, which hangs until it is set."""
    drive = threading.Event()
    yield drive
    drive.set()


async def test_result_and_error_of_a_read_are_passed_on() -> None:
    threads = RepositoryThreads()
    assert await threads.run(lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    assert not threads.busy


async def test_read_that_hangs_is_given_up_and_the_next_one_goes_on(
    drive: threading.Event,
) -> None:
    threads = RepositoryThreads()
    with pytest.raises(NotReadyError, match="repository"):
        await threads.run(drive.wait, 0.01)
    assert threads.busy
    assert await threads.run(lambda: 1) == 1


async def test_reads_that_hang_take_no_more_threads_than_a_few(drive: threading.Event) -> None:
    threads, started = RepositoryThreads(), []

    def read() -> None:
        started.append(1)
        drive.wait()

    outcomes = await asyncio.gather(
        *(threads.run(read, 0.05) for _ in range(3 * THREADS)), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {NotReadyError}
    drive.set()
    async with asyncio.timeout(10):
        while threads.busy:
            await asyncio.sleep(0.01)
    assert len(started) == THREADS
