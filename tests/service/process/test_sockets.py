"""Listening sockets: shared by workers, and closed without losing a connection."""

import contextlib
import errno
import os
import socket
import sys
from pathlib import Path

import pytest

from service.process.sockets import (
    accept_all,
    close_listeners,
    listen,
    listen_unix,
    refuse_new_connections,
)

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
def test_connections_are_spread_over_the_listeners() -> None:
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
def test_waiting_connections_are_accepted_and_new_ones_refused() -> None:
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


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="has no sockets of both families")
@pytest.mark.parametrize("count", [1, 2])
def test_all_addresses_of_ipv6_include_those_of_ipv4(count: int) -> None:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(listener) for listener in listen("::", 0, count)]
        for host in ("127.0.0.1", "::1"):
            for _ in range(10):
                stack.enter_context(socket.create_connection((host, port_of(listeners[0])), 10))


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(10)
    try:
        client.connect(str(path))
    except OSError:
        client.close()
        raise
    return client


def test_unix_socket_is_shared_and_its_file_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first, second = listen_unix(path, 2)
    for listener in (first, second):
        listener.setblocking(False)
        with connect(path):
            (accepted,) = accept_all(listener)
            accepted.close()
    with connect(path):
        refuse_new_connections([first, second])
        with pytest.raises(FileNotFoundError):
            connect(path)
        (accepted,) = accept_all(second)
        accepted.close()
    close_listeners([first, second])


def test_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    (listener,) = listen_unix(path, 1)
    connect(path).close()
    close_listeners([listener])
    assert not path.exists()


@pytest.mark.parametrize("backlog", [0, 10])
def test_unix_socket_of_a_live_server_is_refused(tmp_path: Path, backlog: int) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as live, contextlib.ExitStack() as clients:
        live.bind(str(path))
        live.listen(backlog)
        clients.enter_context(connect(path))  # which fills a backlog of 0
        with pytest.raises(OSError, match="in use") as caught:
            listen_unix(path, 1)
        assert caught.value.errno == errno.EADDRINUSE
        assert path.is_socket()


def test_file_that_is_no_socket_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("kept")
    with pytest.raises(OSError, match="not a socket"):
        listen_unix(path, 1)
    assert path.read_text() == "kept"


def test_listeners_that_are_closed_again_remove_no_file_of_another_server(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    old = listen_unix(path, 2)
    close_listeners(old)
    new = listen_unix(path, 1)
    close_listeners(old)
    connect(path).close()
    close_listeners(new)


def test_permissions_of_a_unix_socket_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        listeners = listen_unix(tmp_path / "socket", 1)
    finally:
        os.umask(before)
    assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o700
    close_listeners(listeners)
