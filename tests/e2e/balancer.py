"""HAProxy with the configuration that ships, in front of the addresses that a name has."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.benchmark.loopback import free_port
from tests.e2e import proxies

CONF = Path(__file__).parents[2] / "docker" / "haproxy.cfg"

_HEAD = 12  # bytes of a message of DNS before its question
_NO_SUCH_NAME = 3


class Names:
    """A name server that gives the same addresses for every name, as a context manager.

    Attributes:
        addresses: what it gives; tests change it as an engine does when containers come and go.
        port: where it listens, on the loopback.
    """

    def __init__(self, *addresses: str) -> None:
        """Answers nothing yet."""
        self.addresses = list(addresses)
        self._server = socketserver.UDPServer(
            ("127.0.0.1", 0),
            self._handle,  # type: ignore[arg-type]  # called as a handler's class would be
        )
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handle(
        self,
        request: tuple[bytes, socket.socket],
        client: tuple[str, int],
        _server: socketserver.BaseServer,
    ) -> None:
        query, connection = request
        with contextlib.suppress(OSError):
            connection.sendto(answer(query, self.addresses), client)


def answer(query: bytes, addresses: list[str]) -> bytes:
    """The answer of a name server to a query: one record (type A, class IN) for each address."""
    question = query[_HEAD : query.index(b"\0", _HEAD) + 5]
    of_type_a = question[-4:-2] == b"\0\1"
    records = [
        b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address)
        for address in addresses
        if of_type_a
    ]
    flags = 0x8180 | (0 if addresses else _NO_SUCH_NAME)
    counts = (1, len(records), 0, 0)
    head = b"".join(number.to_bytes(2, "big") for number in (flags, *counts))
    return query[:2] + head + question + b"".join(records)


@contextmanager
def balancer(names: Names, port: int, folder: Path) -> Iterator[str]:
    """Starts HAProxy with docker/haproxy.cfg.

    Args:
        names: knows the addresses of the instances.
        port: the port of all instances.
        folder: an empty folder for its files; its log is `output`.

    Yields:
        Its address, without a slash at the end.

    Raises:
        FileNotFoundError: HAProxy is not installed.
    """
    if proxies.HAPROXY is None:
        raise FileNotFoundError("haproxy is not installed (on Debian: apt-get install haproxy)")
    public = free_port()
    conf = CONF.read_text()
    for given, wanted in {
        "bind :8000": f"bind 127.0.0.1:{public}",
        "parse-resolv-conf": f"nameserver test 127.0.0.1:{names.port}",
        "instance:8000": f"instance:{port}",
    }.items():
        assert conf.count(given) == 1, given
        conf = conf.replace(given, wanted)
    (folder / "haproxy.cfg").write_text(conf)
    command = [proxies.HAPROXY, "-db", "-f", str(folder / "haproxy.cfg")]
    with proxies.running(command, public, folder / "log", folder / "output"):
        yield f"http://127.0.0.1:{public}"
