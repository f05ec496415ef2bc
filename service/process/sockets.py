"""The listening sockets of the workers: opened, and closed without losing a connection."""

import contextlib
import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

# Connections that may wait to be accepted, for each socket.
BACKLOG = 2048

_PROBE_S = 1
# Of Linux; Python has no name for it.
_SO_ATTACH_FILTER = 26
# A filter of packets (classic BPF): load the flags of the TCP header; SYN: drop it; else keep it.
_NO_NEW_CONNECTIONS = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 65535))
)


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Opens several listening sockets of one address; the kernel spreads connections over them.

    With one socket for all workers, a single worker could accept a whole burst of connections.
    Host `::` stands for all addresses, those of IPv4 included; port 0 picks a free one.

    Raises:
        OSError: the address or the port cannot be used.
    """
    # The first is opened alone: with SO_REUSEPORT it would join another service on the same port.
    first = _listen(host, port, reuse_port=False)
    if count == 1:
        return [first]
    host, port = first.getsockname()[:2]
    first.close()
    return [_listen(host, port, reuse_port=True) for _ in range(count)]


def reserve(host: str, port: int) -> socket.socket:
    """Keeps a port for processes that open their own listening sockets, with SO_REUSEPORT.

    The socket that is returned takes no connections. It holds the port until it is closed, also
    while none of the processes runs; port 0 picks a free one.

    Raises:
        OSError: the address or the port cannot be used.
    """
    with _listen(host, port, reuse_port=False) as first:
        address, family = first.getsockname()[:2], first.family
    reserved = socket.socket(family, socket.SOCK_STREAM)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and socket.has_dualstack_ipv6():
            reserved.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        reserved.bind(address)
    except OSError:
        reserved.close()
        raise
    return reserved


def _listen(host: str, port: int, *, reuse_port: bool) -> socket.socket:
    is_ipv6 = ":" in host
    return socket.create_server(
        (host, port),
        family=socket.AF_INET6 if is_ipv6 else socket.AF_INET,
        backlog=BACKLOG,
        reuse_port=reuse_port,
        dualstack_ipv6=is_ipv6 and socket.has_dualstack_ipv6(),
    )


def listen_unix(path: Path, count: int) -> list[socket.socket]:
    """Opens one listening Unix socket and duplicates it, so that several workers accept from it.

    A socket that a dead server has left at this path is replaced. The permissions of the new one
    follow the umask: with 022, only the user who runs the service can connect.

    Raises:
        OSError: the path cannot be used; EADDRINUSE if a server listens there.
    """
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return [listener, *(listener.dup() for _ in range(count - 1))]


def _remove_stale(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_socket():
        raise FileExistsError(errno.EEXIST, "it exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_PROBE_S)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except (BlockingIOError, TimeoutError):
            pass  # its backlog is full
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def refuse_new_connections(listeners: Sequence[socket.socket]) -> None:
    """Lets no new connection begin; those that have begun can still be accepted.

    Without this, connections made between the last `accept` and `close` are lost. The file of a
    Unix socket is removed.
    """
    first = listeners[0]
    with contextlib.suppress(OSError):  # already closed, or a sandbox without filters
        if first.family == socket.AF_UNIX:
            Path(first.getsockname()).unlink()
        elif sys.platform == "linux":  # elsewhere few connections are lost
            for listener in listeners:
                _drop_syn_packets(listener)


def _drop_syn_packets(listener: socket.socket) -> None:
    code = ctypes.create_string_buffer(_NO_NEW_CONNECTIONS)
    program = struct.pack("HP", len(_NO_NEW_CONNECTIONS) // 8, ctypes.addressof(code))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def close_listeners(listeners: Sequence[socket.socket]) -> None:
    """Closes listeners in this process, after `refuse_new_connections`."""
    refuse_new_connections(listeners)
    for listener in listeners:
        listener.close()


def accept_all(listener: socket.socket) -> list[socket.socket]:
    """Accepts all connections that wait, and closes the socket in all processes that share it.

    A connection that still waits when the socket is closed is lost. A Unix socket stays open for
    the other workers: nothing new arrives there once its file is removed.
    """
    waiting = []
    with contextlib.suppress(OSError):
        while True:
            waiting.append(listener.accept()[0])
    if listener.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    return waiting
