"""Listening sockets that share a port, and lose nothing when they end."""

import contextlib
import socket
import sys

import pytest

from service.process.sockets import accept_all, listen, refuse_new_connections

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux does this")


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


@pytest.mark.parametrize("count", [1, 3])
def test_port_in_use_is_not_joined(count: int) -> None:
    with contextlib.ExitStack() as stack:
        for listener in listen("127.0.0.1", 0, 2):
            stack.enter_context(listener)
        with pytest.raises(OSError, match="in use"):
            listen("127.0.0.1", port_of(listener), count)


@needs_linux
def test_connections_are_shared_out() -> None:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(listener) for listener in listen("127.0.0.1", 0, 2)]
        address = listeners[0].getsockname()
        for _ in range(60):
            stack.enter_context(socket.create_connection(address))
        counts = []
        for listener in listeners:
            listener.setblocking(False)
            counts.append(len([stack.enter_context(it) for it in accept_all(listener)]))
    assert sum(counts) == 60
    assert min(counts) > 10


@needs_linux
def test_what_has_begun_is_taken_and_nothing_new_begins() -> None:
    with contextlib.ExitStack() as stack:
        (listener,) = (stack.enter_context(listener) for listener in listen("127.0.0.1", 0, 1))
        listener.setblocking(False)
        address = listener.getsockname()
        early = stack.enter_context(socket.create_connection(address))
        refuse_new_connections([listener])
        with pytest.raises(TimeoutError):
            socket.create_connection(address, timeout=0.2)
        (taken,) = (stack.enter_context(it) for it in accept_all(listener))
        early.sendall(b"hello")
        assert taken.recv(5) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=10)
