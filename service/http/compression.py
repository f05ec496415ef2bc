"""Decompresses bodies within the limits of a body."""

import asyncio
import zlib
from collections.abc import Callable

from service.errors import InvalidInferenceRequestError

# The `wbits` of zlib for each value of Content-Encoding.
_WBITS = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
ENCODINGS = tuple(_WBITS)
_STEP_BYTES = 1_000_000


async def decompress(data: bytes, encoding: bytes, hold: Callable[[int], None]) -> bytes:
    """Decompresses a body beside the event loop.

    Args:
        data: the body as it was sent.
        encoding: one of `ENCODINGS`.
        hold: called with the bytes of each step, a megabyte at most; it raises where they are too
            many.

    Raises:
        InvalidInferenceRequestError: it is not what the encoding says, or has no end.
    """
    decompressor = zlib.decompressobj(_WBITS[encoding])
    pieces: list[bytes] = []
    while not decompressor.eof:
        try:
            piece = await asyncio.to_thread(decompressor.decompress, data, _STEP_BYTES)
        except zlib.error as error:
            raise _malformed(encoding) from error
        data = decompressor.unconsumed_tail
        if not piece and not decompressor.eof:
            raise _malformed(encoding)
        hold(len(piece))
        pieces.append(piece)
    if decompressor.unused_data:
        raise _malformed(encoding)
    return await asyncio.to_thread(b"".join, pieces)


def _malformed(encoding: bytes) -> InvalidInferenceRequestError:
    return InvalidInferenceRequestError(
        f"The body is not what Content-Encoding says ({encoding.decode()}), or is cut off."
    )
