"""Writing the head of an answer together with its body."""

import asyncio


class JoiningTransport:
    """A transport that holds the head of an answer until something follows it, for one write.

    A process that is paused or killed between two writes would leave a head without a body, and a
    balancer cannot send a request to another instance once its answer has begun.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        """Wraps a transport; the first answer has not begun."""
        self.abort = transport.abort
        self.is_closing = transport.is_closing
        self._transport = transport
        self._head = b""
        self._has_begun = False

    def write(self, data: bytes) -> None:
        """Writes a part of an answer: a head, interim (100) or final, or a piece of a body."""
        if self._has_begun:
            self._transport.write(data)
        elif self._head:
            self._has_begun = True
            self._transport.writelines((self._head, data))
            self._head = b""
        elif data.startswith(b"HTTP/1.1 1"):
            self._transport.write(data)  # the client waits for it
        else:
            self._head = data

    def end_answer(self) -> None:
        """Has the next write begin another answer; one without a body is written now."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""
        self._has_begun = False

    def write_eof(self) -> None:
        """Ends the answer and this direction of the connection."""
        self.end_answer()
        self._transport.write_eof()

    def close(self) -> None:
        """Ends the answer and the connection."""
        self.end_answer()
        self._transport.close()
