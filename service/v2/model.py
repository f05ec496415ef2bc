"""The metadata, configuration and statistics of a model.

The names are those of Triton, whose clients read them.
"""

import asyncio
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.inference.model_server import ModelServer
from service.inference.snapshot import LoadedModel
from service.observability import statistics
from service.observability.statistics import Duration, ModelStatistics
from service.settings import Settings

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "statistics",
]


class Schema(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True)


class TensorMetadata(Schema):
    """One tensor of a model."""

    name: str = Field(examples=["image"])
    datatype: str = Field(examples=["UINT8"])
    shape: list[int] = Field(description="-1: any size.", examples=[[-1, 32, 32, 3]])


class ModelMetadata(Schema):
    """What a model takes and returns."""

    name: str = Field(examples=["cifar10"])
    versions: list[str] = Field(examples=[["1"]])
    platform: str = Field(examples=["onnxruntime_onnx"])
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ConfiguredTensor(Schema):
    """One tensor of a model, without the dimension of the batch."""

    name: str = Field(examples=["image"])
    data_type: str = Field(examples=["TYPE_UINT8"])
    dims: list[int] = Field(examples=[[32, 32, 3]])


class QueuePolicy(Schema):
    """How many pictures wait in each worker, and for how long."""

    timeout_action: Literal["REJECT"] = "REJECT"
    default_timeout_microseconds: int = Field(examples=[10_000_000])
    max_queue_size: int = Field(examples=[256])


class DynamicBatching(Schema):
    """How pictures that wait become a batch: at once, whenever a thread is idle."""

    max_queue_delay_microseconds: Literal[0] = 0
    default_queue_policy: QueuePolicy


class InstanceGroup(Schema):
    """The threads that compute, in all workers."""

    name: str = Field(examples=["cifar10"])
    kind: Literal["KIND_CPU", "KIND_GPU"]
    count: int = Field(examples=[2])


class VersionPolicy(Schema):
    """The versions that are served."""

    specific: dict[Literal["versions"], list[int]] = Field(examples=[{"versions": [1]}])


class ModelConfig(Schema):
    """How a model is served."""

    name: str = Field(examples=["cifar10"])
    platform: Literal["onnxruntime_onnx"] = "onnxruntime_onnx"
    backend: Literal["onnxruntime"] = "onnxruntime"
    version_policy: VersionPolicy
    max_batch_size: int = Field(description="Most pictures in a request.", examples=[64])
    input: list[ConfiguredTensor]
    output: list[ConfiguredTensor]
    dynamic_batching: DynamicBatching
    instance_group: list[InstanceGroup]
    default_model_filename: str = Field(examples=["model.onnx"])


class DurationStatistics(Schema):
    """How often something happened, and how long that took in all."""

    count: int = Field(examples=[5])
    ns: int = Field(description="Nanoseconds.", examples=[2_300_000])


class InferenceStatistics(Schema):
    """Of requests, success and fail; of pictures, the time in the queue and in each step.

    A picture takes as long as its whole batch. `compute_output` is a part of `compute_infer`, and
    there is no cache.
    """

    success: DurationStatistics
    fail: DurationStatistics
    queue: DurationStatistics
    compute_input: DurationStatistics
    compute_infer: DurationStatistics
    compute_output: DurationStatistics
    cache_hit: DurationStatistics
    cache_miss: DurationStatistics


class BatchStatistics(Schema):
    """Of the batches of one size, how long they were decoded and computed."""

    batch_size: int = Field(examples=[1])
    compute_input: DurationStatistics
    compute_infer: DurationStatistics
    compute_output: DurationStatistics


class VersionStatistics(Schema):
    """What one version of a model has done since the service was started."""

    name: str = Field(examples=["cifar10"])
    version: str = Field(examples=["1"])
    last_inference: int = Field(
        description="Milliseconds since 1970; 0 before the first.", examples=[1_795_000_000_000]
    )
    inference_count: int = Field(description="Pictures.", examples=[5])
    execution_count: int = Field(description="Batches.", examples=[5])
    inference_stats: InferenceStatistics
    batch_stats: list[BatchStatistics]


class StatisticsResponse(Schema):
    """The statistics of each version that is served."""

    model_stats: list[VersionStatistics]


def same_name(model_server: ModelServer, model: LoadedModel) -> Sequence[LoadedModel]:
    """All versions of a model that are served."""
    snapshot = model_server.snapshot
    return snapshot.models.get(model.name, [model]) if snapshot else [model]


def versions(model_server: ModelServer, model: LoadedModel) -> list[int]:
    """Their numbers, the one that answers without a version first."""
    return [other.version for other in same_name(model_server, model)]


def model_metadata(model: LoadedModel, versions: list[int]) -> ModelMetadata:
    """The metadata of a model, of which these versions are served."""
    engine, info = model.classifier.engine, model.classifier.model
    shape = [-1, engine.height, engine.width, 3]
    return ModelMetadata(
        name=info.name,
        versions=[str(version) for version in versions],
        platform="onnxruntime_onnx",
        inputs=[TensorMetadata(name="image", datatype="UINT8", shape=shape)],
        outputs=[
            TensorMetadata(name="probabilities", datatype="FP32", shape=[-1, len(info.labels)]),
            TensorMetadata(name="energy", datatype="FP32", shape=[-1]),
        ],
    )


def model_config(model: LoadedModel, versions: list[int], settings: Settings) -> ModelConfig:
    """The configuration of a model, of which these versions are served."""
    engine, info = model.classifier.engine, model.classifier.model
    kind: Literal["KIND_CPU", "KIND_GPU"] = (
        "KIND_GPU" if engine.provider.startswith("CUDA") else "KIND_CPU"
    )
    count = settings.worker_count * settings.thread_count
    dims = [engine.height, engine.width, 3]
    policy = QueuePolicy(
        default_timeout_microseconds=settings.deadline_ms * 1000, max_queue_size=settings.max_queue
    )
    return ModelConfig(
        name=model.name,
        version_policy=VersionPolicy(specific={"versions": versions}),
        max_batch_size=settings.max_files,
        input=[ConfiguredTensor(name="image", data_type="TYPE_UINT8", dims=dims)],
        output=[
            ConfiguredTensor(name="probabilities", data_type="TYPE_FP32", dims=[len(info.labels)]),
            ConfiguredTensor(name="energy", data_type="TYPE_FP32", dims=[]),
        ],
        dynamic_batching=DynamicBatching(default_queue_policy=policy),
        instance_group=[InstanceGroup(name=model.name, kind=kind, count=count)],
        default_model_filename=info.variant,
    )


async def model_statistics(
    model_server: ModelServer, models: Sequence[LoadedModel]
) -> StatisticsResponse:
    """The statistics of these models, of all workers together."""
    found = await asyncio.to_thread(model_server.metrics.statistics)
    named = [(model.name, str(model.version)) for model in models]
    return StatisticsResponse(
        model_stats=[
            _version_statistics(*name, found.get(name, ModelStatistics())) for name in named
        ]
    )


def _version_statistics(name: str, version: str, found: ModelStatistics) -> VersionStatistics:
    nothing = _duration(Duration())
    computed = found.pictures(statistics.PROCESS)
    batches = [events.get(statistics.PROCESS, Duration()) for events in found.batches.values()]
    return VersionStatistics(
        name=name,
        version=version,
        last_inference=round(found.last_request_s * 1000),
        inference_count=computed.count,
        execution_count=sum(batch.count for batch in batches),
        inference_stats=InferenceStatistics(
            success=_duration(found.requests.get(statistics.SUCCESS)),
            fail=_duration(found.requests.get(statistics.FAIL)),
            queue=_duration(found.queue),
            compute_input=_duration(found.pictures(statistics.PREPARE)),
            compute_infer=_duration(computed),
            compute_output=_duration(Duration(computed.count)),
            cache_hit=nothing,
            cache_miss=nothing,
        ),
        batch_stats=[_batches(size, events) for size, events in sorted(found.batches.items())],
    )


def _batches(size: int, events: dict[str, Duration]) -> BatchStatistics:
    computed = events.get(statistics.PROCESS, Duration())
    return BatchStatistics(
        batch_size=size,
        compute_input=_duration(events.get(statistics.PREPARE)),
        compute_infer=_duration(computed),
        compute_output=_duration(Duration(computed.count)),
    )


def _duration(found: Duration | None) -> DurationStatistics:
    found = found or Duration()
    return DurationStatistics(count=found.count, ns=round(found.seconds * 1e9))
