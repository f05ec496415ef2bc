"""The tensors of an inference: pictures in, probabilities and energies out."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInferenceRequestError, TooManyFilesError
from service.inference.classification import Classification

_LENGTH_BYTES = 4  # before each element of a BYTES tensor, little-endian


def check_shape(
    datatype: str, shape: Sequence[int], size: tuple[int, int], max_pictures: int
) -> None:
    """Checks the shape of the input: pixels as UINT8, or encoded pictures as BYTES.

    Args:
        datatype: one of the two.
        shape: the shape.
        size: height and width of the model's input in pixels.
        max_pictures: most pictures.

    Raises:
        InvalidInferenceRequestError: the model has another one.
        TooManyFilesError: there are more than `max_pictures`.
    """
    expected = [] if datatype == "BYTES" else [*size, 3]
    if list(shape[1:]) != expected or not shape or shape[0] < 1:
        dimensions = ", ".join(map(str, ["pictures", *expected]))
        raise InvalidInferenceRequestError(f"The shape of `image` must be [{dimensions}].")
    if shape[0] > max_pictures:
        raise TooManyFilesError(
            f"The batch holds more pictures than allowed ({max_pictures}); send fewer at a time."
        )


def pixels(values: memoryview | bytes, shape: Sequence[int]) -> NDArray[np.uint8]:
    """The pixels of pictures, uint8 (pictures, height, width, 3): a view of the values.

    Raises:
        InvalidInferenceRequestError: the shape takes more or fewer values.
    """
    expected = shape[0] * shape[1] * shape[2] * 3
    if len(values) != expected:
        raise InvalidInferenceRequestError(
            f"The shape of `image` takes {expected:,} values; the request has {len(values):,}."
        )
    return np.frombuffer(values, np.uint8).reshape(shape)


def split_elements(data: memoryview, count: int) -> list[bytes]:
    """The elements of a BYTES tensor: the length of each, and then its bytes.

    Raises:
        InvalidInferenceRequestError: the data are something else.
    """
    elements: list[bytes] = []
    start = 0
    while start < len(data) and len(elements) < count:
        first = start + _LENGTH_BYTES
        start = first + int.from_bytes(data[start:first], "little")
        elements.append(bytes(data[first:start]))
    if start != len(data) or len(elements) != count:
        raise InvalidInferenceRequestError(
            f"The binary data of `image` are not {count:,} elements of BYTES: for each its length "
            "in four bytes, little-endian, and then its bytes."
        )
    return elements


def join_elements(elements: Sequence[bytes]) -> bytes:
    """The data of a BYTES tensor."""
    return b"".join(len(it).to_bytes(_LENGTH_BYTES, "little") + it for it in elements)


def numbers(name: str, answers: Sequence[Classification]) -> NDArray[np.float32]:
    """An output of pictures: float32 (pictures, classes) or (pictures,), little-endian."""
    if name == "probabilities":
        return np.stack([answer.probabilities for answer in answers], dtype="<f4")
    return np.array([answer.energy for answer in answers], dtype="<f4")


def classes(count: int, answers: Sequence[Classification]) -> list[list[str]]:
    """Of each picture the most probable classes, `probability:class id:label`, at most `count`."""
    return [
        [
            f"{probability:f}:{class_id}:{label}"
            for label, class_id, probability in answer.top(count)
        ]
        for answer in answers
    ]
