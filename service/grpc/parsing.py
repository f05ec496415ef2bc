"""Parses messages, within a limit of memory."""

from collections.abc import Iterator

from google.protobuf.message import DecodeError, Message

from service import errors

# Parsed messages take up to 50 times the memory of their bytes. In a larger message, this limits
# the bytes outside of tensors, and the number of its parts.
MAX_PARSED_BYTES = 400_000
_MAX_PARTS = 1000
_LENGTH_DELIMITED = 2
# Names and versions are shorter.
_MAX_TEXT_BYTES = 1000


def parse(kind: type[Message], data: bytes, tensors: int | None = None) -> Message:
    """Parses a message.

    Args:
        kind: its class.
        data: its bytes.
        tensors: number of the field that holds bytes of tensors.

    Raises:
        BodyTooLargeError: it has too much besides the bytes of tensors.
        InvalidInferenceRequestError: the bytes are not such a message.
    """
    if len(data) > MAX_PARSED_BYTES and _parsed_bytes(data, tensors) > MAX_PARSED_BYTES:
        raise errors.BodyTooLargeError(
            f"The message has more than {MAX_PARSED_BYTES:,} bytes in {_MAX_PARTS:,} parts besides "
            "`raw_input_contents`; send the tensor there."
        )
    try:
        return kind.FromString(data)
    except DecodeError:
        raise errors.InvalidInferenceRequestError(
            f"The message is no {kind.DESCRIPTOR.full_name}."
        ) from None


def texts(data: bytes, *fields: int) -> list[str]:
    """The texts in these fields of a message that is not parsed; empty where there is none."""
    found = dict.fromkeys(fields, "")
    for field, start, end in _parts(data):
        if field in found:
            found[field] = data[start : min(end, start + _MAX_TEXT_BYTES)].decode(errors="replace")
    return list(found.values())


def _parsed_bytes(data: bytes, tensors: int | None) -> int:
    """The bytes of a message that are not in a field of tensors; too many if it has many parts."""
    skipped = end = 0
    for field, start, end in _parts(data):
        if field == tensors:
            skipped += end - start
    return len(data) - skipped if end >= len(data) else len(data)


def _parts(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The field of each part of a message, and where its value begins and ends; not of too many."""
    view, end = memoryview(data), 0
    for _ in range(_MAX_PARTS):
        if end >= len(data):
            return
        tag, start = _varint(view, end)
        size, end = _varint(view, start)  # no field of these messages is of fixed size
        if tag & 7 == _LENGTH_DELIMITED:
            start, end = end, end + size
        yield tag >> 3, start, end


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """The number at a position, and the position behind it."""
    value = shift = 0
    for byte in view[position : position + 10]:
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            break
    return value, position
