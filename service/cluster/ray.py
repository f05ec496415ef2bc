"""The service as replicas of Ray Serve: `serve run service.cluster.ray:app`.

A replica takes the service's settings from its environment. The options of Ray have their defaults
here; `docker/ray/serve.yml` may override them.
"""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve.metrics import Gauge

from service.cluster.replica import Exporter, OmitRequestId, refuse_change, replica_settings
from service.environment import check_variables
from service.http.app import create_app
from service.inference.model_server import ModelServer
from service.inference.served_model import LOAD_ALL
from service.observability.logging import configure

# More often than Ray's exporter reports, which is every ten seconds.
_EXPORT_S = 5


@serve.deployment(
    # More than a replica can queue, so that the service itself refuses what is too much.
    max_ongoing_requests=512,
    # As many requests as fill a batch, for each replica.
    autoscaling_config={"max_replicas": 100, "target_ongoing_requests": 32, "upscale_delay_s": 10},
    # By default an old replica ends first, which leaves a gap if there is only one.
    max_surge_percent=25,
    # Ray notices a lost replica within this time, and one that hangs after three timeouts.
    health_check_period_s=5,
    health_check_timeout_s=10,
    logging_config={"enable_access_log": False},  # the service writes its own
)
@serve.ingress()
class Replica:
    """One process that serves, without a supervisor: Ray starts, watches and replaces it."""

    async def __init__(self) -> None:  # type: ignore[misc]  # Ray awaits it
        """Loads the models.

        Raises:
            StartupError: there is nothing to serve. The replicas of before go on.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="cifar10-"))
        resources = ray.get_runtime_context().get_assigned_resources()
        self._settings = replica_settings(resources, self._folder / "models")
        configure(self._settings.log_level, self._settings.log_format)
        check_variables(os.environ)
        self._model_server = ModelServer(self._settings)
        self._snapshot = await self._model_server.prepare(LOAD_ALL)
        self._model_server.commit()
        self._exporting = asyncio.create_task(self._export())

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The app; Ray calls this after the construction."""
        app = create_app(self._settings, self._model_server, self._folder, load=False)
        app.state.administer = refuse_change
        app.add_middleware(OmitRequestId)
        return app

    async def check_health(self) -> None:
        """The self-test of every model; Ray replaces a replica of which it fails three times.

        Raises:
            RuntimeError: the compute threads are stuck, or CUDA is lost.
            EngineFailedError: a model cannot be computed.
        """
        if self._model_server.fault:
            raise RuntimeError(self._model_server.fault)
        for model in self._snapshot.loaded:
            await asyncio.to_thread(model.classifier.self_test)

    def __del__(self) -> None:
        """Removes what was copied; Ray calls this once the app has stopped."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _export(self) -> None:
        exporter = Exporter(Gauge)
        while True:
            exporter.export(self._model_server.metrics.samples())
            await asyncio.sleep(_EXPORT_S)


app = Replica.bind()  # type: ignore[attr-defined]
