"""Messages out of bytes, within a limit of what parsing them takes."""

from google.protobuf.message import DecodeError, Message

from service import errors

# Parsed messages take up to 50 times the memory of their bytes. So of a larger message all but the
# bytes of tensors is limited to this, and the number of its parts.
MAX_PARSED_BYTES = 400_000
_MAX_PARTS = 1000
_LENGTH_DELIMITED = 2


def parse(kind: type[Message], data: bytes, tensors: int | None = None) -> Message:
    """Parses a message.

    Args:
        kind: its class.
        data: its bytes.
        tensors: number of the field that holds bytes of tensors.

    Raises:
        BodyTooLargeError: it has too much besides the bytes of tensors.
        InvalidInferenceRequestError: the bytes are no such message.
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


def _parsed_bytes(data: bytes, tensors: int | None) -> int:
    """The bytes of a message that are not in a field of tensors; too many if it has many parts."""
    view, position, skipped = memoryview(data), 0, 0
    for _ in range(_MAX_PARTS):
        if position >= len(data):
            return len(data) - skipped
        tag, position = _varint(view, position)
        if tag & 7 != _LENGTH_DELIMITED:
            _, position = _varint(view, position)  # no field of these messages is of fixed size
            continue
        size, position = _varint(view, position)
        if tag >> 3 == tensors:
            skipped += size
        position += size
    return len(data)


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """The number at a position, and the position behind it."""
    value = shift = 0
    for byte in view[position : position + 10]:
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            break
    return value, position
