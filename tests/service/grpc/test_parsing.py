"""Messages that are parsed, and those that would take too much."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import errors
from service.errors import ServiceError
from service.grpc import inference_pb2 as pb
from service.grpc import parsing
from service.grpc.status import TABLE
from tests.service.grpc.conftest import infer, pixels

RED = pixels("red")
RAW = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER


def test_large_message_is_parsed_where_it_is_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MAX_PARSED_BYTES", 100)
    request = infer(pixels(*["red"] * 5))
    assert parsing.parse(pb.ModelInferRequest, request.SerializeToString(), RAW) == request
    with pytest.raises(errors.BodyTooLargeError, match="raw_input_contents"):
        parsing.parse(pb.ModelInferRequest, request.SerializeToString(), None)
    empty = pb.ModelInferRequest(raw_input_contents=[b""] * 2000)
    inputs = pb.ModelInferRequest(inputs=[pb.ModelInferRequest.InferInputTensor()] * 100)
    for many in (empty, inputs):
        with pytest.raises(errors.BodyTooLargeError):
            parsing.parse(pb.ModelInferRequest, many.SerializeToString(), RAW)


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_are_parsed_or_refused(noise: bytes, place: int) -> None:
    data = infer(RED).SerializeToString()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing, "MAX_PARSED_BYTES", 50)
        for damaged in (noise, data[:place] + noise + data[place + len(noise) :]):
            try:
                parsing.parse(pb.ModelInferRequest, damaged, RAW)
            except ServiceError as error:
                assert type(error) in TABLE  # noqa: PT017
