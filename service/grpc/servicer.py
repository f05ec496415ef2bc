"""The methods of the Open Inference Protocol."""

import asyncio
import math
import time
from collections.abc import Sequence

from google.protobuf.json_format import ParseDict

from service import NAME, RELEASE
from service.admission.keys import Authenticator
from service.errors import DeadlineExceededError, InvalidInferenceRequestError, NotReadyError
from service.grpc import inference_pb2 as pb
from service.grpc.calls import Call, Method
from service.grpc.tensors import read_outputs, read_pictures, respond
from service.inference.classification import Classification
from service.inference.classifier import Upload
from service.inference.model_server import ModelServer
from service.inference.snapshot import LoadedModel
from service.observability import access_log
from service.v2 import model as descriptions
from service.v2 import repository
from service.v2.repository import Administer

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name


class InferenceService:
    """Answers the messages of the protocol."""

    def __init__(self, model_server: ModelServer, administer: Administer) -> None:
        """Answers by this model server; `administer` changes its models."""
        self._model_server = model_server
        self._administer = administer

    def methods(self, authenticator: Authenticator) -> dict[str, Method]:
        """The methods by their names, with the keys that each needs."""

        async def any_key(call: Call) -> None:
            digest = authenticator.require_key(call.metadata)
            call.key = access_log.key_name(digest)
            await authenticator.count(digest)

        async def admin_key(call: Call) -> None:
            call.key = access_log.key_name(authenticator.require_admin_key(call.metadata))

        key = any_key if self._model_server.settings.has_keys else None
        raw = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
        named_by = (
            pb.ModelInferRequest.MODEL_NAME_FIELD_NUMBER,
            pb.ModelInferRequest.MODEL_VERSION_FIELD_NUMBER,
        )
        return {
            "ServerLive": Method(pb.ServerLiveRequest, self._server_live, is_probe=True),
            "ServerReady": Method(pb.ServerReadyRequest, self._server_ready, is_probe=True),
            "ServerMetadata": Method(pb.ServerMetadataRequest, self._server_metadata, key),
            "ModelReady": Method(pb.ModelReadyRequest, self._model_ready, key),
            "ModelMetadata": Method(pb.ModelMetadataRequest, self._model_metadata, key),
            "ModelConfig": Method(pb.ModelConfigRequest, self._model_config, key),
            "ModelStatistics": Method(pb.ModelStatisticsRequest, self._model_statistics, key),
            "ModelInfer": Method(pb.ModelInferRequest, self._model_infer, key, raw, named_by),
            "RepositoryIndex": Method(pb.RepositoryIndexRequest, self._index, admin_key),
            "RepositoryModelLoad": Method(pb.RepositoryModelLoadRequest, self._load, admin_key),
            "RepositoryModelUnload": Method(
                pb.RepositoryModelUnloadRequest, self._unload, admin_key
            ),
        }

    async def _server_live(self, _: pb.ServerLiveRequest, _call: Call) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=not self._model_server.fault)

    async def _server_ready(self, _: pb.ServerReadyRequest, _call: Call) -> pb.ServerReadyResponse:
        try:
            self._model_server.check_ready()
        except NotReadyError:
            return pb.ServerReadyResponse(ready=False)
        return pb.ServerReadyResponse(ready=True)

    async def _server_metadata(
        self, _: pb.ServerMetadataRequest, _call: Call
    ) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(
            name=NAME,
            version=RELEASE,
            extensions=descriptions.EXTENSIONS,
        )

    async def _model_ready(
        self, request: pb.ModelReadyRequest, _call: Call
    ) -> pb.ModelReadyResponse:
        try:
            self._model_server.check_ready(request.name, request.version or None)
        except NotReadyError:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def _model_metadata(
        self, request: pb.ModelMetadataRequest, _call: Call
    ) -> pb.ModelMetadataResponse:
        model = self._find(request.name, request.version)
        versions = descriptions.versions(self._model_server, model)
        found = descriptions.model_metadata(model, versions)
        return ParseDict(found.model_dump(), pb.ModelMetadataResponse())

    async def _model_config(
        self, request: pb.ModelConfigRequest, _call: Call
    ) -> pb.ModelConfigResponse:
        model = self._find(request.name, request.version)
        versions = descriptions.versions(self._model_server, model)
        found = descriptions.model_config(model, versions, self._model_server.settings)
        return ParseDict({"config": found.model_dump()}, pb.ModelConfigResponse())

    async def _model_statistics(
        self, request: pb.ModelStatisticsRequest, _call: Call
    ) -> pb.ModelStatisticsResponse:
        snapshot = self._model_server.snapshot
        models: Sequence[LoadedModel] = snapshot.loaded if snapshot else []
        if request.name:
            model = self._find(request.name, request.version)
            is_one = bool(request.version)
            models = [model] if is_one else descriptions.same_name(self._model_server, model)
        found = await descriptions.model_statistics(self._model_server, models)
        return ParseDict(found.model_dump(), pb.ModelStatisticsResponse())

    async def _model_infer(
        self, request: pb.ModelInferRequest, call: Call
    ) -> pb.ModelInferResponse:
        model = self._find(request.model_name, request.model_version)
        call.model = model.served
        engine = model.classifier.engine
        max_pictures = self._model_server.settings.max_files
        outputs = read_outputs(request)
        pictures = read_pictures(request, (engine.height, engine.width), max_pictures)
        is_success = False
        try:
            answers = await self._classify(model, pictures, call)
            is_success = True
        finally:
            seconds = time.perf_counter() - call.started_at
            self._model_server.metrics.count_outcome(
                model.name, str(model.version), seconds, is_success=is_success
            )
        return respond(request, outputs, model, answers)

    async def _index(
        self, request: pb.RepositoryIndexRequest, _call: Call
    ) -> pb.RepositoryIndexResponse:
        found = await repository.index(self._model_server, ready=request.ready)
        models = [model.model_dump(exclude_none=True) for model in found]
        return ParseDict({"models": models}, pb.RepositoryIndexResponse())

    async def _load(
        self, request: pb.RepositoryModelLoadRequest, _call: Call
    ) -> pb.RepositoryModelLoadResponse:
        if request.parameters:
            raise InvalidInferenceRequestError(
                "The repository is the only source of models: send no parameters."
            )
        await repository.load(self._model_server, self._administer, request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def _unload(
        self, request: pb.RepositoryModelUnloadRequest, _call: Call
    ) -> pb.RepositoryModelUnloadResponse:
        await repository.unload(self._model_server, self._administer, request.model_name)
        return pb.RepositoryModelUnloadResponse()

    def _find(self, name: str, version: str) -> LoadedModel:
        return self._model_server.find(name, version or None)

    async def _classify(
        self, model: LoadedModel, pictures: Sequence[Upload], call: Call
    ) -> list[Classification]:
        """Classifies pictures; those of a call that is cancelled leave the queue."""
        model_server = self._model_server
        elapsed = time.perf_counter() - call.started_at
        model_server.metrics.observe_stage(model.name, "receive", elapsed)
        timeout_s = math.inf if call.deadline_s is None else call.deadline_s - elapsed
        if timeout_s <= 0:
            raise DeadlineExceededError("The request took too long to arrive; allow it more time.")
        futures = model_server.submit(model, pictures, timeout_s)
        try:
            answers = await asyncio.gather(*futures, return_exceptions=True)
        except asyncio.CancelledError:
            model_server.drop_cancelled()
            raise
        call.answered_at = time.perf_counter()
        classifications: list[Classification] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            classifications.append(answer)
        for answer in classifications:
            model_server.metrics.count_answer(model.name, answer.label, answer.unfamiliar)
        return classifications
