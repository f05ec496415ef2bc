"""A picture as the body of a request, in each form that a server reads."""

import base64
import json
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

_BOUNDARY = "----------------benchmark"
_HEADER_LENGTH = "Inference-Header-Content-Length"


class Body(NamedTuple):
    """What is sent."""

    headers: dict[str, str]
    content: bytes


def raw(uploads: Sequence[bytes]) -> Body:
    """The bytes of the picture, and nothing else."""
    return Body({"Content-Type": "image/jpeg"}, uploads[0])


def form(uploads: Sequence[bytes]) -> Body:
    """A multipart form with one picture in the field `file`."""
    return _multipart("file", uploads)


def form_of_many(uploads: Sequence[bytes]) -> Body:
    """A multipart form with all pictures in the field `files`, repeated."""
    return _multipart("files", uploads)


def v2_json(uploads: Sequence[bytes]) -> Body:
    """Open Inference Protocol V2 in JSON: the picture in base64."""
    tensor = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [1, 1],
        "parameters": {"content_type": "base64"},
        "data": [base64.b64encode(uploads[0]).decode()],
    }
    return Body({"Content-Type": "application/json"}, json.dumps({"inputs": [tensor]}).encode())


def v2_binary(uploads: Sequence[bytes]) -> Body:
    """Open Inference Protocol V2 with a binary tensor."""
    data = struct.pack("<I", len(uploads[0])) + uploads[0]
    tensor = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [1, 1],
        "parameters": {"binary_data_size": len(data)},
    }
    # Of one length, so that every picture is sent with the same headers.
    header = json.dumps({"inputs": [tensor]}).encode().ljust(256)
    headers = {
        "Content-Type": "application/octet-stream",
        _HEADER_LENGTH: str(len(header)),
    }
    return Body(headers, header + data)


def v2_pixels(shape: Sequence[int], pixels: bytes) -> Body:
    """V2 with the pixels of a batch, uint8 (pictures, height, width, 3), as a binary tensor.

    The answer is binary, too.
    """
    tensor = {
        "name": "image",
        "datatype": "UINT8",
        "shape": list(shape),
        "parameters": {"binary_data_size": len(pixels)},
    }
    document = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    header = json.dumps(document).encode()
    return Body({_HEADER_LENGTH: str(len(header))}, header + pixels)


Form = Callable[[Sequence[bytes]], Body]


def _multipart(field: str, uploads: Sequence[bytes]) -> Body:
    part = (
        f"--{_BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="{field}"; filename="picture.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    parts = b"".join(part + upload + b"\r\n" for upload in uploads)
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    return Body(headers, parts + f"--{_BOUNDARY}--\r\n".encode())
