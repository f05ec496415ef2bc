"""The methods of the inference protocol over gRPC, as a client sees them."""

import asyncio
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from grpc import StatusCode

from service import RELEASE
from service.grpc import inference_pb2 as pb
from service.v2.tensors import join_elements
from tests.service.conftest import FakeEngine, colour, keep_busy
from tests.service.grpc.conftest import Serve, infer, labels, pixels, until

RED = pixels("red")
Input = pb.ModelInferRequest.InferInputTensor
Output = pb.ModelInferRequest.InferRequestedOutputTensor


@pytest.mark.anyio
async def test_server_and_model_describe_themselves(serve: Serve) -> None:
    async with serve() as served:
        assert (await served.ask(pb.ServerLiveRequest())).live
        assert (await served.ask(pb.ServerReadyRequest())).ready
        assert (await served.ask(pb.ModelReadyRequest(name="tiny"))).ready
        assert (await served.ask(pb.ModelReadyRequest(name="tiny", version="1"))).ready
        server = await served.ask(pb.ServerMetadataRequest())
        assert (server.name, server.version) == ("cifar10-serve", RELEASE)
        assert "classification" in server.extensions
        model = await served.ask(pb.ModelMetadataRequest(name="tiny"))
        assert list(model.versions) == ["1"]
        assert list(model.inputs[0].shape) == [-1, 8, 8, 3]
        assert [it.name for it in model.outputs] == ["probabilities", "energy"]
        config = (await served.ask(pb.ModelConfigRequest(name="tiny"))).config
        assert list(config.input[0].dims) == [8, 8, 3]
        assert config.input[0].data_type == pb.TYPE_UINT8
        assert config.instance_group[0].kind == pb.ModelInstanceGroup.KIND_CPU


@pytest.mark.anyio
async def test_raw_tensors_are_classified(serve: Serve) -> None:
    async with serve() as served:
        answer = await served.ask(infer(pixels("red", "blue", "green")))
        assert (answer.model_name, answer.model_version, answer.id) == ("tiny", "1", "7")
        assert [(it.name, it.datatype, list(it.shape)) for it in answer.outputs] == [
            ("probabilities", "FP32", [3, 3]),
            ("energy", "FP32", [3]),
        ]
        assert labels(answer) == ["red", "blue", "green"]


@pytest.mark.anyio
@pytest.mark.parametrize("field", ["uint_contents", "int_contents", "bytes_contents"])
async def test_lists_of_values_are_answered_by_lists(serve: Serve, field: str) -> None:
    values: list[Any] = [RED.tobytes()] if field == "bytes_contents" else RED.ravel().tolist()
    async with serve() as served:
        answer = await served.ask(infer(RED, raw=False, contents={field: values}))
        raw = await served.ask(infer(RED))
    assert not answer.raw_output_contents
    probabilities = np.array(answer.outputs[0].contents.fp32_contents, "<f4")
    assert probabilities.tobytes() == raw.raw_output_contents[0]


@pytest.mark.anyio
@pytest.mark.parametrize("raw", [True, False])
async def test_encoded_pictures_are_classified(serve: Serve, raw: bool) -> None:
    files = [colour("blue"), colour("red")]
    request = infer(RED, raw=False, datatype="BYTES", shape=[2])
    if raw:
        request.raw_input_contents.append(join_elements(files))
    else:
        request.inputs[0].contents.bytes_contents.extend(files)
    async with serve() as served:
        answer = await served.ask(request)
    if raw:
        assert labels(answer) == ["blue", "red"]
    else:
        assert len(answer.outputs[0].contents.fp32_contents) == 6


@pytest.mark.anyio
async def test_outputs_are_those_that_are_asked_for(serve: Serve) -> None:
    async with serve() as served:
        answer = await served.ask(infer(RED, outputs=["energy"]))
        assert [it.name for it in answer.outputs] == ["energy"]
        assert len(answer.raw_output_contents) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("raw", [True, False])
async def test_classification_gives_the_most_probable_classes(serve: Serve, raw: bool) -> None:
    contents = None if raw else {"uint_contents": RED.ravel().tolist()}
    request = infer(RED, raw=raw, outputs=["probabilities"], contents=contents)
    request.outputs[0].parameters["classification"].int64_param = 2
    async with serve() as served:
        answer = await served.ask(request)
    (output,) = answer.outputs
    assert (output.datatype, list(output.shape)) == ("BYTES", [1, 2])
    data = answer.raw_output_contents[0] if raw else b"".join(output.contents.bytes_contents)
    assert b":0:red" in data
    assert b":1:green" in data


def with_output(*names: str, **parameters: dict[str, Any]) -> pb.ModelInferRequest:
    request = infer(RED, outputs=names)
    for name, value in parameters.items():
        request.outputs[0].parameters[name].CopyFrom(pb.InferParameter(**value))
    return request


def with_memory() -> pb.ModelInferRequest:
    request = infer(RED)
    request.inputs[0].parameters["shared_memory_region"].string_param = "one"
    return request


def with_file(data: bytes) -> pb.ModelInferRequest:
    contents = {"bytes_contents": [data]}
    return infer(RED, raw=False, datatype="BYTES", shape=[1], contents=contents)


def with_two_inputs() -> pb.ModelInferRequest:
    request = infer(RED)
    request.inputs.append(request.inputs[0])
    return request


REFUSED = [
    (pb.ModelInferRequest(model_name="tiny"), "one input"),
    (with_two_inputs(), "one input"),
    (infer(RED, name="picture"), "one input"),
    (infer(RED, datatype="FP32"), "UINT8"),
    (infer(RED, shape=[1, 8, 8]), "[pictures, 8, 8, 3]"),
    (infer(RED, shape=[]), "[pictures, 8, 8, 3]"),
    (infer(RED, shape=[0, 8, 8, 3]), "[pictures, 8, 8, 3]"),
    (infer(RED, shape=[2, 8, 8, 3]), "takes 384 values; the request has 192"),
    (infer(RED, shape=[3, 8, 8, 3]), "more pictures than allowed (2)"),
    (infer(RED, shape=[2**62, 8, 8, 3]), "more pictures than allowed (2)"),
    (infer(RED, raw=False), "either"),
    (infer(RED, contents={"uint_contents": [1]}), "either"),
    (infer(RED, raw=False, contents={"uint_contents": [1]}), "the request has 1"),
    (infer(RED, raw=False, contents={"int_contents": [-1]}), "from 0 to 255"),
    (infer(RED, raw=False, contents={"uint_contents": [256]}), "from 0 to 255"),
    (infer(RED, datatype="BYTES"), "[pictures]"),
    (infer(RED, datatype="BYTES", shape=[1]), "elements of BYTES"),
    (infer(RED, raw=False, datatype="BYTES", shape=[1], contents={}), "1 elements"),
    (with_file(b"x"), "JPEG"),
    (with_output("logits"), "no output"),
    (with_output("energy", "energy"), "asked for twice"),
    (with_output("energy", classification={"int64_param": 1}), "`energy` has none"),
    (with_output("probabilities", classification={"int64_param": -1}), "number of classes"),
    (with_output("probabilities", shared_memory_region={"string_param": "x"}), "Shared memory"),
    (with_memory(), "Shared memory"),
]


@pytest.mark.anyio
async def test_what_does_not_fit_the_model_is_an_invalid_argument(serve: Serve) -> None:
    async with serve(max_files=2) as served:
        for request, sentence in REFUSED:
            error = await served.refusal(request)
            assert error.code() is StatusCode.INVALID_ARGUMENT, request
            assert sentence in (error.details() or ""), request
        assert labels(await served.ask(infer(RED))) == ["red"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "request_",
    [
        pb.ModelInferRequest(model_name="huge"),
        pb.ModelInferRequest(model_name="tiny", model_version="2"),
        pb.ModelMetadataRequest(name="huge"),
        pb.ModelConfigRequest(name="huge"),
        pb.ModelReadyRequest(name="huge"),
        pb.ModelStatisticsRequest(name="huge"),
    ],
)
async def test_unknown_model_is_not_found(serve: Serve, request_: Message) -> None:
    async with serve() as served:
        error = await served.refusal(request_)
        assert error.code() is StatusCode.NOT_FOUND
        assert "'tiny'" in (error.details() or "") or "'1' is" in (error.details() or "")


@pytest.mark.anyio
async def test_full_queue_is_unavailable_and_says_when_to_return(
    serve: Serve, engine: FakeEngine
) -> None:
    async with serve(max_queue=2) as served:
        await keep_busy(served.model_server, engine)
        waiting = served.model_server.submit(served.model_server.find(), [colour("red")])
        error = await served.refusal(infer(pixels("green", "blue")))
        assert error.code() is StatusCode.UNAVAILABLE
        pushback = dict(error.trailing_metadata())["grpc-retry-pushback-ms"]
        assert int(pushback) >= 1000
        engine.go.set()
        await waiting[0]
    assert engine.batches == [1, 1]


@pytest.mark.anyio
async def test_deadline_of_the_client_ends_the_work(serve: Serve, engine: FakeEngine) -> None:
    async with serve() as served:
        busy = await keep_busy(served.model_server, engine)
        error = await served.refusal(infer(RED), timeout=0.2)
        assert error.code() is StatusCode.DEADLINE_EXCEEDED
        await until(lambda: served.model_server.queue_depth == 0)
        engine.go.set()
        await busy
        assert labels(await served.ask(infer(RED))) == ["red"]
    assert engine.batches == [1, 1]


@pytest.mark.anyio
async def test_deadline_of_the_service_is_deadline_exceeded(
    serve: Serve, engine: FakeEngine
) -> None:
    engine.go.clear()
    async with serve(deadline_ms=20) as served:
        error = await served.refusal(infer(RED))
        assert error.code() is StatusCode.DEADLINE_EXCEEDED


@pytest.mark.anyio
async def test_client_that_leaves_takes_its_pictures_out_of_the_queue(
    serve: Serve, engine: FakeEngine
) -> None:
    async with serve() as served:
        busy = await keep_busy(served.model_server, engine)
        call = served.start(infer(pixels("red", "green")), timeout=None)
        await until(lambda: served.model_server.queue_depth == 2)
        call.cancel()
        await until(lambda: served.model_server.queue_depth == 0)
        engine.go.set()
        await busy
    assert engine.batches == [1]


@pytest.mark.anyio
async def test_calls_share_a_batch(serve: Serve, engine: FakeEngine) -> None:
    async with serve() as served:
        busy = await keep_busy(served.model_server, engine)
        calls = [served.start(infer(pixels(name))) for name in ("red", "green", "blue")]
        await until(lambda: served.model_server.queue_depth == 3)
        engine.go.set()
        answers = await asyncio.gather(*calls)
        await busy
    assert [labels(answer) for answer in answers] == [["red"], ["green"], ["blue"]]
    assert engine.batches == [1, 3]


@pytest.mark.anyio
async def test_statistics_count_calls_and_pictures(serve: Serve) -> None:
    async with serve() as served:
        await served.ask(infer(pixels("red", "red")))
        for request in (
            pb.ModelStatisticsRequest(),
            pb.ModelStatisticsRequest(name="tiny"),
            pb.ModelStatisticsRequest(name="tiny", version="1"),
        ):
            (model,) = (await served.ask(request)).model_stats
            assert (model.name, model.version, model.inference_count) == ("tiny", "1", 2)
            assert model.inference_stats.success.count == 1
            assert model.batch_stats[0].compute_infer.ns > 0


@pytest.mark.anyio
async def test_draining_and_broken_service_are_not_ready(serve: Serve) -> None:
    async with serve() as served:
        served.model_server.draining = True
        assert not (await served.ask(pb.ServerReadyRequest())).ready
        assert not (await served.ask(pb.ModelReadyRequest(name="tiny"))).ready
        assert (await served.ask(pb.ServerLiveRequest())).live
        assert labels(await served.ask(infer(RED))) == ["red"]
        served.model_server.fault = "A thread has died."
        assert not (await served.ask(pb.ServerLiveRequest())).live
        error = await served.refusal(infer(RED))
        assert error.code() is StatusCode.UNAVAILABLE


@pytest.mark.anyio
async def test_repository_is_listed_and_changed(serve: Serve) -> None:
    metadata = [("authorization", "Bearer root")]
    async with serve(admin_keys="root", models="nowhere") as served:
        index = await served.ask(pb.RepositoryIndexRequest(ready=True), metadata)
        assert [(it.name, it.version, it.state) for it in index.models] == [("tiny", "1", "READY")]
        await served.ask(pb.RepositoryModelLoadRequest(model_name="tiny"), metadata)
        await served.ask(pb.RepositoryModelUnloadRequest(model_name="tiny"), metadata)
        request = pb.RepositoryModelLoadRequest(model_name="tiny")
        request.parameters["config"].string_param = "{}"
        error = await served.refusal(request, metadata)
        assert error.code() is StatusCode.INVALID_ARGUMENT
