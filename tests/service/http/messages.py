"""HTTP messages as raw bytes, and how the service answers each of them.

RFC numbers name the reason where a server has a choice or is often wrong. Each request of a message
has an answer of its own: the label of its picture, or the path that is not found.
"""

from dataclasses import dataclass

# The limit that the service has to be started with; a few messages are over it.
MAX_HEAD_BYTES = 1000

# Pictures of one pixel. What follows a picture is part of the body and changes nothing.
_GIF = b"GIF87a\1\0\1\0\x81\0\0%b" + bytes(9) + b",\0\0\0\0\1\0\1\0\0\x08\4\0\1\4\4\0;"
RED = _GIF % b"\xff\0\0"
BLUE = _GIF % b"\0\0\xff"
# A request that must never run: wherever these bytes stand, they are the content of another one.
INNER = b"GET /inner HTTP/1.1\r\nHost: x\r\n\r\n"

# What tells whose answer it is.
ANY = b""
IS_RED = b'"label":"red"'
IS_BLUE = b'"label":"blue"'
NO_PICTURE = b"unsupported-format"
MALFORMED = b"malformed-request"
TOO_LARGE = b"head-too-large"
# The answer ends with its head, whatever length that states.
NO_BODY = None

CONTINUE = (100, NO_BODY)
BAD = (400, MALFORMED)


@dataclass(frozen=True)
class Message:
    """What is sent on one connection, and what comes back."""

    name: str
    sent: bytes
    answers: tuple[tuple[int, bytes | None], ...]  # status, and what stands in the body
    closes: bool = False  # the service ends the connection after the last answer
    why: str = ""


def get(path: str, *headers: str, version: str = "1.1", method: str = "GET") -> bytes:
    """A request without a body."""
    lines = [f"{method} {path} HTTP/{version}", "Host: x", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def post(body: bytes, *headers: str, version: str = "1.1", path: str = "/predict") -> bytes:
    """A request with a body and without its length, unless a header tells it."""
    return get(path, *headers, version=version, method="POST") + body


def sized(body: bytes, *headers: str, version: str = "1.1") -> bytes:
    """A request with a body of a stated length."""
    return post(body, f"Content-Length: {len(body)}", *headers, version=version)


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    """A chunk of a body."""
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n", headers: tuple[str, ...] = ()) -> bytes:
    """A request with a body in chunks, each of them with its frame."""
    return post(b"".join(chunks) + end, "Transfer-Encoding: chunked", *headers)


def _found_at(path: str) -> tuple[int, bytes]:
    return (404, f"There is nothing at {path};".encode())


def _refused(name: str, sent: bytes, why: str) -> Message:
    return Message(name, sent, (BAD,), closes=True, why=why)


def _length(value: str, why: str) -> Message:
    sent = post(RED + INNER, f"Content-Length: {value}")
    return _refused(f"content-length {value[:9]!r}", sent, why)


def _bad_chunk(name: str, *chunks: bytes, why: str = "RFC 9112 7.1") -> Message:
    return _refused(name, chunked(*chunks) + INNER, why)


_A, _B = _found_at("/a"), _found_at("/b")
_OFFER = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
_WEBSOCKET = (
    *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
_DIGITS = "RFC 9110 8.6: a length is digits and nothing else."
_BOTH = "RFC 9112 6.1: a server may refuse both; what a proxy in front took is not known."
_IGNORED = "RFC 9110 7.8: a server may ignore the offer of another protocol."
_LINES = "RFC 9112 2.2: a server may take a bare LF for the end of a line; not to is safer."
_HOST = "RFC 9112 3.2: a server must refuse a request without exactly one valid Host."
_TE = "RFC 9112 6.3: without chunked as the last coding the length of a request is not known."

PLAIN = (
    Message("get", get("/a"), (_A,)),
    Message("head", get("/a", method="HEAD"), ((404, NO_BODY),)),
    Message("head, then get", get("/a", method="HEAD") + get("/b"), ((404, NO_BODY), _B)),
    Message("post", sized(RED), ((200, IS_RED),)),
    Message("post without a body", post(b""), ((400, b"empty-upload"),)),
    Message("body that looks like a request", sized(INNER), ((415, NO_PICTURE),)),
    Message("picture and a request as its body", sized(RED + INNER), ((200, IS_RED),)),
    Message("get with a body", get("/a", "Content-Length: 32") + INNER, (_A,)),
    Message(
        "get with a body, then get", get("/a", "Content-Length: 32") + INNER + get("/b"), (_A, _B)
    ),
    Message(
        "get with chunks, then get",
        get("/a", "Transfer-Encoding: chunked") + chunk(INNER) + b"0\r\n\r\n" + get("/b"),
        (_A, _B),
    ),
    Message("method that no route knows", get("/health/live", method="DELETE"), ((405, ANY),)),
    Message("query", get("/a?b=c&%20"), (_A,)),
    Message("escaped path", get("/%61"), (_A,)),
    Message("empty lines before a request", b"\r\n\r\n" + get("/a"), (_A,), why="RFC 9112 2.2"),
    Message("empty lines between requests", get("/a") + b"\r\n\r\n" + get("/b"), (_A, _B)),
    Message("blanks around a value", get("/a", "X: \t b \t"), (_A,)),
    Message("empty value", get("/a", "X:"), (_A,)),
    Message("value in Latin-1", get("/a", "X: \xff"), (_A,), why="RFC 9110 5.5"),
    Message("no blank after a colon", sized(RED).replace(b": ", b":"), ((200, IS_RED),)),
    Message("names in capitals", sized(RED).replace(b"Content-L", b"CONTENT-L"), ((200, IS_RED),)),
    Message("expect", sized(RED, "Expect: 100-continue"), (CONTINUE, (200, IS_RED))),
    Message("expect, body not read", get("/a", "Expect: 100-continue", "Content-Length: 0"), (_A,)),
    Message(
        "expect in HTTP/1.0",
        sized(RED, "Expect: 100-continue", version="1.0"),
        ((200, IS_RED),),
        closes=True,
        why="RFC 9110 10.1.1: a server must ignore it.",
    ),
)

LENGTHS = (
    _length("+75", _DIGITS),
    _length("0x4b", _DIGITS),
    _length("-1", _DIGITS),
    _length("75, 75", "RFC 9110 8.6: a server may refuse the same length twice."),
    _length("75,76", "RFC 9112 6.3"),
    _length("", _DIGITS),
    _length("7 5", _DIGITS),
    _length("7_5", _DIGITS),
    _length("75.0", _DIGITS),
    _length("9" * 30, "RFC 9110 8.6: a server must not take it for a smaller number."),
    _refused(
        "same length twice",
        sized(RED, f"Content-Length: {len(RED)}"),
        "RFC 9110 8.6: a server may refuse it.",
    ),
    _refused("two lengths", sized(RED + INNER, f"Content-Length: {len(RED)}"), "RFC 9112 6.3"),
    Message(
        "zeros before the length", post(RED, f"Content-Length: 00{len(RED)}"), ((200, IS_RED),)
    ),
    Message(
        "blanks around the length", post(RED, f"Content-Length:  {len(RED)} "), ((200, IS_RED),)
    ),
    Message("length of zero", sized(b"") + get("/b"), ((400, b"empty-upload"), _B)),
    Message(
        "early answer to a stated length",
        post(b"x" * 40, "Content-Length: 99999999999"),
        ((413, b"body-too-large"),),
        why="What follows is its body until the connection ends.",
    ),
)

CODINGS = (
    _refused("length and chunks", sized(chunk(RED), "Transfer-Encoding: chunked") + INNER, _BOTH),
    _refused(
        "chunks and length",
        chunked(chunk(RED), headers=(f"Content-Length: {len(RED)}",)) + INNER,
        _BOTH,
    ),
    _refused("length and identity", sized(RED + INNER, "Transfer-Encoding: identity"), _BOTH),
    _refused("identity", post(RED + INNER, "Transfer-Encoding: identity"), _TE),
    _refused("unknown coding", post(INNER, "Transfer-Encoding: xchunked"), _TE),
    _refused("coding after chunked", post(INNER, "Transfer-Encoding: chunked, gzip"), _TE),
    _refused("empty coding", post(INNER, "Transfer-Encoding:"), _TE),
    _refused(
        "chunked twice",
        chunked(chunk(RED), headers=("Transfer-Encoding: chunked",)),
        "RFC 9112 7.1",
    ),
    _refused(
        "gzip in chunks",
        post(chunk(RED) + b"0\r\n\r\n", "Transfer-Encoding: gzip, chunked"),
        "RFC 9112 6.1: a server that does not know a coding refuses the request.",
    ),
    _refused(
        "chunks in HTTP/1.0",
        post(chunk(RED) + b"0\r\n\r\n", "Transfer-Encoding: chunked", version="1.0"),
        "RFC 9112 6.1: the framing is faulty.",
    ),
    _refused("get with an unknown coding", get("/a", "Transfer-Encoding: x") + INNER, _TE),
    _refused("blank before the colon", post(INNER, "Transfer-Encoding : chunked"), "RFC 9112 5.1"),
    Message(
        "coding in capitals",
        post(chunk(RED) + b"0\r\n\r\n", "TRANSFER-ENCODING: CHUNKED"),
        ((200, IS_RED),),
    ),
)

CHUNKS = (
    Message("chunk", chunked(chunk(RED)), ((200, IS_RED),)),
    Message("two chunks", chunked(chunk(RED[:9]), chunk(RED[9:])), ((200, IS_RED),)),
    Message("chunk that looks like a request", chunked(chunk(INNER)), ((415, NO_PICTURE),)),
    Message(
        "extension", chunked(chunk(RED, b';a=b;c="d e"')), ((200, IS_RED),), why="RFC 9112 7.1.1"
    ),
    Message("zeros before a size", chunked(b"0000" + chunk(RED)), ((200, IS_RED),)),
    Message("size in capitals", chunked(b"4B\r\n" + RED + INNER + b"\r\n"), ((200, IS_RED),)),
    Message("no chunk", chunked() + get("/b"), ((400, b"empty-upload"), _B)),
    Message(
        "trailer",
        chunked(chunk(RED), end=b"0\r\nX-Request-ID: a\r\nHost: y\r\n\r\n") + get("/b"),
        ((200, IS_RED), _B),
        why="RFC 9110 6.5.1: a trailer is no header.",
    ),
    Message(
        "offer in a trailer",
        chunked(chunk(RED), end=b"0\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n") + get("/b"),
        ((200, IS_RED), _B),
    ),
    _refused(
        "length in a trailer",
        chunked(chunk(RED), end=b"0\r\nContent-Length: 32\r\n\r\n") + INNER,
        "RFC 9110 6.5.1: a length must not stand there.",
    ),
    _refused("bad trailer", chunked(chunk(RED), end=b"0\r\nA : b\r\n\r\n") + INNER, "RFC 9112 5.1"),
    _bad_chunk("size that is no number", chunk(RED), b"zz\r\n"),
    _bad_chunk("negative size", b"-1\r\nx\r\n"),
    _bad_chunk("size with 0x", b"0x1\r\nx\r\n"),
    _bad_chunk("empty size", b"\r\n"),
    _bad_chunk("huge size", b"f" * 17 + b"\r\nx\r\n"),
    _bad_chunk("blank after a size", b"1 \r\nx\r\n"),
    _bad_chunk("chunk longer than its size", b"1\r\nxx\r\n"),
    _bad_chunk("chunk without an end", chunk(RED)[:-2]),
    _bad_chunk("bare LF after a size", b"1\nx\r\n", why=_LINES),
    _bad_chunk("bare LF after a chunk", b"1\r\nx\n", why=_LINES),
    _bad_chunk("bare LF in an extension", b"1;a\nx\r\n", why=_LINES),
)

HEADS = (
    _refused("bare LF", get("/a").replace(b"\r\n", b"\n"), _LINES),
    _refused("bare LF after a header", get("/a", "X: y\nZ: z"), _LINES),
    _refused("bare LF at the end", get("/a")[:-2] + b"\n" + INNER, _LINES),
    _refused("bare CR in a value", get("/a", "X: y\rZ: z"), "RFC 9112 2.2"),
    _refused("folded header", get("/a", "X: y", " z"), "RFC 9112 5.2: a server may refuse it."),
    _refused("folded first header", get("/a").replace(b"Host", b" Host"), "RFC 9112 2.2"),
    _refused("blank in a name", get("/a", "X Y: z"), "RFC 9112 5.1"),
    _refused("no colon", get("/a", "X"), "RFC 9112 5"),
    _refused("no name", get("/a", ": x"), "RFC 9112 5"),
    _refused("NUL in a name", get("/a", "X\0: y"), "RFC 9110 5.1"),
    _refused("NUL in a value", get("/a", "X: \0"), "RFC 9110 5.5"),
    _refused("control character", get("/a", "X: \x01"), "RFC 9110 5.5"),
    _refused("control character in the target", get("/\x01"), "RFC 9112 3.2"),
    _refused("byte over 127 in the target", get("/\xff"), "RFC 9112 3.2"),
    _refused("blank in the target", get("/a b"), "RFC 9112 3.2"),
    _refused("unknown method", get("/a", method="FOO"), "RFC 9110 9.1"),
    _refused("method in lower case", get("/a", method="get"), "RFC 9110 9.1"),
    _refused("protocol in lower case", get("/a").replace(b"HTTP/", b"http/"), "RFC 9112 2.3"),
    _refused("blank after the version", get("/a").replace(b"1.1\r", b"1.1 \r"), "RFC 9112 3"),
    _refused("HTTP/0.9", b"GET /a\r\n\r\n", "RFC 9112 3"),
    _refused("HTTP/0.9 with headers", get("/a", version="0.9"), "RFC 9110 2.5"),
    _refused("HTTP/2.0", get("/a", version="2.0"), "RFC 9110 2.5"),
    _refused("HTTP/9.9", get("/a", version="9.9"), "RFC 9110 2.5"),
    _refused("preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), "RFC 9113 3.4"),
    _refused("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50), ""),
    _refused("no host", get("/a").replace(b"Host: x\r\n", b""), _HOST),
    _refused("two hosts", get("/a", "Host: x"), _HOST),
    _refused("bad host", get("/a").replace(b": x", b": x y"), _HOST),
    _refused("no host, body", sized(INNER).replace(b"Host: x\r\n", b""), _HOST),
    Message("empty host", get("/a").replace(b": x", b":"), (_A,), why="RFC 9110 7.2"),
    Message("host with a port", get("/a").replace(b": x", b": [::1]:80"), (_A,)),
    Message("absolute target", get("http://x/a"), (_A,), why="RFC 9112 3.2.2"),
    _refused("host as the target", get("x:80"), "RFC 9112 3.2.3: for CONNECT alone."),
    Message("asterisk as the target", get("*", method="OPTIONS"), (_found_at("*"),)),
    _refused("no target", get(""), "RFC 9112 3.2"),
    Message("long target", get("/" + "x" * 1100), ((431, TOO_LARGE),), closes=True),
    Message("long header", get("/a", "X: " + "x" * 1100), ((431, TOO_LARGE),), closes=True),
    Message("many headers", get("/a", *["X: y"] * 180), ((431, TOO_LARGE),), closes=True),
    Message(
        "head that is refused",
        get("/a", "Host: y", method="HEAD"),
        ((400, NO_BODY),),
        closes=True,
        why="RFC 9110 9.3.2: no answer to HEAD has content.",
    ),
)

UPGRADES = (
    Message("h2c", get("/a", *_OFFER), (_A,), why=_IGNORED),
    Message("h2c, then get", get("/a", *_OFFER) + get("/b"), (_A, _B), why=_IGNORED),
    Message("h2c with a body", sized(RED + INNER, *_OFFER), ((200, IS_RED),), why=_IGNORED),
    Message("h2c with a request as its body", sized(INNER, *_OFFER), ((415, NO_PICTURE),)),
    Message(
        "h2c with chunks",
        chunked(chunk(RED), chunk(INNER), headers=_OFFER),
        ((200, IS_RED),),
        why=_IGNORED,
    ),
    Message(
        "h2c with a body, then get",
        sized(RED + INNER, *_OFFER) + get("/b"),
        ((200, IS_RED), _B),
    ),
    Message(
        "h2c twice", sized(RED, *_OFFER) + sized(BLUE, *_OFFER), ((200, IS_RED), (200, IS_BLUE))
    ),
    _refused("h2c with a bad chunk", chunked(b"zz\r\n", headers=_OFFER) + INNER, "RFC 9112 7.1"),
    _refused("h2c with both", chunked(headers=(*_OFFER, "Content-Length: 5")) + INNER, _BOTH),
    _refused("h2c with identity", post(INNER, "Transfer-Encoding: identity", *_OFFER), _TE),
    Message("websocket", get("/a", *_WEBSOCKET), (_A,), why=_IGNORED),
    Message("websocket with a body", sized(RED + INNER, *_WEBSOCKET), ((200, IS_RED),)),
    Message(
        "offer in capitals",
        sized(RED + INNER, "CONNECTION: UPGRADE", "UPGRADE: X"),
        ((200, IS_RED),),
    ),
    Message("upgrade without connection", sized(RED + INNER, "Upgrade: h2c"), ((200, IS_RED),)),
    Message(
        "connection without upgrade", sized(RED + INNER, "Connection: upgrade"), ((200, IS_RED),)
    ),
    Message(
        "offer in HTTP/1.0",
        sized(RED + INNER, *_OFFER, version="1.0"),
        ((200, IS_RED),),
        closes=True,
        why="RFC 9110 7.8: a server must ignore it.",
    ),
    Message(
        "offer, last request",
        sized(RED + INNER, "Connection: close, upgrade", "Upgrade: h2c"),
        ((200, IS_RED),),
        closes=True,
    ),
    Message(
        "expect and an offer",
        sized(RED + INNER, *_OFFER, "Expect: 100-continue"),
        (CONTINUE, (200, IS_RED)),
    ),
    _refused("connect", get("x:80", method="CONNECT") + INNER, "RFC 9110 9.3.6: no proxy."),
    _refused("connect to a path", get("/a", method="CONNECT") + INNER, "RFC 9112 3.2.3"),
)

PIPELINES = (
    Message("two gets", get("/a") + get("/b"), (_A, _B)),
    Message("two posts", sized(RED) + sized(BLUE), ((200, IS_RED), (200, IS_BLUE))),
    Message("post, then get", sized(RED) + get("/b"), ((200, IS_RED), _B)),
    Message("get, then post", get("/a") + chunked(chunk(BLUE)), (_A, (200, IS_BLUE))),
    Message("get, then nonsense", get("/a") + b"nonsense\r\n\r\n", (_A, BAD), closes=True),
    Message(
        "post, then nonsense", sized(RED) + b"nonsense\r\n\r\n", ((200, IS_RED), BAD), closes=True
    ),
    Message(
        "two posts, then nonsense",
        sized(RED) + sized(BLUE) + b"nonsense\r\n\r\n",
        ((200, IS_RED), (200, IS_BLUE), BAD),
        closes=True,
    ),
    Message(
        "post, then a bad chunk",
        sized(RED) + chunked(b"zz\r\n") + INNER,
        ((200, IS_RED), BAD),
        closes=True,
    ),
    Message(
        "two posts, then a bad chunk",
        sized(RED) + sized(BLUE) + chunked(chunk(RED), b"zz\r\n") + INNER,
        ((200, IS_RED), (200, IS_BLUE), BAD),
        closes=True,
    ),
    Message(
        "post, then connect",
        sized(RED) + get("x:80", method="CONNECT"),
        ((200, IS_RED), BAD),
        closes=True,
    ),
    Message(
        "post, then no host",
        sized(RED) + b"GET /a HTTP/1.1\r\n\r\n",
        ((200, IS_RED), BAD),
        closes=True,
    ),
    _refused("nonsense, then get", b"nonsense\r\n\r\n" + get("/inner"), "RFC 9112 2.2"),
    _refused("bad chunk, then get", chunked(b"zz\r\n") + get("/inner"), "RFC 9112 7.1"),
    Message(
        "get with a bad chunk",
        get("/a", "Transfer-Encoding: chunked") + b"zz\r\n" + INNER,
        (_A,),
        closes=True,
        why="It is answered without its body; an answer more would be that of no request.",
    ),
    Message(
        "get, then get with a bad chunk",
        get("/a") + get("/b", "Transfer-Encoding: chunked") + b"zz\r\n" + INNER,
        (_A, _B),
        closes=True,
    ),
)

CONNECTIONS = (
    Message("close", get("/a", "Connection: close"), (_A,), closes=True),
    Message(
        "close, then get",
        get("/a", "Connection: close") + get("/inner"),
        (_A,),
        closes=True,
        why="RFC 9112 9.6: a server must not process what follows.",
    ),
    Message(
        "close with a body, then nonsense",
        sized(RED, "Connection: close") + b"nonsense\r\n\r\n",
        ((200, IS_RED),),
        closes=True,
    ),
    Message("HTTP/1.0", get("/a", version="1.0"), (_A,), closes=True),
    Message("HTTP/1.0 without a host", b"GET /a HTTP/1.0\r\n\r\n", (_A,), closes=True),
    Message("HTTP/1.0 with a body", sized(RED, version="1.0"), ((200, IS_RED),), closes=True),
    Message(
        "HTTP/1.0 that would go on",
        get("/a", "Connection: keep-alive", version="1.0"),
        (_A,),
        closes=True,
        why="RFC 9112 9.3: a server may close any connection.",
    ),
    Message(
        "HTTP/1.0 that would go on, then get",
        get("/a", "Connection: keep-alive", version="1.0") + get("/inner"),
        (_A,),
        closes=True,
    ),
    Message(
        "HTTP/1.0 that would go on, then nonsense",
        get("/a", "Connection: keep-alive", version="1.0") + b"nonsense\r\n\r\n",
        (_A,),
        closes=True,
    ),
)

GROUPS = {
    "plain": PLAIN,
    "lengths": LENGTHS,
    "codings": CODINGS,
    "chunks": CHUNKS,
    "heads": HEADS,
    "upgrades": UPGRADES,
    "pipelines": PIPELINES,
    "connections": CONNECTIONS,
}
MESSAGES = tuple(message for group in GROUPS.values() for message in group)


def read_answers(
    received: bytes, expected: tuple[tuple[int, bytes | None], ...]
) -> list[tuple[int, bytes]]:
    """Takes apart what came back, as a client does who knows which answers have no body.

    Returns:
        The status and body of each answer, of which the last may be cut short.
    """
    answers: list[tuple[int, bytes]] = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status_line, *lines = head.split(b"\r\n")
        status = int(status_line.split(b" ")[1])
        headers = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        place = len(answers)
        bodiless = status < 200 or (place < len(expected) and expected[place][1] is NO_BODY)
        # Each answer of the service states its length.
        size = 0 if bodiless else int(headers[b"content-length"])
        answers.append((status, received[:size]))
        received = received[size:]
    return answers


def agrees(
    answers: list[tuple[int, bytes]], expected: tuple[tuple[int, bytes | None], ...]
) -> bool:
    """Whether the answers are those that are expected, and no more."""
    return len(answers) == len(expected) and all(
        status == wanted and (marker or b"") in body
        for (status, body), (wanted, marker) in zip(answers, expected, strict=True)
    )
