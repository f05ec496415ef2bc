"""The served model, as processes compare it."""

import pytest

from service.inference.served_model import ServedModel

SERVED = ServedModel("tiny", "1", "model.onnx", "1" * 64, "CPU", "CPU")


@pytest.mark.parametrize(
    ("changes", "agrees"),
    [
        ({}, True),
        ({"provider": "CUDA"}, True),
        ({"variant": "model.int8.onnx", "sha256": "2" * 64}, True),
        ({"sha256": "2" * 64}, False),
        ({"version": "2"}, False),
        ({"model": "other"}, False),
    ],
)
def test_same_version_agrees_unless_one_file_has_two_contents(
    changes: dict[str, str], agrees: bool
) -> None:
    assert SERVED.agrees_with(SERVED._replace(**changes)) is agrees
