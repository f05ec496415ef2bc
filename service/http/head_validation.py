"""Rules of RFC 9110 and 9112 for the head of a request that the parser does not check.

The parser, httptools, checks Content-Length and the chunks; see `protocol` for what follows.
"""

import re
from collections.abc import Sequence

from service.errors import MalformedRequestError

# The characters of a host and a port (RFC 3986, 3.2), which may be missing, and blanks.
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*[ \t]*")


def check_head(method: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Checks the head of a request.

    Args:
        method: the method.
        version: the version of HTTP, such as "1.1".
        headers: names, in lower case, and values.

    Raises:
        MalformedRequestError: the request must be refused.
    """
    if version not in ("1.1", "1.0"):
        raise MalformedRequestError("The version of HTTP is neither 1.0 nor 1.1.")
    if method == b"CONNECT":
        raise MalformedRequestError("CONNECT is not supported: the service is not a proxy.")
    fields = dict(headers)  # the parser itself refuses a second transfer-encoding
    coding = fields.get(b"transfer-encoding")
    if coding is not None and (version == "1.0" or coding.strip().lower() != b"chunked"):
        raise MalformedRequestError(
            "The only transfer encoding that is accepted is chunked, in HTTP/1.1."
        )
    host = fields.get(b"host")
    if host is None:
        if version == "1.1":
            raise MalformedRequestError("The request has no Host header.")
    elif not _HOST.fullmatch(host):
        raise MalformedRequestError("The Host header is not valid.")
    elif len(fields) < len(headers) and [name for name, _ in headers].count(b"host") > 1:
        raise MalformedRequestError("The request has more than one Host header.")
