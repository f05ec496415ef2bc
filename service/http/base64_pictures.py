"""Decodes pictures in base64, as JSON contains them."""

import asyncio
import binascii
from collections.abc import Sequence

from service.errors import InvalidInferenceRequestError

# Decoding holds Python's lock: 100 kB take 0.3 ms. More than that is decoded in pieces beside the
# event loop, which runs between them; four characters are three bytes.
_PIECE = 400_000
_SMALL = 100_000


async def decode(texts: Sequence[str]) -> list[bytes]:
    """Decodes texts in the standard alphabet, with padding.

    Raises:
        InvalidInferenceRequestError: one of them is not base64.
    """
    try:
        if sum(map(len, texts)) <= _SMALL:
            return [_decode(text) for text in texts]
        return await asyncio.to_thread(lambda: [_decode_long(text) for text in texts])
    except ValueError as error:
        raise InvalidInferenceRequestError(
            "A picture is not base64; encode the bytes of its file in the standard alphabet, "
            "without line breaks."
        ) from error


def _decode_long(text: str) -> bytes:
    pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    if any("=" in piece for piece in pieces[:-1]):
        raise ValueError("padding before the end")
    return b"".join(map(_decode, pieces))


def _decode(text: str) -> bytes:
    return binascii.a2b_base64(text, strict_mode=True)
