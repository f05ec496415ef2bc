"""Which messages may be arriving, by how long they take."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from service.errors import QueueFullError, SlowBodyError
from service.grpc.arrivals import LOOK_S, MOMENT, Arrivals

pytestmark = pytest.mark.anyio


async def after(seconds: float) -> AsyncIterator[bytes]:
    await asyncio.sleep(seconds)
    yield b"whole"


async def once(event: asyncio.Event) -> AsyncIterator[bytes]:
    await event.wait()
    yield b"whole"


SLOWLY = 4 * MOMENT * LOOK_S


async def test_any_number_of_messages_arrives_within_a_moment() -> None:
    arrivals = Arrivals(1, 60)
    found = await asyncio.gather(*(arrivals.next(after(LOOK_S)) for _ in range(100)))
    assert found == [b"whole"] * 100
    assert arrivals.taken == 0


async def test_messages_that_take_longer_need_a_place() -> None:
    arrivals = Arrivals(2, 60)
    for _ in range(2):
        go = asyncio.Event()
        tasks = [asyncio.create_task(arrivals.next(once(go))) for _ in range(5)]
        async with asyncio.timeout(10):
            while sum(task.done() for task in tasks) < 3:
                await asyncio.sleep(LOOK_S)
        await asyncio.sleep(MOMENT * LOOK_S)  # those that have a place keep it
        go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert found.count(b"whole") == 2
        assert sum(isinstance(it, QueueFullError) for it in found) == 3
        assert arrivals.taken == 0


async def test_message_that_is_there_is_not_late_because_the_loop_was_busy() -> None:
    arrivals = Arrivals(0, 60)
    tasks = [asyncio.create_task(arrivals.next(after(LOOK_S / 2))) for _ in range(10)]
    await asyncio.sleep(0)
    time.sleep(SLOWLY)
    assert await asyncio.gather(*tasks) == [b"whole"] * 10


async def test_message_that_does_not_arrive_is_given_up_with_its_place() -> None:
    arrivals = Arrivals(1, SLOWLY)
    with pytest.raises(SlowBodyError, match="to arrive"):
        await arrivals.next(after(60))
    assert arrivals.taken == 0


async def test_client_who_leaves_gives_its_place_back() -> None:
    arrivals = Arrivals(1, 60)
    task = asyncio.create_task(arrivals.next(after(60)))
    while not arrivals.taken:
        await asyncio.sleep(LOOK_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert arrivals.taken == 0


async def test_end_of_the_messages_is_told() -> None:
    messages = after(0)
    arrivals = Arrivals(1, 60)
    assert await arrivals.next(messages) == b"whole"
    with pytest.raises(StopAsyncIteration):
        await arrivals.next(messages)
