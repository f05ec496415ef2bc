"""Messages over a pipe, and the files that are handed over with them."""

import os
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from service.inference.memory_file import SealedFile
from service.process.messages import (
    Commit,
    Drain,
    Heartbeat,
    is_read,
    limit_waiting,
    receive,
    send,
)

Ends = tuple[Connection, Connection]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, its = Pipe()
    yield ours, its
    ours.close()
    its.close()


@pytest.mark.parametrize("count", [0, 1, 600])
def test_files_follow_their_message_in_order(ends: Ends, count: int) -> None:
    ours, its = ends
    files = [SealedFile.of(str(number).encode()) for number in range(count)]
    send(ours, Commit(1), files)
    send(ours, Drain())
    message, received = receive(its)
    assert message == Commit(1)
    assert [file.read() for file in received] == [file.read() for file in files]
    assert not any(os.get_inheritable(file.fileno()) for file in received)
    assert receive(its) == (Drain(), [])


def test_end_of_the_other_process_is_noticed(ends: Ends) -> None:
    ours, its = ends
    its.close()
    with pytest.raises(EOFError):
        receive(ours)
    with pytest.raises(BrokenPipeError):
        send(ours, Drain())


def test_process_that_stops_within_a_message_is_not_waited_for(ends: Ends) -> None:
    ours, its = ends
    limit_waiting(ours, 1)
    os.write(its.fileno(), b"\0\0")
    with pytest.raises(BlockingIOError):
        receive(ours)


def test_process_that_reads_nothing_is_not_waited_for(ends: Ends) -> None:
    ours, _its = ends
    limit_waiting(ours, 1)
    with pytest.raises(BlockingIOError):
        send_forever(ours)


def test_short_message_waits_for_nobody_while_the_other_end_is_read(ends: Ends) -> None:
    ours, its = ends
    limit_waiting(ours, 1)  # else a message too many would block for ever
    sent = 0
    while is_read(ours):
        send(ours, Heartbeat(None))
        sent += 1
    assert sent > 10
    for _ in range(sent):
        assert receive(its) == (Heartbeat(None), [])
    assert is_read(ours)
    its.close()
    assert is_read(ours)  # so that its end is noticed


def send_forever(connection: Connection) -> None:
    while True:
        send(connection, Heartbeat("x" * 1000))
