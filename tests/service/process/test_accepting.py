"""Connections are accepted many at a time, whatever else the event loop does."""

import asyncio
import contextlib
import functools
import os
import resource
import socket
from collections.abc import Coroutine, Iterator
from pathlib import Path

import pytest
import uvloop

from service.process import accepting
from service.process.accepting import Acceptor
from service.process.sockets import listen, listen_unix

BURST = 50


class Greeter(asyncio.Protocol):
    """Greets each client."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.write(b"hello")
        transport.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    (listener,) = listen("127.0.0.1", 0, 1)
    listener.setblocking(False)
    with listener:
        yield listener


def run(main: Coroutine[None, None, None]) -> None:
    """Runs on the event loop of the workers."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def greeting(client: socket.socket) -> bytes:
    client.setblocking(False)
    async with asyncio.timeout(10):
        return await asyncio.get_running_loop().sock_recv(client, 100)


def test_burst_is_accepted_in_a_few_iterations_of_the_event_loop(listener: socket.socket) -> None:
    made = 0

    def make() -> Greeter:
        nonlocal made
        made += 1
        return Greeter()

    async def main() -> None:
        acceptor = Acceptor(listener, make)
        for _ in range(BURST // 5):
            await asyncio.sleep(0)
        acceptor.close()

    with contextlib.ExitStack() as stack:
        for _ in range(BURST):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        run(main())
    assert made == BURST


def test_workers_take_turns_at_a_unix_socket_that_they_share(tmp_path: Path) -> None:
    made = [0, 0]

    def make(worker: int) -> Greeter:
        made[worker] += 1
        return Greeter()

    async def main() -> None:
        acceptors = []
        for worker, listener in enumerate(listeners):
            listener.setblocking(False)
            acceptors.append(Acceptor(listener, functools.partial(make, worker)))
        while sum(made) < BURST:
            await asyncio.sleep(0)
        for acceptor in acceptors:
            acceptor.close()

    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(it) for it in listen_unix(tmp_path / "socket", 2)]
        for _ in range(BURST):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(tmp_path / "socket"))
        run(main())
    assert min(made) > BURST // 3


def test_client_who_left_early_does_no_harm(listener: socket.socket) -> None:
    async def main() -> None:
        acceptor = Acceptor(listener, Greeter)
        assert await greeting(client) == b"hello"
        acceptor.close()

    with socket.create_connection(listener.getsockname()) as early:
        early.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
    with socket.create_connection(listener.getsockname()) as client:
        run(main())


def test_connection_waits_while_no_more_files_may_be_opened(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accepting, "_RETRY_S", 0.01)

    async def main() -> None:
        acceptor = Acceptor(listener, Greeter)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        first_free = os.dup(0)
        os.close(first_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, hard))
        try:
            while not caplog.records:
                await asyncio.sleep(0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert await greeting(client) == b"hello"
        acceptor.close()

    with socket.create_connection(listener.getsockname()) as client:
        run(main())
    assert "cannot accept" in caplog.text


def test_nothing_is_accepted_once_it_is_closed(listener: socket.socket) -> None:
    async def main() -> None:
        Acceptor(listener, Greeter).close()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.get_running_loop().sock_recv(client, 100)

    with socket.create_connection(listener.getsockname()) as client:
        client.setblocking(False)
        run(main())
        listener.accept()[0].close()  # it has waited for another process
