"""Every message of `messages.py` is answered as it says, however its bytes are cut."""

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from tests.service.http.conftest import Connect, FakeTransport, Serve
from tests.service.http.messages import (
    GROUPS,
    MAX_HEAD_BYTES,
    MESSAGES,
    Message,
    agrees,
    read_answers,
)

pytestmark = pytest.mark.anyio

# The longest that the answers may take.
PATIENCE_S = 60.0


@pytest.mark.parametrize("group", GROUPS)
async def test_answers_are_the_same_however_a_message_is_cut(serve: Serve, group: str) -> None:
    settings = {"max_head_bytes": MAX_HEAD_BYTES, "max_queue": 10_000}
    patience = {"head_timeout_ms": 300_000, "body_timeout_ms": 300_000, "deadline_ms": 300_000}
    async with serve(**settings, **patience) as connect:
        wrong = await asyncio.gather(*(send_cut(connect, message) for message in GROUPS[group]))
    assert not any(wrong), "\n".join(filter(None, wrong))


def test_there_are_many_messages_and_each_has_a_name_of_its_own() -> None:
    assert len({message.name for message in MESSAGES}) == len(MESSAGES) >= 60


def cut(sent: bytes) -> list[list[bytes]]:
    """A message whole, in two segments cut at each byte, and in segments of one byte.

    Where another protocol is offered, its head is also cut at each byte with its body apart.
    """
    halves = [[sent[:place], sent[place:]] for place in range(1, len(sent))]
    bytes_ = [sent[place : place + 1] for place in range(len(sent))]
    head, end, body = sent.partition(b"\r\n\r\n")
    head += end
    offers = b"upgrade" in head.lower() and body
    thirds = [[head[:place], head[place:], body] for place in range(1, len(head))] if offers else []
    return [[sent], *halves, *thirds, bytes_]


async def send_cut(connect: Connect, message: Message) -> str | None:
    """Sends a message on many connections, on each of them cut at another byte.

    What the first segment asks for is answered before the next is sent.

    Returns:
        What is wrong, with the segments that bring it about.
    """
    segments = cut(message.sent)
    connections = [connect() for _ in segments]
    for transport, (first, *_) in zip(connections, segments, strict=True):
        transport.send(first)
    await settle(connections)
    for transport, (_, *rest) in zip(connections, segments, strict=True):
        for segment in rest:
            transport.send(segment)
            await asyncio.sleep(0)
    with contextlib.suppress(TimeoutError):  # then the comparison shows what is missing
        async with asyncio.timeout(PATIENCE_S):
            while not all(is_answered(transport, message) for transport in connections):
                await asyncio.sleep(0.005)
    await settle(connections)  # there may be an answer too many
    for transport, pieces in zip(connections, segments, strict=True):
        answers = read_answers(transport.received, message.answers)
        if not agrees(answers, message.answers) or transport.is_ended != message.closes:
            return f"{message.name}: {pieces} -> {answers}, closed: {transport.is_ended}"
    return None


async def settle(connections: Sequence[FakeTransport]) -> None:
    """Waits until no more is answered."""
    before = -1
    while before != (now := sum(len(transport.received) for transport in connections)):
        before = now
        await asyncio.sleep(0.01)


def is_answered(transport: FakeTransport, message: Message) -> bool:
    if message.closes:
        return transport.is_ended
    return len(read_answers(transport.received, message.answers)) >= len(message.answers)
