"""What gRPC messages that never become whole take in memory, in a real server of one worker."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from tests.e2e.conftest import Server
from tests.e2e.hostile import memory_mb
from tests.e2e.test_grpc import infer

CALLS, SIZE = 40, 3_900_000
LIMITS = {"max_body_bytes": 4_000_000, "max_pending_bytes": 5_000_000}
WAIT_S = 60
FRAME = 16_384
DATA, HEADERS, RESET, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
ACK, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def headers(path: bytes) -> bytes:
    """The head of a call, in literals that need no table."""
    fields = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path,
        b":authority": b"x",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
    }
    return b"".join(
        b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in fields.items()
    )


class Client:
    """A connection with calls whose messages lack their end."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), 60)
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        self._received = b""
        self._initial = 65_535
        self._windows = {0: 65_535}
        self._left: dict[int, int] = {}
        self.ended = 0

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def begin(self, path: bytes, count: int, size: int) -> None:
        """Begins calls, and states the size of each message."""
        for number in range(count):
            stream = 2 * number + 1
            self._windows[stream] = self._initial - 5
            self._windows[0] -= 5
            self._left[stream] = size - 1  # the last byte is never sent
            prefix = b"\0" + struct.pack(">I", size)
            self._socket.sendall(frame(HEADERS, END_HEADERS, stream, headers(path)))
            self._socket.sendall(frame(DATA, 0, stream, prefix))

    def send(self, seconds: float) -> None:
        """Sends as much as the server takes within that time."""
        ends_at = time.monotonic() + seconds
        self._socket.settimeout(0.05)
        while time.monotonic() < ends_at:
            for stream in list(self._left):
                size = min(self._left[stream], self._windows[stream], self._windows[0], FRAME)
                if size > 0:
                    self._socket.settimeout(60)
                    self._socket.sendall(frame(DATA, 0, stream, bytes(size)))
                    self._socket.settimeout(0.05)
                    self._left[stream] -= size
                    self._windows[stream] -= size
                    self._windows[0] -= size
            try:
                received = self._socket.recv(65_536)
            except TimeoutError:
                continue
            if not received:
                return
            self._received += received
            self._read()

    def _read(self) -> None:
        while len(self._received) >= 9:
            length = int.from_bytes(self._received[:3], "big")
            if len(self._received) < 9 + length:
                return
            kind, flags, stream = struct.unpack(">BBI", self._received[3:9])
            content, self._received = self._received[9 : 9 + length], self._received[9 + length :]
            if kind == WINDOW_UPDATE and stream in self._windows:
                self._windows[stream] += int.from_bytes(content, "big")
            elif kind == SETTINGS and not flags & ACK:
                self._set(content)
            elif kind == PING and not flags & ACK:
                self._socket.sendall(frame(PING, ACK, 0, content))
            elif kind in (HEADERS, RESET) and self._left.pop(stream, None) is not None:
                self.ended += 1

    def _set(self, content: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", content):
            if name == INITIAL_WINDOW_SIZE:
                for stream in self._left:
                    self._windows[stream] += value - self._initial
                self._initial = value
        self._socket.sendall(frame(SETTINGS, ACK, 0, b""))


@pytest.fixture
def running(server: Callable[..., Server], tiny_models: Path) -> Iterator[Server]:
    with server(models=tiny_models, model="tiny", workers=1, grpc_port=0, **LIMITS) as running:
        yield running


@pytest.mark.parametrize(
    "path",
    [
        b"/inference.GRPCInferenceService/ModelInfer",
        b"/grpc.health.v1.Health/Check",
        b"/grpc.health.v1.Health/Watch",
        b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_messages_that_do_not_end_take_bounded_memory(running: Server, path: bytes) -> None:
    with grpc.insecure_channel(running.grpc_address) as channel:
        assert infer(channel).outputs
        before = memory_mb(running)
        with Client(running.grpc_address) as client:
            client.begin(path, CALLS, SIZE)
            ends_at = time.monotonic() + WAIT_S
            while client.ended < CALLS - 1 and time.monotonic() < ends_at:
                client.send(0.5)
            client.send(1)
            assert memory_mb(running) - before < 40
            assert client.ended == CALLS - 1  # one has a place
            # What arrives at once needs no place.
            assert infer(channel).outputs
