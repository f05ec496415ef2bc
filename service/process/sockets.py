"""The listening sockets of the workers: opened, and closed without losing a connection."""

import contextlib
import ctypes
import socket
import struct
import sys

# Connections that may wait to be accepted, for each socket.
BACKLOG = 2048

# Of Linux; Python has no name for it.
_SO_ATTACH_FILTER = 26
# A filter of packets (classic BPF): load the flags of the TCP header; SYN: drop it; else keep it.
_NO_NEW_CONNECTIONS = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 65535))
)


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Opens listening sockets of one address; the kernel shares connections out among them.

    One socket for all workers would not do: one of them could take a whole burst of connections.

    Raises:
        OSError: the address or the port cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The first is alone, or it would join those of another service that already uses the port.
    first = socket.create_server((host, port), family=family, backlog=BACKLOG)
    if count == 1:
        return [first]
    address = first.getsockname()[:2]
    first.close()
    return [
        socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=True)
        for _ in range(count)
    ]


def refuse_new_connections(listener: socket.socket) -> None:
    """Lets no new connection begin; those that have begun still come.

    Without this, what comes between the last `accept` and `close` would be lost.
    """
    if sys.platform != "linux":
        return  # little is lost
    code = ctypes.create_string_buffer(_NO_NEW_CONNECTIONS)
    program = struct.pack("HP", len(_NO_NEW_CONNECTIONS) // 8, ctypes.addressof(code))
    with contextlib.suppress(OSError):  # a sandbox that has no filters
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def accept_all(listener: socket.socket) -> list[socket.socket]:
    """Takes all connections that wait, and closes the socket for all processes that have it.

    What waits in a socket when it is closed is lost.
    """
    waiting = []
    with contextlib.suppress(OSError):
        while True:
            waiting.append(listener.accept()[0])
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    return waiting
